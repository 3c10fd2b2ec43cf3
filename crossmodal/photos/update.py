"""Bringing an index up to date: walk, read, encode and write, all at the same time."""

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import numpy as np

from crossmodal.batched import batched
from crossmodal.encoding.runtime import Runtime
from crossmodal.errors import CrossmodalError
from crossmodal.photos.reading import Read, read_photo
from crossmodal.photos.store import LOCK, Store
from crossmodal.photos.walk import walk
from crossmodal.search.record import Found

AT_ONCE = 32  # photos that are encoded, and then recorded, together
AHEAD = 4 * AT_ONCE  # photos that are read while others are encoded


@dataclass
class Changes:
    """What a run did, in photos; and what it could not do."""

    new: int = 0
    changed: int = 0
    moved: int = 0
    copies: int = 0
    forgotten: int = 0
    unchanged: int = 0
    skipped: dict[str, str] = field(default_factory=dict)  # newly skipped files, with the reason
    unreadable: list[str] = field(default_factory=list)  # folders that could not be listed
    seconds: float = 0.0


@dataclass(frozen=True)
class Step:
    """How far a run is, for whoever watches."""

    photos: int
    photos_in_all: int
    bytes: int
    bytes_in_all: int
    seconds: float

    @property
    def photos_per_second(self) -> float:
        """How fast it goes."""
        return self.photos / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float:
        """How long it will take, as fast as it went."""
        return (self.photos_in_all - self.photos) / self.photos_per_second if self.photos else float("inf")


Watch = Callable[[Step], None]


def locked(folder: Path) -> filelock.FileLock:
    """Return the lock that one run at a time holds; the system frees it when its process ends, however it does.

    Raises CrossmodalError when another run holds it, or the folder cannot be written.
    """
    lock = filelock.FileLock(Path(folder) / LOCK, timeout=0)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise CrossmodalError(
            f"Another run is bringing the index in {folder} up to date; wait for it, or stop it."
        ) from error
    except OSError as error:
        raise CrossmodalError(
            f"The index folder {folder} cannot be written ({error.strerror}); name another with --index."
        ) from error
    return lock


Encoded = tuple[list[Read], np.ndarray | None]  # what was read, and a vector for each of it that is described
Work = Callable[[Path, Sequence[Found], Collection[bytes]], Iterator[Encoded]]


def update(
    store: Store,
    root: Path,
    excluded: Sequence[str],
    work: Work,
    watch: Watch = lambda step: None,
) -> Changes:
    """Bring an index up to date with the files below `root`; its lock is held by the caller.

    `work` reads and encodes files below a root, those whose content is known but for their vectors. What is done
    is recorded batch by batch; a run that was killed is gone on with by the next.
    """
    started, changes = time.monotonic(), Changes()
    if not root.is_dir():
        raise CrossmodalError(f"The folder of photos {root} is not there; nothing in its index was changed.")
    known = store.known()
    present: set[str] = set()
    todo: list[Found] = []
    for found in walk(root, excluded, changes.unreadable.append):
        present.add(found.path)
        if known.get(found.path) == (found.size, found.changed):
            changes.unchanged += 1
        else:
            todo.append(found)
    # What is below a folder that cannot be listed may still be there.
    hidden = tuple(f"{folder}/" if folder else "" for folder in changes.unreadable)
    present.update(path for path in known if hidden and path.startswith(hidden))
    if todo:
        recorder = _Recorder(store, known, present, changes)
        for batch, step in stepped(work(root, todo, store.digests()), todo, started):
            recorder.record(*batch)
            watch(step)
    gone = [path for path in known if path not in present]
    with store.change():
        store.forget(gone)
    changes.forgotten = len(gone) - changes.moved
    changes.seconds = time.monotonic() - started
    return changes


