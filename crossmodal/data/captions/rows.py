"""What every reader of captions gives: rows, and bad rows with a reason."""

import ast
import io
import json
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from crossmodal.data.names import is_photo
from crossmodal.errors import printable

SPLIT_NAMES = {
    "train": "train", "training": "train", "restval": "train", "val": "val", "valid": "val", "validation": "val",
    "dev": "val", "test": "test", "testing": "test",
}  # fmt: skip
# The names that columns and keys have, in order of preference.
IMAGE_KEYS = ("image", "image_name", "file_name", "filename", "filepath", "image_path", "path", "photo")
CAPTION_KEYS = ("caption", "comment", "raw", "sentence", "text", "description", "title")
CAPTION_NAME = re.compile(rf"({'|'.join(CAPTION_KEYS)})s?([ _-]?\d+)?")
EMPTY = re.compile(r"\s*(\[[\s,'\"]*\])?\s*")  # no text, or a list without any
SAMPLE = 20  # rows that are looked at to tell what a file's columns are
LONGEST_SHOWN = 80  # characters of an image's name in a message


@dataclass(frozen=True)
class CaptionRow:
    """One caption of one image; `where` is its line or entry in the file, for messages."""

    image: str
    caption: str
    where: str
    split: str | None = None


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, and why."""

    where: str
    image: str
    reason: str

    def __str__(self) -> str:
        name = f" ({self.image[:LONGEST_SHOWN]})" if self.image else ""
        return printable(f"{self.where}{name}: {self.reason}")


Row: TypeAlias = CaptionRow | BadRow


@dataclass(frozen=True)
class CaptionFile:
    """The contents of a caption file: usable rows in file order, the others with a reason, and notes for the user.

    `notes` are sentences about what was decided: the format, columns, encoding, repeated captions.
    """

    path: Path
    rows: tuple[CaptionRow, ...]
    bad: tuple[BadRow, ...]
    notes: tuple[str, ...] = ()


class Repeating(dict[str, Any]):
    """A JSON object in which a key stands more than once; `all` has every entry, the dictionary the last of a key."""

    def __init__(self, entries: list[tuple[str, Any]]) -> None:
        super().__init__(entries)
        self.all = entries


def pairs_of(entry: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return the keys and values of an object, all of those whose key stands more than once."""
    return entry.all if isinstance(entry, Repeating) else entry.items()


@lru_cache(maxsize=1024)
def plain_name(name: str) -> str:
    """Return the name of a column or key as it is compared: "File name" is file_name."""
    return name.strip().lower().replace(" ", "_")


@lru_cache(maxsize=1024)
def caption_kind(name: str) -> str:
    """Return which of CAPTION_KEYS a plain name is, be it in the plural or numbered; "" where it is none."""
    match = CAPTION_NAME.fullmatch(name)
    return match[1] if match else ""


def is_empty(captions: Any) -> bool:
    """Say whether there is no caption at all: nothing, NaN, blank text, or a list of such."""
    if isinstance(captions, str):
        return EMPTY.fullmatch(captions) is not None
    if isinstance(captions, list):
        return all(is_empty(caption) for caption in captions)
    return captions is None or captions != captions


def are_splits(values: Iterable[Any]) -> bool:
    """Say whether values, empty ones aside, are all names of splits."""
    words = [str(value).strip().lower() for value in values if value is not None]
    return any(words) and all(word in SPLIT_NAMES for word in words if word)


def rows_of_entry(image: str | None, captions: Any, where: str, split: Any = None) -> Iterator[Row]:
    """Yield a row for each caption of an entry.

    `captions` is text, a list of texts or of {"raw": text}, or text that holds a JSON or Python list. `split` is
    the file's own word for it, or None or empty where there is none.
    """
    image = without_number(image.strip()) if image else ""
    given = "" if split is None else str(split).strip()
    name = SPLIT_NAMES.get(given.lower())
    if given and name is None:
        yield BadRow(where, image, f"the split {str(split)[:40]!r} is none of train, val and test")
        return
    texts = _texts(captions)
    if not image:
        yield BadRow(where, "", "no image name")
    elif not texts:
        yield BadRow(where, image, "no caption")
    else:
        yield from (CaptionRow(image, text, where, name) for text in texts)


def without_number(name: str) -> str:
    """Return the name of a photo without the number of a caption, as tables made of Flickr's token file have it: photo.jpg#0."""
    bare = re.sub(r"#\d+$", "", name)
    return bare if is_photo(bare) else name


def _texts(captions: Any) -> list[str]:
    if isinstance(captions, str):
        listed = _list_in(captions)
        return [captions] if listed is None else listed
    if not isinstance(captions, list):
        return []
    texts: list[Any] = []
    for part in captions:
        texts += _raw(part) if isinstance(part, dict) else [part]
    strings = [text for text in texts if isinstance(text, str)]
    return strings if len(strings) == len(texts) else []


def _raw(sentence: dict[str, Any]) -> list[Any]:
    return [value for key, value in pairs_of(sentence) if key == "raw"] or [None]


def _list_in(cell: str) -> list[str] | None:
    """Return the texts of a JSON or Python list in a cell; None for other text, [] for a list that is empty or broken."""
    if cell.strip() and EMPTY.fullmatch(cell):
        return []
    if not re.match(r"\s*\[\s*['\"]", cell):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            with warnings.catch_warnings(action="ignore"):  # of backslashes, which Python may read otherwise one day
                values = parse(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        # Python joins strings without a comma between them, as in NumPy's lists: those are not read.
        if isinstance(values, list) and all(isinstance(value, str) for value in values):
            return values if parse is json.loads or _strings_in(cell) == len(values) else []
    return []


def _strings_in(code: str) -> int:
    """Return how many strings stand in a Python literal."""
    tokens = tokenize.generate_tokens(io.StringIO(code.strip()).readline)
    return sum(token.type == tokenize.STRING for token in tokens)
