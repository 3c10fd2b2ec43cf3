"""The index of a folder on disk: SQLite for the records, a flat file for the vectors.

A record names the slot of its vector in the file that `meta` names. Vectors are only ever appended, and are
on the disk before the records that name them are committed; a rebuilt or compacted index gets another file.
So a kill at any moment leaves records whose vectors are whole, and a reader keeps those it has mapped.
"""

import contextlib
import json
import mmap
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from crossmodal.errors import CrossmodalError, printable
from crossmodal.files import shown
from crossmodal.photos.database import DATABASE, broken, check_tables, connect, explained, make_database
from crossmodal.photos.meta import FORMAT, VERSION, as_entry, believed, check_records, checked_meta, read_meta
from crossmodal.photos.vector_file import remove_strays, write_whole
from crossmodal.photos.walk import INDEX_FOLDER
from crossmodal.photos.written import check_words, enter, mended, names_of, withdraw, write_text
from crossmodal.runs.models import Maker
from crossmodal.search.record import Described, Found, Photo

LOCK = "index.lock"
FOUND = "path, size, changed, inode, status_changed"
RECORD = ", ".join((FOUND, "slot", *(one.name for one in fields(Described))))
SOUND_SKIP = "WHERE typeof(path) = 'blob' AND typeof(reason) = 'text'"  # what else stands there is read again
FREE_SLOTS = 1000  # fewer are never worth a new file
COPIED_AT_ONCE = 4096  # vectors


def index_folder(photos: Path, index: Path | None = None) -> Path:
    """Return where the index of a folder lies: beside the photos, or where the user says."""
    return Path(index) if index else Path(photos) / INDEX_FOLDER


