"""SQLite under the index of a folder: connections, and one sentence for whatever goes wrong."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from crossmodal.errors import CrossmodalError
from crossmodal.files import whole_file

DATABASE = "photos.db"
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE photos (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, changed INTEGER NOT NULL, inode INTEGER NOT NULL,
    status_changed INTEGER NOT NULL, slot INTEGER NOT NULL, digest BLOB NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, taken REAL, camera TEXT NOT NULL, look INTEGER NOT NULL, title TEXT NOT NULL,
    keywords TEXT NOT NULL, description TEXT NOT NULL, place TEXT NOT NULL, latitude REAL, longitude REAL,
    text TEXT, names TEXT NOT NULL
);
CREATE INDEX photos_digest ON photos (digest);
CREATE TABLE skipped (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL, inode INTEGER NOT NULL,
    status_changed INTEGER NOT NULL, reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE VIRTUAL TABLE written USING fts5 (
    title, keywords, description, place, names, text, content = photos, content_rowid = id,
    tokenize = 'porter unicode61 remove_diacritics 2'
);
"""
TABLES = {"meta", "photos", "skipped", "written"}
# What SQLite says where the disk refuses; all else means that the file is broken.
REFUSALS = frozenset((
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM,
))  # fmt: skip


def connect(path: Path, writable: bool) -> sqlite3.Connection:
    """Open a database that is there."""
    if writable:
        # A search reads while the indexing writes.
        return _tried(sqlite3.connect(path, isolation_level=None, timeout=30), "PRAGMA journal_mode = WAL")
    try:
        return _tried(_read_only(path, "mode=ro"), "PRAGMA schema_version")
    except sqlite3.OperationalError:  # where nothing can be written beside it, it cannot change either
        return _tried(_read_only(path, "immutable=1"), "PRAGMA schema_version")


def check_tables(db: sqlite3.Connection, folder: Path) -> None:
    """Check that what is read are tables: a view may have rows without end. Raises CrossmodalError."""
    names = ", ".join(f"'{name}'" for name in TABLES)
    (odd,) = db.execute(
        f"SELECT count(*) FROM sqlite_master WHERE type IN ('view', 'trigger') OR (name IN ({names}) AND type != 'table')"
    ).fetchone()
    if odd:
        raise broken(folder, "it has views or triggers, which no index has")


def _read_only(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?{mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30, check_same_thread=False)


def _tried(db: sqlite3.Connection, statement: str) -> sqlite3.Connection:
    try:
        db.execute(statement)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA trusted_schema = OFF")  # the file may be another's
        return db
    except BaseException:
        db.close()
        raise


def make_database(path: Path, meta: list[tuple[str, str]]) -> None:
    """Make a database with no record, whole or not at all; one that is there is emptied, while others may read it.

    Raises CrossmodalError where that is another program's.
    """
    if _emptied(path, meta):
        return
    with whole_file(path) as temporary:
        with closing(sqlite3.connect(temporary, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = MEMORY")
            _fill(db, meta)
        for end in ("-wal", "-shm"):  # of a broken one
            path.with_name(f"{path.name}{end}").unlink(missing_ok=True)


def _emptied(path: Path, meta: list[tuple[str, str]]) -> bool:
    """Return whether there was a sound database, which is empty now."""
    if not path.is_file():
        return False
    try:
        with closing(connect(path, writable=True)) as db:
            names = db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*' AND name NOT GLOB 'written_*'"
            )
            if not {name for (name,) in names} <= TABLES:
                raise CrossmodalError(f"{path} belongs to another program; name another folder with --index.")
            sound = db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            if sound:
                _fill(db, meta)
            return sound
    except sqlite3.DatabaseError as error:
        if is_refusal(error):
            raise
        return False


def _fill(db: sqlite3.Connection, meta: list[tuple[str, str]]) -> None:
    """Give a database its tables and `meta`, in place of what it holds."""
    db.execute("BEGIN IMMEDIATE")
    for name in TABLES:
        db.execute(f"DROP TABLE IF EXISTS {name}")
    for statement in filter(str.strip, SCHEMA.split(";")):
        db.execute(statement)
    db.executemany("INSERT INTO meta VALUES (?, ?)", meta)
    db.execute("COMMIT")


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what the disk and SQLite say of the index in a folder into one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise (_refused if is_refusal(error) else broken)(folder, str(error)) from error
    except OSError as error:
        raise _refused(folder, error.strerror or str(error)) from error


def is_refusal(error: sqlite3.Error) -> bool:
    """Say whether the disk refused, and the file may be sound."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF in REFUSALS


def broken(folder: Path, what: str) -> CrossmodalError:
    """Return the error for an index that is damaged."""
    return CrossmodalError(f"The index in {folder} is broken ({what}); make it again with --rebuild.")


def _refused(folder: Path, reason: str) -> CrossmodalError:
    return CrossmodalError(
        f"The index in {folder} cannot be used ({reason}); free some space, or name another folder with --index. "
        "What was indexed before is untouched."
    )
