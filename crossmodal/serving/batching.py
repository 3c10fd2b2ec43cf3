"""Queries that come at the same time go through a tower together, off the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np

from crossmodal.serving.turns import Overloaded

In = TypeVar("In")
WINDOW = 0.003  # seconds that the first of a batch waits for others
MOST = 32
WAITING = 1024  # queries; more are turned away rather than kept waiting for ever


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
