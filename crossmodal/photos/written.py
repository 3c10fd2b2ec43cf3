"""What is written in a folder's photos, their names among it, in SQLite's full-text index (FTS5)."""

import os
import sqlite3

from crossmodal.data.limits import WRITTEN
from crossmodal.files import shown

COLUMNS = ", ".join((*WRITTEN, "names"))


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
