"""Tells the columns of a table in text: which have the names of images, the captions and the splits."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from crossmodal.data.captions.entries import SPLIT, said_of_splits
from crossmodal.data.captions.rows import CAPTION_KEYS, IMAGE_KEYS, are_splits, caption_kind, plain_name, without_number
from crossmodal.data.names import is_photo

T = TypeVar("T")
Find = Callable[[str], str | None]  # gives the file that a name of an image means, None where there is none
DELIMITERS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
LONGEST_FIELD = 131_072  # characters; csv has the same limit, which other packages lift for the whole process


@dataclass(frozen=True)
class Layout:
    """How a file with delimiters is read; columns are counted from 0."""

    delimiter: str
    names: tuple[str, ...]  # of the columns; empty names where there is no header
    image: int
    captions: tuple[int, ...]
    splits: tuple[int, ...] = ()  # the columns that may have the splits
    has_header: bool = True

    @property
    def split(self) -> int | None:
        """The column of splits; None where there is none, or more than one."""
        return self.splits[0] if len(self.splits) == 1 else None

    def __str__(self) -> str:
        if not self.has_header:
            captions = " and ".join(str(column + 1) for column in self.captions)
            columns = f"without a header, image names in column {self.image + 1} and captions in {captions}"
            splits = said_of_splits([str(column + 1) for column in self.splits], "in")
        else:
            columns = f"image names from the column {self.names[self.image]!r}, captions from " + " and ".join(
                repr(self.names[column]) for column in self.captions
            )
            splits = said_of_splits([repr(self.names[column]) for column in self.splits], "from")
        return f"Read as columns separated by {DELIMITERS[self.delimiter]}: {', '.join([columns, *splits])}."


def first_layout(tell: Callable[[T, str], Layout | None], given: T, delimiters: Sequence[str]) -> Layout | None:
    """Return what `tell` makes of a header or of some rows by the first delimiter that fits; None where none does."""
    layouts = (tell(given, delimiter) for delimiter in delimiters)
    return next((layout for layout in layouts if layout), None)


def with_header(line: str, delimiter: str) -> Layout | None:
    """Return the layout that a header names, None for a line that is no header."""
    names = [plain_name(name) for name in fields_of(line, delimiter)]
    image = next((names.index(key) for key in IMAGE_KEYS if key in names), None)
    kinds = [caption_kind(name) for name in names]
    kind = next((key for key in CAPTION_KEYS if key in kinds), None)
    if image is None or kind is None:
        return None
    captions = tuple(column for column, own in enumerate(kinds) if own == kind)
    splits = tuple(column for column, name in enumerate(names) if name == SPLIT)
    return Layout(delimiter, tuple(names), image, captions, splits)


def split_columns(layout: Layout, rows: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Return the columns, other than those of images and captions, that have names of splits in these rows."""
    others = [
        column
        for column, name in enumerate(layout.names)
        if not (column in (layout.image, *layout.captions) or name in IMAGE_KEYS or caption_kind(name))
    ]
    return tuple(column for column in others if are_splits(row[column] for row in rows))


def without_header(find: Find, sample: Sequence[str], delimiter: str) -> Layout | None:
    """Return the layout that some lines have by what their cells look like, None where it cannot be told."""
    rows = [fields for line in sample if len(fields := fields_of(line, delimiter)) > 1]
    width = min(map(len, rows), default=0)
    columns = [[row[column].strip() for row in rows] for column in range(width)]
    named = [column for column, cells in enumerate(columns) if mostly(names_a_photo, cells)]
    if len(named) != 1:  # names without a suffix, or captions that end with one
        named = [column for column, cells in enumerate(columns) if mostly(find, cells)]
    # Captions are words; numbers and other ids are not.
    words = [
        column
        for column, cells in enumerate(columns)
        if column not in named and sum(bool(re.search(r"\w\s+\w", cell)) for cell in cells) * 2 >= len(cells)
    ]
    if len(named) != 1 or not words:
        return None
    beginnings = [row[column] for row in rows for column in words[1:]]
    if mostly(lambda cell: cell.startswith(" "), beginnings) and named[0] < words[0]:  # parts of one sentence
        words, width, columns = words[:1], words[0] + 1, columns[: words[0]]
    splits = tuple(column for column, cells in enumerate(columns) if column not in named and are_splits(cells))
    return Layout(delimiter, ("",) * width, named[0], tuple(words), splits, has_header=False)


def mostly(holds: Callable[[str], object], cells: Sequence[str]) -> bool:
    """Say whether something holds for more than half of some cells."""
    return sum(bool(holds(cell)) for cell in cells) * 2 > len(cells)


def fields_of(record: str, delimiter: str, strict: bool = False) -> list[str]:
    """Return the fields of one record, or none where it cannot be parsed or one of them is too long."""
    try:
        fields = next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter, strict=strict), [])
    except csv.Error:
        return []
    return [] if any(len(field) > LONGEST_FIELD for field in fields) else fields


def names_a_photo(cell: str) -> bool:
    """Say whether a cell is the name of a photo, with the number of a caption or without."""
    return is_photo(without_number(cell.strip(' "')))
