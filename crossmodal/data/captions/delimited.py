"""Captions in lines: CSV and its kin with any delimiter and columns, and the two formats of Flickr's own files."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from crossmodal.data.captions.layout import (
    DELIMITERS,
    LONGEST_FIELD,
    Find,
    Layout,
    fields_of,
    first_layout,
    mostly,
    names_a_photo,
    split_columns,
    with_header,
    without_header,
)
from crossmodal.data.captions.rows import SAMPLE, BadRow, CaptionRow, Row, is_empty, rows_of_entry
from crossmodal.errors import CaptionsError

TOKEN_LINE = re.compile(r"(?P<image>[^\t]+?)#\d+\t(?P<caption>.*)")
RESULTS_HEADER = ["image_name", "comment_number", "comment"]
# Flickr30k's own file lacks the second bar in one row, hence the optional one.
RESULTS_LINE = re.compile(r"(?P<image>[^|]+)\|\s*\d+\s*(?:\||\s)\s*(?P<caption>.*)")
LONGEST_RECORD = 20  # lines that a quoted caption may run over
NOT_CLOSED = "a quotation mark is opened and not closed"
TOO_MANY_LINES = f"its quoted text runs over more than {LONGEST_RECORD} lines, or a quotation mark is not closed"


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
    layout = None if columns == RESULTS_HEADER else first_layout(with_header, sample[0], delimiters)
    if layout is not None:  # its captions may look like anything
        if not layout.splits:
            records = islice(_records(lines, first + 1, layout, find), SAMPLE)
            fields = [record for _, record in records if not isinstance(record, BadRow)]
            layout = replace(layout, splits=split_columns(layout, fields))
        return str(layout), _rows(lines, first + 1, layout, find)
    if columns == RESULTS_HEADER or sum(map(bool, map(RESULTS_LINE.fullmatch, sample))) * 2 > len(sample):
        start = first + (columns == RESULTS_HEADER)
        return "Read as Flickr30k's results.csv.", _matches(
            lines, start, RESULTS_LINE, "not image_name| comment_number| comment"
        )
    # A caption that ends with #1 begins as a line of the token file does, so names without a suffix are tried as columns first.
    tokens = [found["image"] if (found := TOKEN_LINE.fullmatch(line)) else "" for line in sample]
    layout = first_layout(partial(without_header, find), sample, delimiters)
    if mostly(names_a_photo, tokens) or (layout is None and mostly(bool, tokens)):
        return "Read as Flickr's token file.", _matches(lines, first, TOKEN_LINE, "not name.jpg#0<TAB>caption")
    if layout is not None:
        return str(layout), _rows(lines, first, layout, find)
    raise CaptionsError(
        f"{path} has no columns for images and captions that can be told apart ({sample[0][:60]!r}); name them in a first line, "
        f"such as 'image' and 'caption'. It should be one of: {known}."
    )


def _rows(lines: list[str], start: int, layout: Layout, find: Find) -> Iterator[Row]:
    for where, fields in _records(lines, start, layout, find):
        if isinstance(fields, BadRow):
            yield fields
            continue
        split = fields[layout.split] if layout.split is not None else None
        cells = [fields[column] for column in layout.captions]
        for captions in [cell for cell in cells if not is_empty(cell)] or cells[:1]:
            yield from rows_of_entry(fields[layout.image], captions, where, split)


def _records(lines: list[str], start: int, layout: Layout, find: Find) -> Iterator[tuple[str, list[str] | BadRow]]:
    """Yield where each record begins, and its fields, as many as there are columns."""
    while start < len(lines):
        record, end, wrong = _record(lines, start, layout, find)
        where, first, start = f"line {start + 1}", lines[start], end
        if not first.strip():
            continue
        if wrong:
            name = (fields_of(first, layout.delimiter) or [""])[0][:80] if layout.image == 0 else ""
            yield where, BadRow(where, name, wrong)
            continue
        fields = fields_of(record, layout.delimiter)
        if not fields:
            yield where, BadRow(where, record.split(layout.delimiter)[0][:80], "the line is too long")
            continue
        # Quotation marks within quoted text that are not doubled.
        if '"' in record and not fields_of(record, layout.delimiter, strict=True):
            fields = list(map(_unquoted, _rejoined(record.split(layout.delimiter), layout, find)))
        fields = _rejoined(fields, layout, find)
        if len(fields) != len(layout.names):
            yield where, BadRow(where, fields[0][:80], _wrong_number(fields, layout))
            continue
        yield where, fields


def _wrong_number(fields: list[str], layout: Layout) -> str:
    return f"{len(fields)} columns where there should be {len(layout.names)}"


def _record(lines: list[str], start: int, layout: Layout, find: Find) -> tuple[str, int, str]:
    """Return the record that begins at a line, the line after it, and why it is refused, "" where it is not.

    A quoted caption may run over several lines. They are joined only when strict CSV parses the whole with the
    right number of columns and no two of its lines look like rows of their own, so that one stray quotation mark costs one row
    and gives no caption to another image.
    """
    record = lines[start].rstrip("\r")
    for end in range(start + 1, min(len(lines), start + LONGEST_RECORD) + 1):
        if not _quote_is_open(record, layout.delimiter):
            wrong = _wrong_with(record, layout, find) if end > start + 1 else ""
            return record, start + 1 if wrong else end, wrong
        if end < len(lines):
            record += "\n" + lines[end].rstrip("\r")
    return record, start + 1, NOT_CLOSED if start + LONGEST_RECORD >= len(lines) else TOO_MANY_LINES


def _wrong_with(record: str, layout: Layout, find: Find) -> str:
    """Return why a record of several lines is refused, "" where it is not."""
    if len(record) > LONGEST_FIELD:
        return "its quoted text is too long"
    fields = fields_of(record, layout.delimiter, strict=True)
    if not fields:  # a later mark stands where none can close the text
        return NOT_CLOSED
    if sum(_is_a_row(line, layout, find) for line in record.split("\n")) > 1:
        return "its quoted text runs over a line that looks like a row of its own"
    return _wrong_number(fields, layout) if len(fields) != len(layout.names) else ""


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
    return any(names_a_photo(image) or find(image.strip(' "')) is not None for image in images)


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
