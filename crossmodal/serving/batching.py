"""Queries that come at the same time go through a tower together, off the event loop."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from cachetools import TTLCache

In = TypeVar("In")
WINDOW = 0.003  # seconds that the first of a batch waits for others
MOST = 32
WAITING = 1024  # queries; more are turned away rather than kept waiting for ever

CLIENTS = 10_000  # whose failures are remembered
SLOW_FOR = 300  # seconds
MOST_FAILURES = 5  # of a client, after which it shares; a single one that takes long counts as all of them


class Overloaded(Exception):
    """More wait than can be answered soon."""


class Places:
    """Places for work that only few may do at a time; Overloaded is raised where none gets free in time.

    Clients whose work took long and came to nothing, or came to nothing again and again, share one of the places for some
    minutes, so that the others find another one free.
    """

    def __init__(self, count: int, each: int, patience: float, long: float = math.inf) -> None:
        """There are `count` places, of which one client may have `each`; `patience`, and what is `long`, are in seconds.

        Without `long` nobody's failures count.
        """
        self._all, self._each, self._patience, self._long = asyncio.Semaphore(count), each, patience, long
        self._own: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._slow, self._waiting = asyncio.Semaphore(1), 0
        self._failures: TTLCache[str, int] = TTLCache(CLIENTS, SLOW_FOR)

    @asynccontextmanager
    async def held(self, who: str) -> AsyncIterator[Callable[[], bool]]:
        """Hold a place for a client for the length of a block; yield what says whether to give it up to one who waits."""
        own = self._own.get(who) or asyncio.Semaphore(self._each)
        self._own[who] = own
        is_slow = self._failures.get(who, 0) >= MOST_FAILURES
        async with AsyncExitStack() as places:
            try:
                async with asyncio.timeout(self._patience):
                    for place in (own, self._slow) if is_slow else (own,):
                        await places.enter_async_context(place)
                    self._waiting += not is_slow
                    try:
                        await places.enter_async_context(self._all)
                    finally:
                        self._waiting -= not is_slow
            except TimeoutError as error:
                raise Overloaded from error
            began = time.monotonic()
            try:
                yield lambda: not is_slow and self._waiting > 0 and time.monotonic() - began > self._long
            except BaseException:
                if self._long < math.inf:
                    took_long = time.monotonic() - began > self._long
                    self._failures[who] = MOST_FAILURES if took_long else self._failures.get(who, 0) + 1
                raise


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
