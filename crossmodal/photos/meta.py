"""What an index says of itself and of its photos, and what of it is believed: it may come from another's disk."""

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from crossmodal.data.limits import CAMERA, READ_TEXT, WRITTEN
from crossmodal.errors import CrossmodalError
from crossmodal.files import FINGERPRINT, stays_below
from crossmodal.hubs import Bank
from crossmodal.photos.database import broken
from crossmodal.photos.walk import is_photo
from crossmodal.recipe import MOST_VIEWS, QUALITIES
from crossmodal.search.cutoff import Cutoff
from crossmodal.search.record import Photo

FORMAT, VERSION = "crossmodal-photo-index", 7
VECTORS = r"vectors-[0-9a-f]{8}\.f32"  # names of files; none is ever written again
DIGEST_BYTES = 16
BROKEN: tuple[()] = ()  # stands for what is no JSON, and is nothing that JSON can say
LONGEST = 4096  # characters of a path or a pattern
WIDEST = 1 << 16  # dimensions
LONGEST_ENTRY = 1 << 22  # characters of an entry of `meta`; a bank of 1024 dimensions has 700,000
# SQLite holds anything in any column. Times of day and pixels are such as dates and other programs can hold.
SOUND_RECORD = " AND ".join((
    *(f"typeof({column}) = 'integer'" for column in ("size", "changed", "inode", "status_changed", "slot", "look")),
    "typeof(path) = 'blob'", f"length(path) <= {4 * LONGEST}", "size >= 0", "slot >= 0",
    "typeof(digest) = 'blob'", f"length(digest) = {DIGEST_BYTES}",
    *(f"typeof({side}) = 'integer' AND {side} BETWEEN 1 AND 1000000000" for side in ("width", "height")),
    "(taken IS NULL OR typeof(taken) = 'real' AND taken BETWEEN -62e9 AND 253e9)", "(latitude IS NULL) = (longitude IS NULL)",
    *(
        f"({name} IS NULL OR typeof({name}) = 'real' AND {name} BETWEEN -{most} AND {most})"
        for name, most in (("latitude", 90), ("longitude", 180))
    ),
    *(f"typeof({name}) = 'text' AND length({name}) <= {most}" for name, most in {"camera": CAMERA, **WRITTEN}.items()),
    f"(text IS NULL OR typeof(text) = 'text' AND length(text) <= {READ_TEXT})",
    f"typeof(names) = 'text' AND length(names) <= {16 * LONGEST}",  # a byte that is no text is written as four characters
))  # fmt: skip


def _text(value: object, pattern: str = r"[^\0]*") -> bool:
    if not isinstance(value, str) or len(value) > LONGEST or not re.fullmatch(pattern, value):
        return False
    try:
        os.fsencode(value)
        return True
    except UnicodeEncodeError:  # half of a character, which nothing can print
        return False


def _patterns(value: object) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _cutoff(value: object) -> bool:
    """Say whether it is None, or the plain values of a Cutoff."""
    try:
        return Cutoff.from_plain(value) is None or _text(value["calibrated_on"])  # type: ignore[index]
    except CrossmodalError:
        return False


def _bank(value: object) -> bool:
    """Say whether it is None, or the plain values of a Bank."""
    try:
        return value is None or bool(Bank.from_plain(value))
    except CrossmodalError:
        return False


SOUND: dict[str, Callable[[Any], bool]] = {
    "vectors": lambda value: _text(value, VECTORS),
    "size": lambda value: type(value) is int and 1 <= value <= WIDEST,
    "bank": _bank,
    "quality": lambda value: value in QUALITIES,
    "views": lambda value: type(value) is int and 1 <= value <= MOST_VIEWS,
    "root": lambda value: _text(value) and (os.path.isabs(value) or set(value.split("/")) in ({".."}, {"."})),
    "ocr": lambda value: type(value) is bool,
    "excluded": _patterns,
    "included": _patterns,
    "fingerprint": lambda value: _text(value, FINGERPRINT.pattern),
    "checkpoint": _text,  # a path, or the name of a published model
    "weights": lambda value: value is None or _text(value),  # the folder of a published model's, where it was named
    "recipe": _text,
    "runtime": lambda value: value in ("torch", "OpenVINO"),
    "cutoff": _cutoff,
}


