"""Bringing an index up to date: walking, reading, encoding and writing, all at the same time."""

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import filelock
import numpy as np

from crossmodal.batched import batched
from crossmodal.data.decoders import Decoders
from crossmodal.data.prepared import Wanted
from crossmodal.encoding.runtime import Runtime
from crossmodal.encoding.views import encode_views
from crossmodal.errors import CrossmodalError
from crossmodal.files import stays_below
from crossmodal.hubs import Bank, with_bias
from crossmodal.photos.changes import Changes, Step
from crossmodal.photos.missing import missing_folders
from crossmodal.photos.reading import Read, read_photo
from crossmodal.photos.store import LOCK, Store
from crossmodal.photos.walk import Excluded, walk
from crossmodal.search.record import Found

AT_ONCE = 32  # photos that are encoded, and then recorded, together
AHEAD = 4 * AT_ONCE  # photos that are read while others are encoded


Watch = Callable[[Step], None]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock that one run at a time may have; the system frees it when its process ends, however it does.

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
    try:
        yield
    finally:
        lock.release()


Encoded = tuple[list[Read], np.ndarray | None]  # files that were read, and a vector for each that is described
Work = Callable[[Path, Sequence[Found], Collection[bytes]], Iterator[Encoded]]


def update(
    store: Store,
    root: Path,
    excluded: Sequence[str],
    work: Work,
    watch: Watch = lambda step: None,
    included: Sequence[str] = (),
    forget_missing: bool = False,
) -> Changes:
    """Bring an index up to date with the files below `root`; its lock is held by the caller.

    `work` reads and encodes files below a root; of files whose content is known it only reads. What is done
    is recorded batch by batch, and a run that was killed is resumed by the next. Photos of folders that are
    missing (see `missing_folders`) are kept unless `forget_missing`.
    """
    started, changes = time.monotonic(), Changes(mended=store.mended)
    if not root.is_dir():
        raise CrossmodalError(f"The folder of photos {root} is not there; nothing in its index was changed.")
    store.remove_strays()
    known = store.known()
    present: set[str] = set()
    todo: list[Found] = []

    def count(pattern: str) -> None:
        changes.system[pattern] = changes.system.get(pattern, 0) + 1

    for found in walk(root, excluded, changes.unreadable.append, included, count):
        present.add(found.path)
        if known.get(found.path) == found.state:
            changes.unchanged += 1
        else:
            todo.append(found)
    # What is below a folder that cannot be listed may still be there.
    hidden = tuple(f"{folder}/" if folder else "" for folder in changes.unreadable)
    present.update(path for path in known if hidden and path.startswith(hidden))
    recorder = _Recorder(store, known, present, changes)
    if todo:
        for batch, step in stepped(work(root, todo, store.digests()), todo, started):
            recorder.record(*batch)
            watch(step)
    gone = [path for path in known if path not in present]
    if not forget_missing:
        without = Excluded(excluded, included)
        lost = [path for path in gone if path not in recorder.moved and stays_below(path) and not without.below(path)]
        changes.missing, kept = missing_folders(lost, present)
        gone = [path for path in gone if path not in kept]
    with store.change():
        store.forget(gone)
    store.compact()
    changes.moved = len(recorder.moved)
    changes.forgotten = len(gone) - changes.moved
    changes.seconds = time.monotonic() - started
    return changes


def stepped(batches: Iterable[Encoded], todo: Sequence[Found], started: float) -> Iterator[tuple[Encoded, Step]]:
    """Yield batches, each with how far the run is after it."""
    done = done_bytes = 0
    in_all = sum(found.size for found in todo)
    for batch in batches:
        done, done_bytes = done + len(batch[0]), done_bytes + sum(read.found.size for read in batch[0])
        yield batch, Step(done, len(todo), done_bytes, in_all, time.monotonic() - started)


def here(runtime: Callable[[], Runtime], views: int = 1) -> Work:
    """Return the work done in this process: one batch is read while the one before is encoded, and its own recorded."""

    def work(root: Path, todo: Sequence[Found], known: Collection[bytes]) -> Iterator[Encoded]:
        count = min(os.cpu_count() or 1, len(todo))

        def read(found: Found) -> Read:
            return read_photo(root, found, lambda content: decoders(content, wanted), known)

        before: tuple[list[Read], Future[np.ndarray | None]] | None = None
        with Decoders(count) as decoders, ThreadPoolExecutor(count + 1) as readers, ThreadPoolExecutor(1) as encoding:
            beginning = readers.submit(decoders.begin)  # while the model is opened
            encoder = runtime()
            wanted = Wanted(encoder.preprocessing, written=True)
            beginning.result()
            for batch in batched(_in_order(readers, read, todo), AT_ONCE):
                under_way = batch, encoding.submit(encoded, encoder, batch, views)
                if before:
                    yield before[0], before[1].result()
                before = under_way
            if before:
                yield before[0], before[1].result()

    return work


class _Recorder:
    """Records what was read and encoded."""

    def __init__(self, store: Store, known: Mapping[str, tuple[int, ...]], present: set[str], changes: Changes) -> None:
        self._store, self._known, self._present, self._changes = store, known, present, changes
        self._bank = Bank.from_plain(store.meta["bank"]) if store.meta["bank"] else None
        self.moved: set[str] = set()  # the paths that photos had before

    def record(self, batch: Sequence[Read], vectors: np.ndarray | None) -> None:
        """Commit all of a batch at once."""
        if vectors is not None and self._bank:
            vectors = with_bias(vectors, self._bank.bias(vectors))
        slots = iter(()) if vectors is None else iter(self._store.append(vectors))
        with self._store.change():
            for read in batch:
                self._record_one(read, slots)

    def _record_one(self, read: Read, slots: Iterator[int]) -> None:
        store, changes, path = self._store, self._changes, read.found.path
        if read.gone:
            self._present.discard(path)
        # What a known link led to may come back, as any file that is missing.
        if read.reason and not (read.gone and path in self._known):
            store.skip(read.found, read.reason)
            changes.skipped[path] = read.reason
        elif read.described is not None:
            if path in self._known:
                changes.changed += 1
            else:
                changes.new += 1
            if read.cut_short:
                changes.cut_short.append(path)
            store.add(read.found, next(slots), read.described)
        elif not read.gone:
            self._record_known(read)

    def _record_known(self, read: Read) -> None:
        """Record a file whose content has a vector: it was touched, moved or copied."""
        store, changes, path = self._store, self._changes, read.found.path
        paths = {photo.found.path: photo for photo in store.with_digest(read.digest)}
        if not paths:  # the only file with this content was changed a moment ago; met again by the next run
            return
        if path in paths:
            store.touch(read.found)
            changes.unchanged += 1
            return
        before = next((path for path in paths if path not in self._present), None)
        known = paths[before or next(iter(paths))]
        store.add(read.found, known.slot, known.described)
        if before is None:
            changes.copies += 1
        else:
            store.forget([before])
            self.moved.add(before)


def encoded(runtime: Runtime, batch: Sequence[Read], views: int) -> np.ndarray | None:
    """Return the vectors of the photos that were decoded, each of so many views; None where none was."""
    pixels = [read.pixels for read in batch if read.pixels is not None]
    return encode_views(runtime.encode_pixels, np.stack(pixels), views) if pixels else None


def _in_order(pool: ThreadPoolExecutor, read: Callable[[Found], Read], todo: Iterable[Found]) -> Iterator[Read]:
    """Yield what was read, in the order of the files, with AHEAD of them being read meanwhile."""
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
