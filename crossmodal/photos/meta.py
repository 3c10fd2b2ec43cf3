"""What an index says of itself and of its photos, and what of it is believed: it may come from another's disk."""

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from crossmodal.data.limits import CAMERA, READ_TEXT, WRITTEN
from crossmodal.errors import CrossmodalError
from crossmodal.files import FINGERPRINT
from crossmodal.hubs import Bank
from crossmodal.photos.database import broken
from crossmodal.recipe import MOST_VIEWS, QUALITIES
from crossmodal.search.cutoff import Cutoff

FORMAT, VERSION = "crossmodal-photo-index", 7
VECTORS = r"vectors-[0-9a-f]{8}\.f32"  # names of files; none is ever written again
DIGEST_BYTES = 16
BROKEN: tuple[()] = ()  # stands for what is no JSON, and is nothing that JSON can say
LONGEST = 4096  # characters of a path or a pattern
WIDEST = 1 << 16  # dimensions
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


def checked_meta(rows: Iterable[tuple[object, object]], folder: Path) -> dict[str, Any]:
    """Return the entries of `meta`, each of the type that SOUND asks for.

    Raises CrossmodalError for another format, and for the first entry that is missing or broken.
    """
    meta = {key: _parsed(value) for key, value in rows}
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


def _parsed(value: object) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else BROKEN
    except (ValueError, RecursionError):
        return BROKEN
