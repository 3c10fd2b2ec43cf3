"""Places for work that only few may do at a time, given first to those who took least of it lately."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from cachetools import TTLCache

from crossmodal.serving.batching import Overloaded

CLIENTS = 10_000  # of whom it is remembered what they took
REMEMBERED = 300  # seconds
TURN = 0.1  # seconds that work may take while others wait who took less; when it begins again, twice as many
Taken = tuple[bool, float]  # whether work came to nothing, and the seconds it took; in this order clients are served
NOTHING: Taken = False, 0.0


@dataclass(eq=False)
class Work:
    """What one client asks for: it waits for a place, or has one."""

    who: str
    turns: int  # that it had before
    place: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    began: float = 0.0


class Places:
    """Places for work; Overloaded is raised where none gets free in time.

    A place that gets free is for a client none of whose work came to nothing in the last minutes, among these for the one whose
    work took least time, and among the work of one client for what had fewest turns. Work that takes longer than its turn is asked
    to give its place up to such others, and may begin again.
    """

    def __init__(self, count: int, patience: float) -> None:
        """There are `count` places; `patience` is in seconds."""
        self._count, self._patience = count, patience
        self._taken: TTLCache[str, Taken] = TTLCache(CLIENTS, REMEMBERED)
        self._working: list[Work] = []
        self._waiting: list[Work] = []  # the first first

    @asynccontextmanager
    async def held(self, who: str, turns: int = 0, since: float | None = None) -> AsyncIterator[Callable[[], bool]]:
        """Hold a place for a client for the length of a block; yield what says whether to give it up to one who waits.

        Work that begins again says how many turns it had, and from when its patience counts, a time of `time.monotonic`.
        """
        work = Work(who, turns)
        self._waiting.append(work)
        self._give()
        try:
            left = self._patience - (time.monotonic() - since if since else 0)
            await asyncio.wait_for(work.place, max(left, 0)) if not work.place.done() else None
        except BaseException as error:
            for some in (self._waiting, self._working):
                with suppress(ValueError):
                    some.remove(work)
            self._give()
            if isinstance(error, TimeoutError):
                raise Overloaded from error
            raise
        failed = True
        try:
            yield lambda: self._has_to_go(work)
            failed = False
        finally:
            before, seconds = self._taken.get(who, NOTHING)
            self._taken[who] = before or failed, seconds + time.monotonic() - work.began
            self._working.remove(work)
            self._give()

    def _give(self) -> None:
        """Give free places to those who wait."""
        while len(self._working) < self._count:
            # One whose patience has just ended is in the list until it is told.
            ready = [work for work in self._waiting if not work.place.done()]
            if not ready:
                return
            work = min(ready, key=lambda one: (self._took(one.who), one.turns))
            self._waiting.remove(work)
            self._working.append(work)
            work.began = time.monotonic()
            work.place.set_result(None)

    def _took(self, who: str) -> Taken:
        """Return what a client took, with what its work takes now."""
        failed, seconds = self._taken.get(who, NOTHING)
        now = time.monotonic()
        return failed, seconds + sum(now - work.began for work in self._working if work.who == who)

    def _has_to_go(self, work: Work) -> bool:
        """Say whether work had its turn, and is the first of such to go for work that waits."""
        now = time.monotonic()
        over = [one for one in self._working if now - one.began >= TURN * 2**one.turns]
        if work not in over:
            return False
        took = {one.who: self._took(one.who) for one in (*over, *self._waiting)}
        if work is not max(over, key=lambda one: (took[one.who], one.turns, -one.began)):
            return False
        return any(
            one.turns <= work.turns if one.who == work.who else took[one.who] < took[work.who] for one in self._waiting
        )