def stepped(batches: Iterable[Encoded], todo: Sequence[Found], started: float) -> Iterator[tuple[Encoded, Step]]:
    """Yield batches, each with how far the run is when it is done."""
    done = done_bytes = 0
    in_all = sum(found.size for found in todo)
    for batch in batches:
        done, done_bytes = done + len(batch[0]), done_bytes + sum(read.found.size for read in batch[0])
        yield batch, Step(done, len(todo), done_bytes, in_all, time.monotonic() - started)


def here(runtime: Callable[[], Runtime]) -> Work:
    """Return the work in this process: files are read, and others encoded, while those before are recorded."""

    def work(root: Path, todo: Sequence[Found], known: Collection[bytes]) -> Iterator[Encoded]:
        encoder = runtime()
        prepare = encoder.preprocessing

        def read(found: Found) -> Read:
            return read_photo(root, found, prepare.size, prepare.array, known)

        before: tuple[list[Read], Future[np.ndarray | None]] | None = None
        with ThreadPoolExecutor(os.cpu_count() or 1) as readers, ThreadPoolExecutor(1) as encoding:
            for batch in batched(_in_order(readers, read, todo), AT_ONCE):
                under_way = batch, encoding.submit(encoded, encoder, batch)
                if before:
                    yield before[0], before[1].result()
                before = under_way
            if before:
                yield before[0], before[1].result()

    return work


class _Recorder:
    """The part of a run that records what was read and encoded."""

    def __init__(self, store: Store, known: dict[str, tuple[int, int]], present: set[str], changes: Changes) -> None:
        self._store, self._known, self._present, self._changes = store, known, present, changes
        self._free = _free_slots(store.slots())

    def record(self, batch: list[Read], vectors: np.ndarray | None) -> None:
        """Commit all of a batch at once."""
        slots = {read.found.path: next(self._free) for read in batch if read.described is not None}
        if vectors is not None:
            self._store.put_vectors(list(slots.values()), vectors)
        with self._store.change():
            for read in batch:
                self._record_one(read, slots.get(read.found.path))

    def _record_one(self, read: Read, slot: int | None) -> None:
        store, changes, path = self._store, self._changes, read.found.path
        if read.gone:
            self._present.discard(path)
        elif read.reason:
            store.skip(read.found, read.reason)
            changes.skipped[path] = read.reason
        elif read.described is not None and slot is not None:
            if path in self._known:
                changes.changed += 1
            else:
                changes.new += 1
            store.add(read.found, slot, read.described)
        else:
            self._record_known(read)

    def _record_known(self, read: Read) -> None:
        """Record a file whose content has a vector: it was touched, moved or copied."""
        store, changes, path = self._store, self._changes, read.found.path
        other = store.with_digest(read.digest)
        if other is None:  # the only file with this content was changed a moment ago; met again by the next run
            return
        if other.found.path == path:
            store.touch(read.found)
            changes.unchanged += 1
            return
        slot = next(self._free)
        store.put_vectors([slot], store.vectors()[other.slot][None])
        store.add(read.found, slot, other.described)
        if other.found.path in self._present:
            changes.copies += 1
        else:
            store.forget([other.found.path])
            changes.moved += 1


def encoded(runtime: Runtime, batch: Sequence[Read]) -> np.ndarray | None:
    """Return the vectors of what was read and decoded, None where nothing was."""
    pixels = [read.pixels for read in batch if read.pixels is not None]
    return runtime.encode_pixels(np.stack(pixels)) if pixels else None


def _in_order(pool: ThreadPoolExecutor, read: Callable[[Found], Read], todo: Iterable[Found]) -> Iterator[Read]:
    """Yield what is read in the order of the files, AHEAD of them under way."""
    under_way: deque[Future[Read]] = deque()
    try:
        for found in todo:
            under_way.append(pool.submit(read, found))
            if len(under_way) > AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()


def _free_slots(used: set[int]) -> Iterator[int]:
    """Yield slots that no record named when the run began: a search that reads meanwhile may still look there."""
    slot = 0
    while True:
        if slot not in used:
            yield slot
        slot += 1
