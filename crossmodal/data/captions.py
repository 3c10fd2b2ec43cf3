"""Readers of caption files, told apart by what is inside the file."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossmodal.errors import CaptionsError

KNOWN_FORMATS = (
    "CSV with the header image,caption; Flickr30k results.csv; the Flickr token file; "
    "Karpathy split JSON; COCO captions JSON; a JSON list of {file_name, caption}"
)
PHOTO_NAME = re.compile(r"\.(jpe?g|png|gif|webp|bmp|tiff?)\s*[,|]", re.IGNORECASE)
TOKEN_LINE = re.compile(r"^(?P<image>[^\t]+?)#(?P<number>\d+)\t(?P<caption>.*)$")
# Flickr30k's own file lacks the second bar in one row, hence the optional one.
RESULTS_LINE = re.compile(r"^(?P<image>[^|]+?)\s*\|\s*(?P<number>\d+)\s*(?:\||\s)\s*(?P<caption>.*)$")
SPLIT_NAMES = {"train": "train", "restval": "train", "val": "val", "dev": "val", "test": "test"}


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
        name = f" ({self.image})" if self.image else ""
        return f"{self.where}{name}: {self.reason}"


@dataclass(frozen=True)
class CaptionFile:
    """What a caption file says: usable rows in file order, and the others with a reason."""

    path: Path
    kind: str
    rows: tuple[CaptionRow, ...]
    bad: tuple[BadRow, ...]


def read_captions(path: Path) -> CaptionFile:
    """Read any of KNOWN_FORMATS.

    Raises CaptionsError when the file is absent, is not UTF-8 text, or is in none of the formats.
    """
    path = Path(path)
    kind, rows = _rows_of(path)
    good, bad = _sort_out(rows)
    return CaptionFile(path, kind, tuple(good), tuple(bad))


def captions_by_number(path: Path) -> dict[str, list[str]]:
    """Return all captions of each image in the order of the file, repeated ones too: a list's place is `#number`.

    Raises CaptionsError as `read_captions` does.
    """
    found: dict[str, list[str]] = {}
    for row in _rows_of(Path(path))[1]:
        found.setdefault(row.image, []).append(" ".join(row.caption.split()) if isinstance(row, CaptionRow) else "")
    return found


def _rows_of(path: Path) -> tuple[str, Iterator[CaptionRow | BadRow]]:
    text = _read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        return _read_json(path, text)
    return _read_lines(path, text.split("\n"))  # splitlines would also cut a caption at U+2028 and its like


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise CaptionsError(f"{path} is a folder; give the caption file itself with --captions.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CaptionsError(f"The caption file {path} is not there; give its place with --captions.") from None
    except UnicodeDecodeError as error:
        raise CaptionsError(
            f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8 and try again."
        ) from error
    except OSError as error:
        raise CaptionsError(f"{path} cannot be read ({error.strerror}).") from error


def _sort_out(rows: Iterable[CaptionRow | BadRow]) -> tuple[list[CaptionRow], list[BadRow]]:
    """Normalise white space; set aside empty captions and rows that were there before."""
    good: list[CaptionRow] = []
    bad: list[BadRow] = []
    seen: dict[tuple[str, str], str] = {}
    for row in rows:
        if isinstance(row, BadRow):
            bad.append(row)
            continue
        caption = " ".join(row.caption.split())
        if not row.image:
            bad.append(BadRow(row.where, "", "no image name"))
        elif not caption:
            bad.append(BadRow(row.where, row.image, "the caption is empty"))
        elif (row.image, caption) in seen:
            bad.append(BadRow(row.where, row.image, f"the same row as {seen[row.image, caption]}"))
        else:
            seen[row.image, caption] = row.where
            good.append(CaptionRow(row.image, caption, row.where, row.split))
    return good, bad


def _read_lines(path: Path, lines: list[str]) -> tuple[str, Iterator[CaptionRow | BadRow]]:
    filled = [line for line in lines[:20] if line.strip()]
    if not filled:
        raise CaptionsError(f"{path} is empty; it should be one of: {KNOWN_FORMATS}.")
    header = [column.strip().lower() for column in filled[0].split("|")]
    if len(header) > 1 and (header[0] == "image_name" or RESULTS_LINE.match(filled[0])):
        return "Flickr30k results.csv", _read_results(lines, has_header=header[0] == "image_name")
    if any(TOKEN_LINE.match(line) for line in filled):
        return "Flickr token file", _read_tokens(lines)
    columns = [column.strip().lower() for column in next(csv.reader([filled[0]]))]
    missing = [name for name in ("image", "caption") if name not in columns]
    if missing:
        raise CaptionsError(
            f"{path} has no column '{missing[0]}' in its first line ({filled[0][:60]!r}); "
            f"it should be one of: {KNOWN_FORMATS}."
        )
    return "image,caption CSV", _read_csv(lines, columns)


def _read_csv(lines: list[str], columns: list[str]) -> Iterator[CaptionRow | BadRow]:
    image_column, caption_column = columns.index("image"), columns.index("caption")
    start = next(number for number, line in enumerate(lines) if line.strip()) + 1
    while start < len(lines):
        end = _end_of_record(lines, start)
        record = "\n".join(lines[start:end])
        where, start = f"line {start + 1}", end
        if not record.strip():
            continue
        if _quote_is_open(record):
            yield BadRow(where, record.split(",")[0], "a quotation mark is opened and not closed")
            continue
        try:
            fields = next(csv.reader(io.StringIO(record)))
        except csv.Error as error:
            yield BadRow(where, record.split(",")[0][:80], str(error))
            continue
        if len(fields) > len(columns) == caption_column + 1:
            # An unquoted comma inside the caption, which is the last column: nothing is ambiguous.
            fields = [*fields[:caption_column], ",".join(fields[caption_column:])]
        if len(fields) != len(columns):
            yield BadRow(where, fields[0], f"{len(fields)} columns where the header has {len(columns)}")
        else:
            yield CaptionRow(fields[image_column].strip(), fields[caption_column], where)


def _end_of_record(lines: list[str], start: int) -> int:
    """Return the line after the record at `start`; a quoted caption may run over some lines.

    A following line that looks like a row of its own ends the search, so that one stray quotation
    mark costs one row and not the rest of the file.
    """
    end = start + 1
    while _quote_is_open("\n".join(lines[start:end])):
        if end >= min(len(lines), start + 20) or PHOTO_NAME.search(lines[end][:200]):
            return start + 1
        end += 1
    return end


def _quote_is_open(record: str) -> bool:
    """Say whether a quoted field runs past the end; a quotation mark within a plain field is just text."""
    try:
        next(csv.reader(io.StringIO(record), strict=True), None)
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _read_results(lines: list[str], has_header: bool) -> Iterator[CaptionRow | BadRow]:
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (has_header and number == 1):
            continue
        match = RESULTS_LINE.match(line)
        if match is None:
            yield BadRow(f"line {number}", line.split("|")[0].strip(), "not image_name| comment_number| comment")
        else:
            yield CaptionRow(match["image"].strip(), match["caption"], f"line {number}")


def _read_tokens(lines: list[str]) -> Iterator[CaptionRow | BadRow]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = TOKEN_LINE.match(line)
        if match is None:
            yield BadRow(f"line {number}", line.split("#")[0][:80], "not name.jpg#0<TAB>caption")
        else:
            yield CaptionRow(match["image"].strip(), match["caption"], f"line {number}")


def _read_json(path: Path, text: str) -> tuple[str, Iterator[CaptionRow | BadRow]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CaptionsError(f"{path} looks like JSON but is not whole: {error}.") from error
    if isinstance(content, list):
        return "JSON list of {file_name, caption}", _read_list(content)
    images = content.get("images")
    if isinstance(images, list) and isinstance(content.get("annotations"), list):
        return "COCO captions JSON", _read_coco(images, content["annotations"])
    if isinstance(images, list) and any(isinstance(image, dict) and "sentences" in image for image in images[:20]):
        return "Karpathy split JSON", _read_karpathy(images)
    raise CaptionsError(
        f"{path} is JSON with the keys {', '.join(map(str, list(content)[:6])) or '(none)'}; "
        f"it should be one of: {KNOWN_FORMATS}."
    )


def _text(entry: Any, *keys: str) -> str | None:
    """Return the first of `keys` that holds text in `entry`, or None."""
    values = (entry.get(key) for key in keys) if isinstance(entry, dict) else ()
    return next((value for value in values if isinstance(value, str)), None)


def _read_list(entries: list[Any]) -> Iterator[CaptionRow | BadRow]:
    for number, entry in enumerate(entries, start=1):
        image, caption = _text(entry, "file_name", "image"), _text(entry, "caption")
        if image is None or caption is None:
            yield BadRow(f"entry {number}", image or "", "no file_name or no caption")
        else:
            yield CaptionRow(image, caption, f"entry {number}")


def _read_coco(images: list[Any], annotations: list[Any]) -> Iterator[CaptionRow | BadRow]:
    names = {
        image["id"]: _text(image, "file_name")
        for image in images
        if isinstance(image, dict) and isinstance(image.get("id"), (int, str))
    }
    for number, annotation in enumerate(annotations, start=1):
        where = f"annotation {number}"
        caption = _text(annotation, "caption")
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        image = names.get(image_id) if isinstance(image_id, (int, str)) else None
        if image is None or caption is None:
            yield BadRow(where, image or "", f"no image with the id {image_id}" if image is None else "no caption")
        else:
            yield CaptionRow(image, caption, where)


def _read_karpathy(images: list[Any]) -> Iterator[CaptionRow | BadRow]:
    for number, image in enumerate(images, start=1):
        name = _text(image, "filename", "file_name")
        if name is None:
            yield BadRow(f"image {number}", "", "no filename")
            continue
        folder = _text(image, "filepath")  # COCO's file keeps train2014/ and val2014/ apart
        split = SPLIT_NAMES.get(str(image.get("split")))
        sentences = image.get("sentences")
        for sentence_number, sentence in enumerate(sentences if isinstance(sentences, list) else [], start=1):
            where = f"image {number}, sentence {sentence_number}"
            caption = _text(sentence, "raw")
            if caption is None:
                yield BadRow(where, name, "no raw sentence")
            else:
                yield CaptionRow(f"{folder}/{name}" if folder else name, caption, where, split)
