"""A photo's record as a row of Milvus, and back; filters as expressions."""

import json
import os
from collections.abc import Sequence
from hashlib import blake2b
from math import ceil, isfinite
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from crossmodal.photos.store import Described, Photo
from crossmodal.photos.walk import Found
from crossmodal.scale.milvus.connection import TEXT, quoted
from crossmodal.search.filters import Filters, below, date_of, orientation_of

# The width of a text's column, or int or float.
FIELDS: dict[str, int | type] = {
    "id": 64, "stamp": 32, "path": TEXT, "bytes": int, "digest": 64, "width": int, "height": int, "pixels": int,
    "orientation": 16, "date": float, "camera": 2000, "look": int, "captions": TEXT,
}  # fmt: skip
READ = ["path", "bytes", "digest", "width", "height", "date", "camera", "look", "captions"]
PLAIN = "/ ._-,()+'&@"  # characters that stay as they are


def written(text: str) -> str:
    """Return a path or name in ASCII without quotes, so that bytes of any kind fit; what begins alike still does."""
    return quote_from_bytes(os.fsencode(text), safe=PLAIN)


def as_row(photo: Photo, key: str) -> dict[str, Any]:
    """Return a photo's row without its vector."""
    described, captions = photo.described, list(photo.captions)
    while len(json.dumps(captions)) > TEXT:
        captions.pop()
    row: dict[str, Any] = {
        "path": written(photo.found.path), "bytes": photo.found.size, "digest": described.digest.hex(),
        "width": described.width, "height": described.height, "pixels": described.width * described.height,
        "orientation": orientation_of(described.width, described.height), "date": date_of(photo),
        "camera": written(described.camera)[:2000], "look": described.look, "captions": json.dumps(captions),
    }  # fmt: skip
    return {"id": key, "stamp": stamp_of(row), **row}


def stamp_of(row: dict[str, Any]) -> str:
    """Return what changes when a row does."""
    return blake2b(json.dumps(row, sort_keys=True).encode(), digest_size=12).hexdigest()


def as_photo(row: dict[str, Any]) -> Photo:
    """Return the photo of a row."""
    described = Described(
        bytes.fromhex(row["digest"]), row["width"], row["height"], row["date"], read(row["camera"]), row["look"]
    )
    return Photo(Found(read(row["path"]), row["bytes"], 0), 0, described, tuple(json.loads(row["captions"])))


def read(text: str) -> str:
    """Return what `written` was given."""
    return os.fsdecode(unquote_to_bytes(text))


def expression_of(filters: Filters, cameras: Sequence[str]) -> str:
    """Return the expression of filters, "" where all photos pass; `cameras` are all there are."""
    filters.check()
    parts = []
    if filters.folder is not None and below(filters.folder):
        start = written(below(filters.folder))
        after = start[:-1] + chr(ord("/") + 1)  # the first text that no longer begins so
        parts.append(f"path >= {quoted(start)} and path < {quoted(after)}")
    if filters.megapixels is not None:
        parts.append(f"pixels >= {ceil(filters.megapixels * 1e6)}")
    if filters.orientation is not None:
        parts.append(f"orientation == {quoted(filters.orientation)}")
    if filters.camera is not None:
        chosen = [quoted(written(name)[:2000]) for name in cameras if filters.camera.lower() in name.lower()]
        parts.append(f"camera in [{', '.join(chosen)}]" if chosen else "width < 0")
    low, high = filters.period()
    parts += [f"date >= {low!r}"] if isfinite(low) else []
    parts += [f"date < {high!r}"] if isfinite(high) else []
    return " and ".join(f"({part})" for part in parts)
