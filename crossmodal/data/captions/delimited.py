"""Captions in lines: CSV and its kin with any delimiter and columns, and the two formats of Flickr's own files."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from crossmodal.data.captions.rows import (
    CAPTION_KEYS,
    IMAGE_KEYS,
    SPLIT_NAMES,
    BadRow,
    CaptionRow,
    Row,
    rows_of_entry,
    without_number,
)
from crossmodal.data.names import is_photo
from crossmodal.errors import CaptionsError

T = TypeVar("T")
Find = Callable[[str], str | None]  # gives the file that a name of an image means, None where there is none
DELIMITERS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
CAPTION_COLUMN = re.compile(rf"({'|'.join(CAPTION_KEYS)})s?([ _-]?\d+)?")
TOKEN_LINE = re.compile(r"(?P<image>[^\t]+?)#\d+\t(?P<caption>.*)")
RESULTS_HEADER = ["image_name", "comment_number", "comment"]
# Flickr30k's own file lacks the second bar in one row, hence the optional one.
RESULTS_LINE = re.compile(r"(?P<image>[^|]+)\|\s*\d+\s*(?:\||\s)\s*(?P<caption>.*)")
SAMPLE = 20  # lines that are looked at to tell the format
LONGEST_FIELD = 131_072  # characters; csv has the same limit, which other packages lift for the whole process
LONGEST_RECORD = 20  # lines that a quoted caption may run over


@dataclass(frozen=True)
class Layout:
    """How a file with delimiters is read; columns are counted from 0."""

    delimiter: str
    names: tuple[str, ...]  # of the columns; empty names where there is no header
    image: int
    captions: tuple[int, ...]
    split: int | None = None
    has_header: bool = True

    def __str__(self) -> str:
        if not self.has_header:
            captions = " and ".join(str(column + 1) for column in self.captions)
            columns = f"without a header, image names in column {self.image + 1} and captions in {captions}"
            columns += f", splits in {self.split + 1}" if self.split is not None else ""
        else:
            columns = f"image names from the column {self.names[self.image]!r}, captions from " + " and ".join(
                repr(self.names[column]) for column in self.captions
            )
            columns += ", splits from 'split'" if self.split is not None else ""
        return f"Read as columns separated by {DELIMITERS[self.delimiter]}: {columns}."


def read_lines(path: Path, lines: list[str], known: str, find: Find) -> tuple[str, Iterator[Row]]:
    """Return a note that names the format, and the rows; raises CaptionsError for text of another form.

    Where there is no header, `find` helps to tell the names of images from captions.
    """
    first = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    told = (
        re.fullmatch(r'"?sep=([\t;|,])"?\s*', lines[first], re.I) if first < len(lines) else None
    )  # Excel's own first line
    first += told is not None
    sample = [line.rstrip("\r") for line in lines[first:] if line.strip()][:SAMPLE]
    if not sample:
        raise CaptionsError(f"{path} is empty; it should be one of: {known}.")
    delimiters = [told[1]] if told else list(DELIMITERS)
    columns = [column.strip().lower() for column in sample[0].split("|")]
    layout = None if columns == RESULTS_HEADER else _first_layout(_with_header, sample[0], delimiters)
    if layout is not None:  # its captions may look like anything
        return str(layout), _records(lines, first + 1, layout, find)
    if columns == RESULTS_HEADER or sum(map(bool, map(RESULTS_LINE.fullmatch, sample))) * 2 > len(sample):
        start = first + (columns == RESULTS_HEADER)
        return "Read as Flickr30k's results.csv.", _matches(
            lines, start, RESULTS_LINE, "not image_name| comment_number| comment"
        )
    # A caption that ends with #1 begins as a line of the token file does, so names without a suffix are tried as columns first.
    tokens = [found["image"] if (found := TOKEN_LINE.fullmatch(line)) else "" for line in sample]
    layout = _first_layout(partial(_without_header, find), sample, delimiters)
    if _mostly(_names_a_photo, tokens) or (layout is None and _mostly(bool, tokens)):
        return "Read as Flickr's token file.", _matches(lines, first, TOKEN_LINE, "not name.jpg#0<TAB>caption")
    if layout is not None:
        return str(layout), _records(lines, first, layout, find)
    raise CaptionsError(
        f"{path} has no columns for images and captions that can be told apart ({sample[0][:60]!r}); name them in a first line, "
        f"such as 'image' and 'caption'. It should be one of: {known}."
    )


def _first_layout(tell: Callable[[T, str], Layout | None], given: T, delimiters: Sequence[str]) -> Layout | None:
    """Return what `tell` makes of a header or of some rows by the first delimiter that fits; None where none does."""
    layouts = (tell(given, delimiter) for delimiter in delimiters)
    return next((layout for layout in layouts if layout), None)


def _with_header(line: str, delimiter: str) -> Layout | None:
    names = [name.strip().lower().replace(" ", "_") for name in _fields(line, delimiter)]
    image = next((names.index(key) for key in IMAGE_KEYS if key in names), None)
    kinds = [match[1] if (match := CAPTION_COLUMN.fullmatch(name)) else "" for name in names]
    kind = next((key for key in CAPTION_KEYS if key in kinds), None)
    if image is None or kind is None:
        return None
    captions = tuple(column for column, own in enumerate(kinds) if own == kind)
    return Layout(delimiter, tuple(names), image, captions, names.index("split") if "split" in names else None)


def _without_header(find: Find, sample: Sequence[str], delimiter: str) -> Layout | None:
    rows = [fields for line in sample if len(fields := _fields(line, delimiter)) > 1]
    width = min(map(len, rows), default=0)
    columns = [[row[column].strip() for row in rows] for column in range(width)]
    named = [column for column, cells in enumerate(columns) if _mostly(_names_a_photo, cells)]
    if len(named) != 1:  # names without a suffix, or captions that end with one
        named = [column for column, cells in enumerate(columns) if _mostly(find, cells)]
    # Captions are words; numbers and other ids are not.
    words = [
        column
        for column, cells in enumerate(columns)
        if column not in named and sum(bool(re.search(r"\w\s+\w", cell)) for cell in cells) * 2 >= len(cells)
    ]
    if len(named) != 1 or not words:
        return None
    beginnings = [row[column] for row in rows for column in words[1:]]
    if _mostly(lambda cell: cell.startswith(" "), beginnings) and named[0] < words[0]:  # parts of one sentence
        words, width, columns = words[:1], words[0] + 1, columns[: words[0]]
    splits = [column for column, cells in enumerate(columns) if all(cell.lower() in SPLIT_NAMES for cell in cells)]
    split = splits[0] if len(splits) == 1 else None
    return Layout(delimiter, ("",) * width, named[0], tuple(words), split, has_header=False)


def _mostly(holds: Callable[[str], object], cells: Sequence[str]) -> bool:
    return sum(bool(holds(cell)) for cell in cells) * 2 > len(cells)


def _fields(record: str, delimiter: str, strict: bool = False) -> list[str]:
    """Return the fields of one record, or none where it cannot be parsed or one of them is too long."""
    try:
        fields = next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter, strict=strict), [])
    except csv.Error:
        return []
    return [] if any(len(field) > LONGEST_FIELD for field in fields) else fields


def _records(lines: list[str], start: int, layout: Layout, find: Find) -> Iterator[Row]:
    while start < len(lines):
        record, end = _record(lines, start, layout, find)
        where, first, start = f"line {start + 1}", lines[start], end
        if not first.strip():
            continue
        if record is None:
            name = (_fields(first, layout.delimiter) or [""])[0][:80] if layout.image == 0 else ""
            yield BadRow(where, name, "a quotation mark is opened and not closed")
            continue
        fields = _fields(record, layout.delimiter)
        if not fields:
            yield BadRow(where, record.split(layout.delimiter)[0][:80], "the line is too long")
            continue
        # Quotation marks within quoted text that are not doubled.
        if '"' in record and not _fields(record, layout.delimiter, strict=True):
            fields = list(map(_unquoted, _rejoined(record.split(layout.delimiter), layout, find)))
        fields = _rejoined(fields, layout, find)
        if len(fields) != len(layout.names):
            yield BadRow(where, fields[0][:80], f"{len(fields)} columns where there should be {len(layout.names)}")
            continue
        split = fields[layout.split] if layout.split is not None else None
        captions = [fields[column] for column in layout.captions if fields[column].strip()]
        for caption in captions or [""]:
            yield from rows_of_entry(fields[layout.image], caption, where, split)


def _record(lines: list[str], start: int, layout: Layout, find: Find) -> tuple[str | None, int]:
    """Return the record that begins at a line, and the line after it; None where its quotation mark never closes.

    A quoted caption may run over several lines. They are joined only when strict CSV parses the whole with the
    right number of columns and no two of its lines look like rows of their own, so that one stray quotation mark costs one row
    and gives no caption to another image.
    """
    record = lines[start].rstrip("\r")
    for end in range(start + 1, min(len(lines), start + LONGEST_RECORD) + 1):
        if not _quote_is_open(record, layout.delimiter):
            whole = end == start + 1 or (
                len(_fields(record, layout.delimiter, strict=True)) == len(layout.names)
                and sum(_is_a_row(line, layout, find) for line in record.split("\n")) <= 1
            )
            return (record, end) if whole else (None, start + 1)
        if end < len(lines):
            record += "\n" + lines[end].rstrip("\r")
    return None, start + 1


def _quote_is_open(record: str, delimiter: str) -> bool:
    """Say whether a quoted field runs past the end; a quotation mark within a plain field is just text."""
    if '"' not in record:
        return False
    try:
        next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter, strict=True), None)
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _is_a_row(line: str, layout: Layout, find: Find) -> bool:
    """Say whether a line of a longer record has an image's name where a row of its own would have it."""
    cells = line.split(layout.delimiter)
    if len(cells) < len(layout.names):
        return False
    # Delimiters in a caption before it move the name to the right, and those in one behind it do not.
    more = len(cells) - len(layout.names) if min(layout.captions) < layout.image else 0
    first = layout.image + more if layout.image == len(layout.names) - 1 else layout.image
    images = cells[first : layout.image + more + 1]
    return any(_names_a_photo(image) or find(image.strip(' "')) is not None for image in images)


