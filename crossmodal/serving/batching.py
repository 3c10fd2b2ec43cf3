"""Queries that come at the same time go through a tower together, off the event loop."""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import numpy as np
from cachetools import TTLCache

In = TypeVar("In")
WINDOW = 0.003  # seconds that the first of a batch waits for others
MOST = 32
CLIENTS = 10_000  # whose failures are remembered
REMEMBERED = 300  # seconds
WAITING = 1024  # queries; more are turned away rather than kept waiting for ever


class Overloaded(Exception):
    """More wait than can be answered soon."""


class Places:
    """Places for work that only few may do at a time; Overloaded is raised where none gets free in time.

    A place that gets free is for the client whose work failed least in the last minutes, among equals for the one with least
    work that waits or is done, and then for the first.
    """

    def __init__(self, count: int, patience: float) -> None:
        """There are `count` places; `patience` is in seconds."""
        self._free, self._patience = count, patience
        self._waiting: list[
            tuple[int, int, int, asyncio.Future[None]]
        ] = []  # the next first, with its place at the end
        self._failures: TTLCache[str, int] = TTLCache(CLIENTS, REMEMBERED)
        self._present, self._numbers = Counter[str](), itertools.count()

    @asynccontextmanager
    async def held(self, who: str) -> AsyncIterator[None]:
        """Hold a place for a client for the length of a block, whose exceptions are failures."""
        self._present[who] += 1
        try:
            try:
                async with asyncio.timeout(self._patience):
                    await self._take(who)
            except TimeoutError as error:
                raise Overloaded from error
            try:
                yield
            except BaseException:
                self._failures[who] = self._failures.get(who, 0) + 1
                raise
            finally:
                self._leave()
        finally:
            self._present[who] -= 1
            if not self._present[who]:
                del self._present[who]

    async def _take(self, who: str) -> None:
        if self._free:
            self._free -= 1
            return
        place = asyncio.get_running_loop().create_future()
        turn = self._failures.get(who, 0), self._present[who], next(self._numbers), place
        heapq.heappush(self._waiting, turn)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was given as patience ended
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            *_, place = heapq.heappop(self._waiting)
            if not place.done():  # else nobody waits for it any more
                place.set_result(None)
                return
        self._free += 1


class Batcher(Generic[In]):
    """Collects inputs for a few milliseconds and encodes them at once, one batch at a time."""

    def __init__(self, encode: Callable[[Sequence[In]], np.ndarray], seen: Callable[[int], None]) -> None:
        """`encode` gives a vector for each input [N, D]; `seen` is told the size of each batch."""
        self._encode, self._seen = encode, seen
        self._waiting: list[tuple[In, asyncio.Future[np.ndarray]]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoding")
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, one: In) -> np.ndarray:
        """Return the vector [D] of one input; raises Overloaded when too many wait."""
        if len(self._waiting) >= WAITING:
            raise Overloaded
        future: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        await asyncio.sleep(WINDOW)
        while self._waiting:
            # Those whose client left meanwhile are not encoded.
            batch = [(one, future) for one, future in self._waiting[:MOST] if not future.done()]
            del self._waiting[:MOST]
            if not batch:
                continue
            self._seen(len(batch))
            loop = asyncio.get_running_loop()
            try:
                vectors = await loop.run_in_executor(self._thread, self._encode, [one for one, _ in batch])
            except Exception as error:  # whatever a tower raises is each asker's answer, and the next batch goes on
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), vector in zip(batch, vectors, strict=True):
                if not future.done():
                    future.set_result(vector)

    def close(self) -> None:
        """Let the thread end after what it does now."""
        self._thread.shutdown(wait=False)
