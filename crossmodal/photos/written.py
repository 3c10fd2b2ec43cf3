"""What is written in a folder's photos, their names among it, in SQLite's full-text index (FTS5)."""

import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from crossmodal.data.limits import WRITTEN
from crossmodal.errors import CrossmodalError
from crossmodal.files import shown
from crossmodal.photos.database import DATABASE, connect, empty_database, is_corruption, is_refusal
from crossmodal.search.query import Term
from crossmodal.search.wording import wanted_words

COLUMNS = ", ".join((*WRITTEN, "names", "text"))
WEIGHTS = ", ".join([*("1.0" for _ in WRITTEN), "1.0", "0.5"])  # of a word in each, for BM25; OCR misreads some
MOST = 1000  # photos that words find
PROBED, LONGEST_PROBE = 16, 100  # photos that are looked for by their names, of so many characters
SHADOWS = ("data", "idx", "docsize", "config")  # tables that FTS5 keeps
BEGIN, END = "\x01", "\x02"  # of a word that matches; nothing that is written holds what cannot be printed


def names_of(path: str) -> str:
    """Return the words that a photo's file and folders are named by, without the ending."""
    return shown(os.path.splitext(path)[0])


def enter(db: sqlite3.Connection, path: bytes) -> None:
    """Take what the record of a photo holds into the index."""
    db.execute(f"INSERT INTO written (rowid, {COLUMNS}) SELECT id, {COLUMNS} FROM photos WHERE path = ?", (path,))


def withdraw(db: sqlite3.Connection, path: bytes) -> None:
    """Take what the record of a photo holds out of the index, while the record is there; nothing where it is not."""
    db.execute(
        f"INSERT INTO written (written, rowid, {COLUMNS}) SELECT 'delete', id, {COLUMNS} FROM photos WHERE path = ?",
        (path,),
    )


def write_text(db: sqlite3.Connection, digest: bytes, text: str) -> None:
    """Enter the text in the photos with this content, in place of what was entered."""
    for (path,) in db.execute("SELECT path FROM photos WHERE digest = ?", (digest,)).fetchall():
        withdraw(db, path)
        db.execute("UPDATE photos SET text = ? WHERE path = ?", (text, path))
        enter(db, path)


def check_words(db: sqlite3.Connection, folder: Path) -> None:
    """Check that a few photos are found by their names; raises CrossmodalError for an index that is damaged."""
    if what := _damage(db):
        raise _lost_words(folder, what)


def mended(db: sqlite3.Connection) -> bool:
    """Compare the index with all records, and make it again from them where they differ; return whether it was.

    It is called within a transaction, for records that are sound, and takes a second for 100,000 of them.
    """
    if not _damage(db, thoroughly=True):
        return False
    with closing(empty_database()) as empty:  # FTS5 rebuilds nothing where its own settings are lost
        for name in SHADOWS:
            db.execute(f"DELETE FROM written_{name}")
            for row in empty.execute(f"SELECT * FROM written_{name}"):
                db.execute(f"INSERT INTO written_{name} VALUES ({', '.join('?' * len(row))})", row)
    db.execute("INSERT INTO written (written) VALUES ('rebuild')")
    return True


def _damage(db: sqlite3.Connection, thoroughly: bool = False) -> str:
    """Return what is wrong with the index, "" where nothing is; with `thoroughly` the database has to be writable."""
    try:
        photos, entered, first, last = db.execute(
            "SELECT count(*), (SELECT count(*) FROM written_docsize), min(id), max(id) FROM photos"
        ).fetchone()
        if photos != entered:
            return f"{entered:,} of {photos:,} photos are entered"
        probes = min(photos, PROBED)
        for number in range(probes):
            names, found = _probed(db, first + (last - first) * number // max(1, probes - 1))
            # What else is a letter to FTS5 depends on its version of Unicode.
            if not found and re.search("[0-9A-Za-z]", names):
                return f"{names[:80]!r} is not found by its name"
        if thoroughly:
            db.execute("INSERT INTO written (written, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        if is_refusal(error):
            raise
        return str(error)
    return ""


def _probed(db: sqlite3.Connection, start: int) -> tuple[str, bool]:
    """Return the names of the first photo from an id on, and whether they find it; long ones are not looked for, and do.

    One statement sees one moment, also while an indexing goes on. Ranking is left to a search: it takes all photos of these names.
    """
    phrase = """'names : "' || replace(photos.names, '"', '""') || '"'"""
    match = f"SELECT 1 FROM written WHERE written MATCH {phrase} AND rowid = photos.id"
    found = f"CASE WHEN length(names) > {LONGEST_PROBE} THEN 1 ELSE ({match}) END"
    row = db.execute(f"SELECT names, {found} FROM photos WHERE id >= ? ORDER BY id LIMIT 1", (start,)).fetchone()
    return (row[0], row[1] is not None) if row else ("", True)


def _lost_words(folder: Path, what: str) -> CrossmodalError:
    return CrossmodalError(
        f"The index in {folder} has lost what is written in its photos ({what}); index them again to mend it, or make it again "
        "with --rebuild."
    )


def find(folder: Path, terms: Sequence[Term]) -> list[tuple[str, bool, tuple[str, ...]]]:
    """Return the paths of photos of which a word of each wanted term is written, of very many the best matches (BM25).

    Each with whether all words of the terms are, and with the words as they are written. Photos of which all words of an unwanted term
    are written are left out. An index that is gone finds nothing; raises CrossmodalError for one that is damaged.
    """
    wanted, unwanted = wanted_words(terms)
    if not wanted:
        return []
    without = "".join(f" NOT ({' AND '.join(map(_quoted, words))})" for words in unwanted)
    some, every = (
        " AND ".join(f"({f' {between} '.join(map(_quoted, words))})" for words in wanted) for between in ("OR", "AND")
    )
    marked = " || ' ' || ".join(
        f"coalesce(highlight(written, {place}, '{BEGIN}', '{END}'), '')" for place in range(COLUMNS.count(",") + 1)
    )
    try:
        with closing(connect(folder / DATABASE, writable=False)) as db:
            whole = {
                row
                for (row,) in db.execute("SELECT rowid FROM written WHERE written MATCH ?", (f"({every}){without}",))
            }
            rows = db.execute(
                f"SELECT photos.id, photos.path, {marked} FROM written JOIN photos ON photos.id = written.rowid "
                f"WHERE written MATCH ? AND typeof(photos.path) = 'blob' ORDER BY bm25(written, {WEIGHTS}) LIMIT ?", (f"({some}){without}", MOST),
            ).fetchall()  # fmt: skip
    except (sqlite3.Error, OSError) as error:
        if is_corruption(error):
            raise _lost_words(folder, str(error)) from error
        return []
    return [(os.fsdecode(path), row in whole, _marked(text or "")) for row, path, text in rows]


def _quoted(word: str) -> str:
    return f'"{word}"'


def _marked(text: str) -> tuple[str, ...]:
    """Return the different words that are marked in a text."""
    return tuple({word.casefold(): word for word in re.findall(f"{BEGIN}(.*?){END}", text)}.values())
