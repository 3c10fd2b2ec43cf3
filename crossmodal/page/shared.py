"""What all sessions share: work in the background that each of them can watch, and its results, bounded in size."""

import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from crossmodal.errors import CrossmodalError
from crossmodal.progress import Advance

T = TypeVar("T")
MOST_BYTES = 1_500_000_000  # of results that are kept when nobody may need them any more


@dataclass(frozen=True)
class Progress:
    """How far some work is, in words and as a share."""

    title: str
    done: int = 0
    total: int = 0
    detail: str = ""

    @property
    def share(self) -> float:
        """From 0 to 1; 0 where the total is unknown."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def text(self) -> str:
        """The title, and how much is done of how much."""
        how_far = f": {self.done:,} of {self.total:,}{self.detail}" if self.total else " ..."
        return f"{self.title}{how_far}"


class Work(Generic[T]):
    """Something that takes a while, done once in a thread of its own; any session may watch it and take its result."""

    def __init__(self, title: str, work: "Callable[[Work[T]], T]") -> None:
        """`work` is given this object, on whose `bars`, or by setting its `progress`, it says how far it is."""
        self.progress = Progress(title)
        self.seconds, self.started = 0.0, time.monotonic()
        self.error: CrossmodalError | None = None
        self.note = ""  # what is to be said beside what came of it
        self.told = False  # whether a session was told of the error
        self._work, self._done = work, threading.Event()
        # It ends with the server: what it had not written is done again the next time.
        threading.Thread(target=self._run, daemon=True, name=title).start()

    @property
    def finished(self) -> bool:
        """Whether it is done, well or not."""
        return self._done.is_set()

    def result(self, wait: float | None = None) -> T | None:
        """Return what came of it, or None after `wait` seconds; raises CrossmodalError where it failed."""
        if not self._done.wait(wait):
            return None
        if self.error:
            self.told = True
            raise self.error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._work(self)
        except CrossmodalError as error:
            self.error = error
        except Exception as error:  # it would end unseen in this thread
            traceback.print_exc()
            self.error = CrossmodalError(f"{self.progress.title} stopped unexpectedly ({error}); the log says more.")
        self.seconds = time.monotonic() - self.started
        self._done.set()

    @contextmanager
    def bars(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        """Show progress, as `crossmodal.progress.Bars`."""
        self.progress = Progress(title, 0, total)

        def advance(count: int) -> None:
            self.progress = Progress(title, self.progress.done + count, total)

        yield advance
        self.progress = Progress(title, total, total)


class Kept:
    """Results by key, each with the stamp of the files that it came from; the least recently used go first."""

    def __init__(self, size: Callable[[Any], int], most_bytes: int = MOST_BYTES) -> None:
        """`size` returns the bytes of a result; the result in use is kept whatever its size."""
        self._size, self._most = size, most_bytes
        self._works: OrderedDict[Hashable, tuple[Hashable, Work[Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, stamp: Hashable, title: str, work: Callable[[Work[T]], T]) -> Work[T]:
        """Return the work with this key and stamp, begun where it is not there; one that failed is begun again once a session was told."""
        with self._lock:
            known = self._works.get(key)
            if known is None or known[0] != stamp or known[1].told:
                self._works[key] = known = (stamp, Work(title, work))
            self._works.move_to_end(key)
            self._make_room()
            return known[1]

    def _make_room(self) -> None:
        sizes = {
            key: self._size(one.result(0)) for key, (_, one) in self._works.items() if one.finished and not one.error
        }
        for key in list(sizes)[:-1]:
            if sum(sizes.values()) <= self._most:
                break
            # A session that still uses it holds it; its memory is free when the last one lets go.
            del self._works[key], sizes[key]


def stamp(*files: Path) -> tuple[tuple[int, int] | None, ...]:
    """Return time of change and size of files, None for one that is not there: another stamp is another content."""
    return tuple(_stat(file) for file in files)


def _stat(file: Path) -> tuple[int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
