"""The index of a folder on disk: SQLite for the records, a flat file for the vectors.

A vector lies in a slot of `vectors.f32`. It is written, and on the disk, before the record that
names its slot is committed, and a slot that a record names is never written again: a kill at any
moment leaves records whose vectors are whole.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.errors import CrossmodalError
from crossmodal.files import shown
from crossmodal.photos.walk import INDEX_FOLDER
from crossmodal.search.record import Described, Found, Photo

FORMAT, VERSION = "crossmodal-photo-index", 2
DATABASE, VECTORS, LOCK = "photos.db", "vectors.f32", "index.lock"
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE photos (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, changed INTEGER NOT NULL,
    digest BLOB NOT NULL, slot INTEGER NOT NULL UNIQUE, width INTEGER NOT NULL, height INTEGER NOT NULL,
    taken REAL, camera TEXT NOT NULL, look INTEGER NOT NULL
);
CREATE INDEX photos_digest ON photos (digest);
CREATE TABLE skipped (path BLOB PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL, reason TEXT NOT NULL)
    WITHOUT ROWID;
"""


def index_folder(photos: Path, index: Path | None = None) -> Path:
    """Return where the index of a folder lies: beside the photos, or where the user says."""
    return Path(index) if index else Path(photos) / INDEX_FOLDER


