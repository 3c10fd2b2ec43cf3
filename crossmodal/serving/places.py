"""Places for work that only few may do at a time, given first to those who took least of it lately."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from cachetools import TTLCache

from crossmodal.serving.batching import Overloaded

CLIENTS = 10_000  # of whom it is remembered what they took
REMEMBERED = 300  # seconds
TURN = 0.1  # seconds that work may take while others wait who took less
Taken = tuple[bool, float]  # whether work came to nothing, and the seconds it took; in this order clients are served
NOTHING: Taken = False, 0.0


class Places:
    """Places for work; Overloaded is raised where none gets free in time.

    A place that gets free is for a client none of whose work came to nothing in the last minutes, and among these for the one whose
    work took least time. Work that takes longer is asked to give its place up, and may begin again.
    """

    def __init__(self, count: int, each: int, patience: float) -> None:
        """There are `count` places, of which one client may have `each`; `patience` is in seconds."""
        self._free, self._each, self._patience = count, each, patience
        self._taken: TTLCache[str, Taken] = TTLCache(CLIENTS, REMEMBERED)
        self._holding: Counter[str] = Counter()
        self._working: list[tuple[str, float]] = []  # who, and since when
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []  # the first first

    @asynccontextmanager
    async def held(self, who: str, since: float | None = None) -> AsyncIterator[Callable[[], bool]]:
        """Hold a place for a client for the length of a block; yield what says whether to give it up to one who waits.

        Patience is counted from `since`, a time of `time.monotonic`, where work begins again.
        """
        place = asyncio.get_running_loop().create_future()
        waiting = who, place
        self._waiting.append(waiting)
        self._give()
        try:
            left = self._patience - (time.monotonic() - since if since else 0)
            await asyncio.wait_for(place, max(left, 0)) if not place.done() else None
        except BaseException as error:
            with suppress(ValueError):
                self._waiting.remove(waiting)
            if place.done() and not place.cancelled():
                self._take_back(who)
            if isinstance(error, TimeoutError):
                raise Overloaded from error
            raise
        began = who, time.monotonic()
        self._working.append(began)
        failed = True
        try:
            yield lambda: self._has_to_go(began)
            failed = False
        finally:
            self._working.remove(began)
            before, seconds = self._taken.get(who, NOTHING)
            self._taken[who] = before or failed, seconds + time.monotonic() - began[1]
            self._take_back(who)

    def _give(self) -> None:
        """Give free places to those who wait."""
        while self._free and (ready := self._ready()):
            one = min(ready, key=lambda waiting: self._taken.get(waiting[0], NOTHING))
            self._waiting.remove(one)
            self._free -= 1
            self._holding[one[0]] += 1
            one[1].set_result(None)

    def _take_back(self, who: str) -> None:
        self._free += 1
        self._holding[who] -= 1
        self._holding += Counter()  # forgets those who hold none
        self._give()

    def _ready(self) -> list[tuple[str, asyncio.Future[None]]]:
        return [one for one in self._waiting if self._holding[one[0]] < self._each and not one[1].done()]

    def _has_to_go(self, working: tuple[str, float]) -> bool:
        """Say whether one who works has taken the most of those who work, and more than one who waits."""
        now = time.monotonic()
        if now - working[1] < TURN:
            return False

        def taken(one: tuple[str, float]) -> Taken:
            failed, seconds = self._taken.get(one[0], NOTHING)
            return failed, seconds + now - one[1]

        mine = taken(working)
        return mine >= max(map(taken, self._working)) and any(
            self._taken.get(who, NOTHING) < mine for who, _ in self._ready()
        )
