"""What is written in a folder's photos, their names among it, in SQLite's full-text index (FTS5)."""

import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from crossmodal.data.limits import WRITTEN
from crossmodal.files import shown
from crossmodal.photos.database import DATABASE, connect
from crossmodal.search.query import Term
from crossmodal.search.wording import wanted_words

COLUMNS = ", ".join((*WRITTEN, "names", "text"))
WEIGHTS = ", ".join([*("1.0" for _ in WRITTEN), "1.0", "0.5"])  # of a word in each, for BM25; OCR misreads some
MOST = 1000  # photos that words find
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


def find(folder: Path, terms: Sequence[Term]) -> list[tuple[str, bool, tuple[str, ...]]]:
    """Return the paths of photos of which a word of each wanted term is written, of very many the best matches (BM25).

    Each with whether all words of the terms are, and with the words as they are written. Photos of which all words of an unwanted term
    are written are left out. An index that is gone, or was broken since it was opened, finds nothing.
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
    except (sqlite3.Error, OSError):
        return []
    return [(os.fsdecode(path), row in whole, _marked(text or "")) for row, path, text in rows]


def _quoted(word: str) -> str:
    return f'"{word}"'


def _marked(text: str) -> tuple[str, ...]:
    """Return the different words that are marked in a text."""
    return tuple({word.casefold(): word for word in re.findall(f"{BEGIN}(.*?){END}", text)}.values())
