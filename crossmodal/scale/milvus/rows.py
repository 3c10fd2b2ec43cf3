"""A photo's record as a row of Milvus, and back; filters as expressions."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from hashlib import blake2b
from math import isfinite
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from crossmodal.data.limits import READ_TEXT, WRITTEN
from crossmodal.scale.milvus.connection import TEXT, quoted
from crossmodal.search.filters import Comparison, Condition, Filters
from crossmodal.search.record import FIELDS, Described, Found, Photo

# The column of each field of a record: the width of a text, by default the largest, or int or float.
# Of what is written, a character is at most four bytes, and a byte three characters.
WIDTHS = {
    "orientation": 16,
    "camera": 2000,
    **{name: 12 * most for name, most in {**WRITTEN, "text": READ_TEXT}.items()},
}
COLUMNS: dict[str, int | type] = {
    "id": 64, "stamp": 32, "digest": 64, "captions": TEXT,
    **{name: WIDTHS.get(name, TEXT) if field.type is str else field.type for name, field in FIELDS.items()},
}  # fmt: skip
READ = [name for name in COLUMNS if name not in ("id", "stamp")]
PLAIN = "/ ._-,()+'&@"  # characters that stay as they are


def written(text: str) -> str:
    """Return a path or name in ASCII without quotes, so that bytes of any kind fit; what begins alike still does."""
    return quote_from_bytes(os.fsencode(text), safe=PLAIN)


def as_row(photo: Photo, key: str) -> dict[str, Any]:
    """Return a photo's row without its vector."""
    captions = list(photo.captions)
    while len(json.dumps(captions)) > TEXT:
        captions.pop()
    cells = {name: _cell(name, field.of(photo)) for name, field in FIELDS.items()}
    row = {"digest": photo.described.digest.hex(), "captions": json.dumps(captions), **cells}
    return {"id": key, "stamp": stamp_of(row), **row}


def _cell(name: str, value: Any) -> Any:
    return written(value)[: WIDTHS.get(name, TEXT)] if isinstance(value, str) else value


def stamp_of(row: dict[str, Any]) -> str:
    """Return what changes when a row does."""
    return blake2b(json.dumps(row, sort_keys=True).encode(), digest_size=12).hexdigest()


def as_photo(row: dict[str, Any]) -> Photo:
    """Return the photo of a row."""
    values: dict[str, Any] = {
        name: read(row[name]) if field.type is str else row[name] for name, field in FIELDS.items()
    }
    values["text"] = values["text"] or None
    known = {one.name: values[one.name] for one in fields(Described) if one.name in values}
    described = Described(digest=bytes.fromhex(row["digest"]), taken=values["date"], **known)
    return Photo(Found(values["path"], values["bytes"], 0), 0, described, tuple(json.loads(row["captions"])))


def read(text: str) -> str:
    """Return what `written` was given."""
    return os.fsdecode(unquote_to_bytes(text))


def expression_of(filters: Filters, values: Mapping[str, Sequence[str]]) -> str:
    """Return the expression of filters, "" where all photos pass; `values` are all that there are of some fields."""
    return " and ".join(f"({part})" for one in filters.conditions() if (part := _part(one, values)))


def _part(condition: Condition, values: Mapping[str, Sequence[str]]) -> str:
    parts = [_compared(condition.field, condition.comparison, value, values) for value in condition.values]
    return "" if "" in parts else " or ".join(f"({part})" for part in parts)


def _compared(name: str, comparison: Comparison, value: Any, values: Mapping[str, Sequence[str]]) -> str:
    """Return the expression of a comparison, "" where it always holds."""
    if comparison == "begins":
        if not value:
            return ""
        start = written(value)
        after = start[:-1] + chr(ord(start[-1]) + 1)  # the first text that no longer begins so
        return f"{name} >= {quoted(start)} and {name} < {quoted(after)}"
    if comparison == "contains":
        chosen = [quoted(_cell(name, one)) for one in values.get(name, ()) if value.casefold() in one.casefold()]
        return f"{name} in [{', '.join(chosen)}]" if chosen else "bytes < 0"
    if isinstance(value, float) and not isfinite(value):
        return "" if (value < 0) == (comparison == ">=") else "bytes < 0"
    return f"{name} {comparison} {quoted(_cell(name, value)) if isinstance(value, str) else repr(value)}"