class Store:
    """An open index. What a reader sees is of one moment: that of its opening, or of the last call of `photos`."""

    meta: dict[str, Any]

    def __init__(self, folder: Path, writable: bool) -> None:
        """Open an index that is there; raises CrossmodalError when it is absent, broken or of another format."""
        self.folder = Path(folder)
        self.writable = writable
        self._vectors = -1
        if not (self.folder / DATABASE).is_file():
            beside = self.folder.name == INDEX_FOLDER
            again = shown(str(self.folder.parent)) if beside else f"PHOTOS --index {shown(str(self.folder))}"
            raise CrossmodalError(f"There is no index in {folder}; make one with: python -m crossmodal index {again}")
        with explained(self.folder):
            self._db = connect(self.folder / DATABASE, writable)
        try:
            self._read()
            self.mended = writable and self._mended()  # whether what is written in photos was entered again
        except BaseException:
            self.close()
            raise

    @property
    def root(self) -> Path:
        """The folder of photos that the index is of; one that lies inside it travels with it."""
        return Path(os.path.normpath(self.folder / self.meta["root"]))

    @property
    def maker(self) -> Maker:
        """The model that made the index."""
        again = f"python -m crossmodal index {shown(str(self.root))} --rebuild --checkpoint MODEL"
        weights = Path(self.meta["weights"]) if self.meta["weights"] else None
        made = f"the index in {self.folder}"
        return Maker(self.meta["fingerprint"], Path(self.meta["checkpoint"]), made, again, weights)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; vectors that were asked for stay."""
        self._db.close()
        self._close_vectors()

    def _close_vectors(self) -> None:
        if self._vectors >= 0:
            os.close(self._vectors)
        self._vectors = -1

    def _read(self) -> None:
        """Read `meta` and open the vectors, for a reader within a transaction that `photos` ends."""
        self._close_vectors()
        for _ in range(3):
            with explained(self.folder):
                if not self.writable:
                    self._db.execute("BEGIN")
                check_tables(self._db, self.folder, only="meta")
                self.meta = read_meta(self._db, self.folder)  # which says whether the other tables are of this version
                check_tables(self._db, self.folder)
                # Else it could show photos of anywhere.
                if self.folder.name == INDEX_FOLDER and self.meta["root"] != "..":
                    raise broken(self.folder, f"its photos would lie in {self.meta['root']!r:.80}, not beside it")
                self.size: int = self.meta["size"]
                path = self.folder / self.meta["vectors"]
                if path.is_file():
                    with contextlib.suppress(FileNotFoundError):
                        self._vectors = os.open(path, (os.O_RDWR if self.writable else os.O_RDONLY) | os.O_NOFOLLOW)
                        return
                if not self.writable:  # the index was compacted or rebuilt since its meta was read
                    self._db.execute("ROLLBACK")
        raise broken(self.folder, "it has lost its vectors")

    def _mended(self) -> bool:
        with self.change():
            check_records(self._db, self.folder, self._slots(), copies=True)
            return mended(self._db)

    def check_words(self) -> None:
        """Check that words find photos; raises CrossmodalError where they would miss some."""
        with explained(self.folder):
            check_words(self._db, self.folder)

    @staticmethod
    def create(folder: Path, meta: Mapping[str, Any]) -> None:
        """Make an empty index, whole or not at all, also in place of one; `meta` is what `checked_meta` asks for.

        Whoever reads the old one meanwhile goes on reading it.
        """
        folder = Path(folder)
        name = f"vectors-{secrets.token_hex(4)}.f32"
        content = {"format": FORMAT, "version": VERSION, **meta, "vectors": name}
        rows = [(key, json.dumps(value)) for key, value in content.items()]
        checked_meta(rows, folder)
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
            try:
                make_database(folder / DATABASE, rows)
            except BaseException:
                (folder / name).unlink()
                raise
        remove_strays(folder, name)

    def set_meta(self, key: str, value: Any) -> None:
        """Write one entry of `meta`; raises CrossmodalError for what no index holds."""
        entry = as_entry(key, value)
        with self.change():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, entry))
        self.meta[key] = value

    # --- reading ---

    def photos(self) -> Iterator[Photo]:
        """Yield all records, in the order of their paths; `vectors` are theirs. Paths that leave the root are dropped.

        Raises CrossmodalError for records that are broken, or whose vectors are lost or those of other photos.
        """
        if not self.writable and not self._db.in_transaction:
            self._read()
        try:
            with explained(self.folder):
                check_records(self._db, self.folder, self._slots())
                rows = self._db.execute(f"SELECT {RECORD} FROM photos ORDER BY path")
                yield from believed(map(_photo, rows), self.folder)
        finally:
            if not self.writable and self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def with_digest(self, digest: bytes) -> list[Photo]:
        """Return the records with this content."""
        with explained(self.folder):
            return [_photo(row) for row in self._db.execute(f"SELECT {RECORD} FROM photos WHERE digest = ?", (digest,))]

    def known(self) -> dict[str, tuple[int, int, int, int]]:
        """Return the state of every file that was met, used or skipped, by path."""
        with explained(self.folder):
            rows = self._db.execute(f"SELECT {FOUND} FROM photos UNION ALL SELECT {FOUND} FROM skipped {SOUND_SKIP}")
            return {os.fsdecode(path): tuple(state) for path, *state in rows}

    def digests(self) -> set[bytes]:
        """Return the contents that have a vector."""
        with explained(self.folder):
            return {digest for (digest,) in self._db.execute("SELECT digest FROM photos")}

    def skipped(self) -> dict[str, tuple[Found, str]]:
        """Return the files that could not be used, each with the reason."""
        with explained(self.folder):
            rows = self._db.execute(f"SELECT reason, {FOUND} FROM skipped {SOUND_SKIP} ORDER BY path").fetchall()
            return {os.fsdecode(path): (Found(os.fsdecode(path), *state), printable(why)) for why, path, *state in rows}

    def vectors(self) -> np.ndarray:
        """Return the slots as they lie on the disk, fp32 [slots, size], read-only; they outlive the store."""
        slots = self._slots()
        if not slots:
            return np.empty((0, self.size), dtype=np.float32)
        mapped = mmap.mmap(self._vectors, slots * 4 * self.size, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.float32).reshape(slots, self.size)

    def _slots(self) -> int:
        return os.fstat(self._vectors).st_size // (4 * self.size)

    # --- writing ---

    @contextmanager
    def change(self) -> Iterator[None]:
        """Do all of what is inside, or nothing; raises CrossmodalError when the disk refuses."""
        with explained(self.folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def append(self, vectors: np.ndarray) -> range:
        """Write vectors fp32 [N, size] behind all others, onto the disk; return their slots."""
        if vectors.shape[1] != self.size:
            raise broken(
                self.folder, f"its vectors have {self.size} numbers each, and its model gives {vectors.shape[1]}"
            )
        first = self._slots()
        with explained(self.folder):
            write_whole(self._vectors, np.ascontiguousarray(vectors, np.float32).tobytes(), first * 4 * self.size)
            os.fsync(self._vectors)
        return range(first, first + len(vectors))

    def add(self, found: Found, slot: int, described: Described) -> None:
        """Record a photo, in place of what was known of its path; within `change`."""
        self.forget([found.path])
        path, values = os.fsencode(found.path), (getattr(described, one.name) for one in fields(Described))
        row = (path, *found.state, slot, *values, names_of(found.path))
        self._db.execute(f"INSERT INTO photos ({RECORD}, names) VALUES ({', '.join('?' * len(row))})", row)
        enter(self._db, path)

    def touch(self, found: Found) -> None:
        """Record that a file was touched and holds what it held; within `change`."""
        states = "size = ?, changed = ?, inode = ?, status_changed = ?"
        self._db.execute(f"UPDATE photos SET {states} WHERE path = ?", (*found.state, os.fsencode(found.path)))

    def set_text(self, digest: bytes, text: str) -> None:
        """Record the text in the photos with this content."""
        with self.change():
            write_text(self._db, digest, text)

    def skip(self, found: Found, reason: str) -> None:
        """Record that a file cannot be used, until it changes; within `change`."""
        self.forget([found.path])
        row = (os.fsencode(found.path), *found.state, reason)
        self._db.execute(f"INSERT INTO skipped ({FOUND}, reason) VALUES (?, ?, ?, ?, ?, ?)", row)

    def forget(self, paths: Iterable[str]) -> None:
        """Take paths out of the records; within `change`."""
        for path in map(os.fsencode, paths):
            withdraw(self._db, path)
            self._db.execute("DELETE FROM photos WHERE path = ?", (path,))
            self._db.execute("DELETE FROM skipped WHERE path = ?", (path,))

    def remove_strays(self) -> None:
        """Remove what killed runs left in the folder; for the one who holds the index's lock."""
        remove_strays(self.folder, self.meta["vectors"])

    def compact(self) -> None:
        """Move to a new file of vectors, in the order of paths, where most slots are free; for the lock's holder."""
        old = self.vectors()
        with explained(self.folder):
            (count,) = self._db.execute("SELECT count(DISTINCT slot) FROM photos").fetchone()
            if len(old) - count < max(FREE_SLOTS, count):
                return
            rows = self._db.execute("SELECT path, slot FROM photos ORDER BY path").fetchall()
        used = list(dict.fromkeys(slot for _, slot in rows))
        name = f"vectors-{secrets.token_hex(4)}.f32"
        try:
            with (self.folder / name).open("xb") as file:
                for start in range(0, len(used), COPIED_AT_ONCE):
                    file.write(old[used[start : start + COPIED_AT_ONCE]].tobytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError:  # no room for both: the old one stays
            (self.folder / name).unlink(missing_ok=True)
            return
        places = {slot: place for place, slot in enumerate(used)}
        with self.change():
            moved = [(places[slot], path) for path, slot in rows]
            self._db.executemany("UPDATE photos SET slot = ? WHERE path = ?", moved)
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'vectors'", (json.dumps(name),))
        self._read()
        self.remove_strays()


def _photo(row: tuple[Any, ...]) -> Photo:
    path, size, changed, inode, status_changed, slot, *described = row
    return Photo(Found(os.fsdecode(path), size, changed, inode, status_changed), slot, Described(*described))