def as_entry(key: str, value: Any) -> str:
    """Return a value as `meta` holds it; raises CrossmodalError for one that could not be read again."""
    entry = json.dumps(value)
    if not SOUND[key](value) or len(entry) > LONGEST_ENTRY:
        raise CrossmodalError(f"An index cannot keep {entry:.80} as {key}: it is too long, or not of that kind.")
    return entry


def read_meta(db: sqlite3.Connection, folder: Path) -> dict[str, Any]:
    """Return the entries of a database's `meta`, of which no more is read than `checked_meta` allows; raises as it does."""
    keys = ("format", "version", *SOUND)
    known = ", ".join("?" * len(keys))
    cut = f"SELECT key, substr(value, 1, {LONGEST_ENTRY + 1}) FROM meta WHERE key IN ({known})"
    return checked_meta(db.execute(cut, keys), folder)


def checked_meta(rows: Iterable[tuple[object, object]], folder: Path) -> dict[str, Any]:
    """Return the entries of `meta`, each of the type that SOUND asks for.

    Raises CrossmodalError for another format, and for the first entry that is missing, too long or broken.
    """
    meta: dict[object, Any] = {}
    for key, value in rows:
        if isinstance(value, str) and len(value) > LONGEST_ENTRY:
            raise broken(folder, f"its {key} is longer than {LONGEST_ENTRY:,} characters")
        meta[key] = _parsed(value)
    if (meta.get("format"), meta.get("version")) != (FORMAT, VERSION):
        raise CrossmodalError(
            f"The index in {folder} has the format {meta.get('format')!r:.40} {meta.get('version')!r:.40}, and this program "
            f"reads {FORMAT!r} {VERSION}; update the program, or make the index again with --rebuild."
        )
    for key, is_sound in SOUND.items():
        if key not in meta or not is_sound(meta[key]):
            raise broken(folder, f"its {key} is {meta.get(key)!r:.80}")
    if meta["bank"] and Bank.from_plain(meta["bank"]).vectors.shape[1] + 1 != meta["size"]:
        raise broken(folder, "its bank is of other vectors than its photos")
    return {str(key): value for key, value in meta.items()}


def check_records(db: sqlite3.Connection, folder: Path, slots: int, copies: bool = False) -> None:
    """Check that all records are sound, and that there are as many vectors as they name; raises CrossmodalError.

    With `copies` also that only copies share a vector; for who reads all records, `believed` does so at a tenth of the cost.
    """
    odd = db.execute(f"SELECT substr(path, 1, 80) FROM photos WHERE NOT ({SOUND_RECORD}) LIMIT 1").fetchone()
    if odd:
        raise broken(folder, f"its record of {odd[0]!r:.80} is damaged")
    (last,) = db.execute("SELECT max(slot) FROM photos").fetchone()
    if last is not None and last >= slots:
        raise broken(folder, "it has lost vectors")
    shared = "SELECT slot FROM photos GROUP BY slot HAVING min(digest) != max(digest) LIMIT 1"
    if copies and (found := db.execute(shared).fetchone()):
        raise _shared(folder, found[0])


def believed(photos: Iterable[Photo], folder: Path) -> Iterator[Photo]:
    """Yield those photos whose paths stay below the root; raises CrossmodalError where others than copies share a vector."""
    digests: dict[int, bytes] = {}
    for photo in photos:
        if digests.setdefault(photo.slot, photo.described.digest) != photo.described.digest:
            raise _shared(folder, photo.slot)
        if is_photo(photo.found.path) and stays_below(photo.found.path):
            yield photo


def _shared(folder: Path, slot: int) -> CrossmodalError:
    return broken(folder, f"different photos share its vector {slot}")


def _parsed(value: object) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else BROKEN
    except (ValueError, RecursionError):
        return BROKEN