def _names_a_photo(cell: str) -> bool:
    return is_photo(without_number(cell.strip(' "')))


def _unquoted(field: str) -> str:
    field = field.strip()
    return field[1:-1] if len(field) > 1 and field[0] == field[-1] == '"' else field


def _rejoined(fields: list[str], layout: Layout, find: Find) -> list[str]:
    """Put a caption with unquoted delimiters together again, where it is the first or the last column; before it a name of a file."""
    fields = _with_whole_name(fields, layout, find)
    more = len(fields) - len(layout.names)
    if more <= 0 or len(layout.captions) > 1:
        return fields
    (caption,) = layout.captions
    if caption not in (0, len(layout.names) - 1):
        return fields
    joined = layout.delimiter.join(fields[caption : caption + more + 1])
    return [*fields[:caption], joined, *fields[caption + more + 1 :]]


def _with_whole_name(fields: list[str], layout: Layout, find: Find) -> list[str]:
    """Put a file's name with unquoted delimiters together again, where it begins the row or ends it."""
    more, last = len(fields) - len(layout.names), len(layout.names) - 1
    for parts in range(more + 1, 1, -1):
        at = {0: 0, last: len(fields) - parts}.get(layout.image)
        if at is not None and find(name := layout.delimiter.join(fields[at : at + parts])) is not None:
            return [*fields[:at], name, *fields[at + parts :]]
    return fields


def _matches(lines: list[str], start: int, pattern: re.Pattern[str], otherwise: str) -> Iterator[Row]:
    for number, line in enumerate(lines[start:], start=start + 1):
        match = pattern.fullmatch(line.rstrip("\r"))
        if match:
            yield CaptionRow(match["image"].strip(), match["caption"], f"line {number}")
        elif line.strip():
            yield BadRow(f"line {number}", re.split(r"[|#]", line)[0].strip()[:80], otherwise)
