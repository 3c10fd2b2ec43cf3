"""SQLite under the index of a folder: connections, and one sentence for whatever goes wrong."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
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
OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master"
STATISTICS = {  # what ANALYZE adds, which changes no answer
    ("table", "sqlite_stat1", "sqlite_stat1", "CREATE TABLE sqlite_stat1(tbl,idx,stat)"),
    ("table", "sqlite_stat4", "sqlite_stat4", "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)"),
}
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


def check_tables(db: sqlite3.Connection, folder: Path, only: str | None = None) -> None:
    """Check that the schema, or `only` the table of a name, is that of an index; raises CrossmodalError.

    A view may have rows without end, and a generated column, a constraint or an index may take hours to compute.
    """
    if not _has_own_tables(db, only):
        raise broken(folder, "its tables are not those that this program makes")


def _has_own_tables(db: sqlite3.Connection, only: str | None = None) -> bool:
    found = {row for row in db.execute(OBJECTS) if only in (None, row[1])}
    return found - STATISTICS == {row for row in _own_objects() if only in (None, row[1])}


@cache
def _own_objects() -> frozenset[tuple[str, str, str, str | None]]:
    with closing(empty_database()) as db:
        return frozenset(db.execute(OBJECTS))


def empty_database() -> sqlite3.Connection:
    """Return a database in memory that has the tables of an index, and no rows."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    _make_tables(db)
    return db


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
            # The check computes what a stranger's schema says, so that comes first.
            sound = _has_own_tables(db) and db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
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
    _make_tables(db)
    db.executemany("INSERT INTO meta VALUES (?, ?)", meta)
    db.execute("COMMIT")


def _make_tables(db: sqlite3.Connection) -> None:
    for statement in filter(str.strip, SCHEMA.split(";")):
        db.execute(statement)


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


def is_corruption(error: Exception) -> bool:
    """Say whether SQLite met bytes that it did not write."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def broken(folder: Path, what: str) -> CrossmodalError:
    """Return the error for an index that is damaged."""
    return CrossmodalError(f"The index in {folder} is broken ({what}); make it again with --rebuild.")


def _refused(folder: Path, reason: str) -> CrossmodalError:
    return CrossmodalError(
        f"The index in {folder} cannot be used ({reason}); free some space, or name another folder with --index. "
        "What was indexed before is untouched."
    )
