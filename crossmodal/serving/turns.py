"""Who goes next, where only few may go at a time."""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cachetools import TTLCache

CLIENTS = 10_000  # whose failures are remembered
REMEMBERED = 300  # seconds


class Overloaded(Exception):
    """More wait than can be answered soon."""


class Turns:
    """Turns that a few may have at a time; one that gets free is for the lowest rank, and among equals for the first."""

    def __init__(self, count: int = 1) -> None:
        self._free, self._numbers = count, itertools.count()
        self._waiting: list[tuple[tuple[int, ...], int, asyncio.Future[None]]] = []  # a heap: the next first

    async def take(self, *rank: int) -> None:
        """Wait for a turn; whoever has it passes it on."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given at the same moment
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Give a turn to the next."""
        while self._waiting:
            *_, turn = heapq.heappop(self._waiting)
            if not turn.done():  # else nobody waits for it any more
                turn.set_result(None)
                return
        self._free += 1


class Places:
    """Places for work that only few may do at a time; Overloaded is raised where none gets free in time.

    A place that gets free is for the client whose work failed least in the last minutes, among equals for the one with least
    work that waits or is done, and then for the first.
    """

    def __init__(self, count: int, patience: float) -> None:
        """There are `count` places; `patience` is in seconds."""
        self._turns, self._patience = Turns(count), patience
        self._failures: TTLCache[str, int] = TTLCache(CLIENTS, REMEMBERED)
        self._present = Counter[str]()

    @asynccontextmanager
    async def held(self, who: str) -> AsyncIterator[None]:
        """Hold a place for a client for the length of a block, whose exceptions are failures."""
        self._present[who] += 1
        try:
            try:
                async with asyncio.timeout(self._patience):
                    await self._turns.take(self._failures.get(who, 0), self._present[who])
            except TimeoutError as error:
                raise Overloaded from error
            try:
                yield
            except BaseException:
                self._failures[who] = self._failures.get(who, 0) + 1
                raise
            finally:
                self._turns.pass_on()
        finally:
            self._present[who] -= 1
            if not self._present[who]:
                del self._present[who]