class Store:
    """An open index."""

    def __init__(self, folder: Path, writable: bool) -> None:
        """Open an index that is there; raises CrossmodalError when it is absent, broken or of a newer format."""
        self.folder = Path(folder)
        self.writable = writable
        if not (self.folder / DATABASE).is_file():
            beside = self.folder.name == INDEX_FOLDER
            again = shown(str(self.folder.parent)) if beside else f"PHOTOS --index {shown(str(self.folder))}"
            raise CrossmodalError(f"There is no index in {folder}; make one with: python -m crossmodal index {again}")
        with _told(self.folder):
            self._db = _connect(self.folder / DATABASE, writable)
            self.meta: dict[str, Any] = {
                key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM meta")
            }
        version = self.meta.get("version")
        if self.meta.get("format") != FORMAT or not isinstance(version, int) or version > VERSION:
            raise CrossmodalError(
                f"The index in {folder} has the format {self.meta.get('format')} {version}, and this program reads "
                f"{FORMAT} up to {VERSION}; update the program, or make the index anew with --rebuild."
            )
        self.size: int = self.meta["size"]
        self._vectors = os.open(self.folder / VECTORS, os.O_RDWR if writable else os.O_RDONLY)

    @staticmethod
    def create(folder: Path, meta: dict[str, Any]) -> None:
        """Make an empty index, whole or not at all; `meta` holds the model and `size`, that of its vectors."""
        folder = Path(folder)
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f"{DATABASE}.part"
            for name in (temporary, *(folder / f"{DATABASE}{end}" for end in ("", "-wal", "-shm"))):
                name.unlink(missing_ok=True)
            (folder / VECTORS).write_bytes(b"")
            db = sqlite3.connect(temporary)
            db.executescript(SCHEMA)
            rows = {"format": FORMAT, "version": VERSION, **meta}.items()
            db.executemany("INSERT INTO meta VALUES (?, ?)", ((key, json.dumps(value)) for key, value in rows))
            db.commit()
            db.close()
            os.replace(temporary, folder / DATABASE)

    def __enter__(self) -> "Store":
        """Use the index for the length of a block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._db.close()
        os.close(self._vectors)

    def set_meta(self, key: str, value: Any) -> None:
        """Write one entry of `meta`."""
        with self.change():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))
        self.meta[key] = value

    # --- reading ---

    def photos(self) -> Iterator[Photo]:
        """Yield all records, in the order of their paths."""
        with _told(self.folder):
            for row in self._db.execute("SELECT * FROM photos ORDER BY path"):
                yield _photo(row)

    def with_digest(self, digest: bytes) -> Photo | None:
        """Return a record with this content, if there is one."""
        with _told(self.folder):
            row = self._db.execute("SELECT * FROM photos WHERE digest = ? LIMIT 1", (digest,)).fetchone()
        return _photo(row) if row else None

    def known(self) -> dict[str, tuple[int, int]]:
        """Return size and time of change of every file that was met, used or skipped, by path."""
        with _told(self.folder):
            rows = self._db.execute(
                "SELECT path, size, changed FROM photos UNION ALL SELECT path, size, changed FROM skipped"
            )
            return {os.fsdecode(path): (size, changed) for path, size, changed in rows}

    def digests(self) -> set[bytes]:
        """Return the contents that have a vector."""
        with _told(self.folder):
            return {digest for (digest,) in self._db.execute("SELECT digest FROM photos")}

    def slots(self) -> set[int]:
        """Return the slots that records name."""
        with _told(self.folder):
            return {slot for (slot,) in self._db.execute("SELECT slot FROM photos")}

    def skipped(self) -> dict[str, tuple[Found, str]]:
        """Return the files that could not be used, each with the reason."""
        with _told(self.folder):
            rows = self._db.execute("SELECT path, size, changed, reason FROM skipped ORDER BY path").fetchall()
        return {os.fsdecode(path): (Found(os.fsdecode(path), size, changed), why) for path, size, changed, why in rows}

    def vectors(self) -> np.ndarray:
        """Return the slots as they lie on the disk, fp32 [slots, size], not to be written to."""
        rows = os.fstat(self._vectors).st_size // (4 * self.size)
        if not rows:
            return np.empty((0, self.size), dtype=np.float32)
        return np.memmap(self.folder / VECTORS, np.float32, "r", shape=(rows, self.size))

    # --- writing ---

    @contextmanager
    def change(self) -> Iterator[None]:
        """Do all of what is inside, or nothing; raises CrossmodalError when the disk refuses."""
        with _told(self.folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def put_vectors(self, slots: Sequence[int], vectors: np.ndarray) -> None:
        """Write vectors fp32 [len(slots), size] into slots that no record names, onto the disk."""
        width = 4 * self.size
        with _told(self.folder):
            for slot, vector in zip(slots, np.ascontiguousarray(vectors, dtype=np.float32), strict=True):
                _write_whole(self._vectors, vector.tobytes(), slot * width)
            os.fsync(self._vectors)

    def add(self, found: Found, slot: int, described: Described) -> None:
        """Record a photo, in place of what was known of its path; within `change`."""
        path = os.fsencode(found.path)
        self.forget([found.path])
        d = described
        self._db.execute(
            "INSERT INTO photos (path, size, changed, digest, slot, width, height, taken, camera, look) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (path, found.size, found.changed, d.digest, slot, d.width, d.height, d.taken, d.camera, d.look),
        )

    def touch(self, found: Found) -> None:
        """Record that a file was touched and holds what it held; within `change`."""
        self._db.execute(
            "UPDATE photos SET size = ?, changed = ? WHERE path = ?",
            (found.size, found.changed, os.fsencode(found.path)),
        )

    def skip(self, found: Found, reason: str) -> None:
        """Record that a file cannot be used, until it changes; within `change`."""
        self.forget([found.path])
        self._db.execute(
            "INSERT INTO skipped VALUES (?, ?, ?, ?)", (os.fsencode(found.path), found.size, found.changed, reason)
        )

    def forget(self, paths: Iterable[str]) -> None:
        """Take paths out of the records; within `change`."""
        for path in map(os.fsencode, paths):
            self._db.execute("DELETE FROM photos WHERE path = ?", (path,))
            self._db.execute("DELETE FROM skipped WHERE path = ?", (path,))


def _photo(row: tuple[Any, ...]) -> Photo:
    _, path, size, changed, digest, slot, *described = row
    return Photo(Found(os.fsdecode(path), size, changed), slot, Described(digest, *described))


def _connect(path: Path, writable: bool) -> sqlite3.Connection:
    if writable:
        db = sqlite3.connect(path, isolation_level=None, timeout=30)
        db.execute("PRAGMA journal_mode = WAL")  # a search reads while the indexing writes
        db.execute("PRAGMA synchronous = FULL")
        return db
    quoted = path.resolve().as_uri()
    try:
        db = sqlite3.connect(f"{quoted}?mode=ro", uri=True, isolation_level=None, timeout=30, check_same_thread=False)
        db.execute("SELECT 1 FROM meta")
    except sqlite3.OperationalError:  # where nothing can be written beside it, it cannot change either
        db = sqlite3.connect(f"{quoted}?immutable=1", uri=True, isolation_level=None, check_same_thread=False)
    return db


def _write_whole(file: int, content: bytes, at: int) -> None:
    while content:
        written = os.pwrite(file, content, at)
        content, at = content[written:], at + written


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Turn what the disk and SQLite say into one sentence."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if "malformed" in str(error) or "not a database" in str(error) or "no such table" in str(error):
            raise CrossmodalError(f"The index in {folder} is broken ({error}); make it anew with --rebuild.") from error
        raise _refused(folder, str(error)) from error
    except OSError as error:
        raise _refused(folder, error.strerror or str(error)) from error


def _refused(folder: Path, reason: str) -> CrossmodalError:
    return CrossmodalError(
        f"The index in {folder} cannot be used ({reason}); free some space, or name another folder with --index. "
        "What was indexed before is untouched."
    )
