"""Captions in JSON: a list, an object, COCO's and Karpathy's files, JSON lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossmodal.data.captions.rows import CAPTION_KEYS, IMAGE_KEYS, BadRow, Row, rows_of_entry
from crossmodal.errors import CaptionsError

PLURALS = (*CAPTION_KEYS, "captions", "sentences")
SAMPLE = 20  # lines that are looked at to tell JSON lines


class _Entries(dict[str, Any]):
    """A JSON object that also has the entries that a later one of the same name replaces."""

    def __init__(self, entries: list[tuple[str, Any]]) -> None:
        super().__init__(entries)
        self.all = entries


def read_json(path: Path, text: str, known: str) -> tuple[str, Iterator[Row]]:
    """Return a note that names the format, and the rows; raises CaptionsError for JSON of another form."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise CaptionsError(f"{path} is JSON that is nested too deeply to hold captions.") from None
    except ValueError as error:
        sample = text.strip().split("\n", SAMPLE)[:SAMPLE]
        if len(sample) > 1 and sum(map(_is_object, sample)) * 2 >= len(sample):
            return "Read as JSON lines.", _lines(text.split("\n"))
        if isinstance(error, json.JSONDecodeError):
            raise CaptionsError(f"{path} looks like JSON but is not whole: {error}.") from error
        # Python reads no number of so many digits.
        raise CaptionsError(f"{path} is JSON with a number of thousands of digits; take it out.") from None
    if isinstance(content, list):
        return "Read as a JSON list.", entries(content)
    images = content.get("images")
    if isinstance(images, list) and isinstance(content.get("annotations"), list):
        return _coco(images, content["annotations"])
    if isinstance(images, list) and any(isinstance(image, dict) and "sentences" in image for image in images[:20]):
        return "Read as Karpathy's split file.", _karpathy(images)
    entry = _plain(content)
    if _first(entry, IMAGE_KEYS) is not None and _first(entry, PLURALS) is not None:
        return "Read as JSON lines.", entries([content])
    if content and all(isinstance(value, (str, list)) for value in content.values()):
        return "Read as a JSON object of captions by image name.", _by_name(
            json.loads(text, object_pairs_hook=_Entries)
        )
    raise CaptionsError(
        f"{path} is JSON with the keys {', '.join(map(str, list(content)[:6])) or '(none)'}; it should be one of: {known}."
    )


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _first(entry: Any, keys: tuple[str, ...]) -> Any:
    """Return the first value that `entry` has for one of `keys`, or None."""
    return next((entry[key] for key in keys if entry.get(key) is not None), None) if isinstance(entry, dict) else None


def _image(entry: Any) -> str | None:
    name = _first(entry, IMAGE_KEYS)
    return name if isinstance(name, str) else None


def _lines(lines: list[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                yield BadRow(f"line {number}", "", "not a JSON object")
                continue
            yield from _entry(entry, f"line {number}")


def entries(listed: list[Any]) -> Iterator[Row]:
    """Yield the rows of objects with an image, its captions and, where there is one, its split."""
    for number, entry in enumerate(listed, start=1):
        yield from _entry(entry, f"entry {number}")


def _plain(entry: Any) -> Any:
    """Return an object with its keys in small letters, as the names of columns are read."""
    return {key.strip().lower(): value for key, value in entry.items()} if isinstance(entry, dict) else entry


def _entry(entry: Any, where: str) -> Iterator[Row]:
    entry = _plain(entry)
    split = entry.get("split") if isinstance(entry, dict) else None
    yield from rows_of_entry(_image(entry), _first(entry, PLURALS), where, split)


def _by_name(content: _Entries) -> Iterator[Row]:
    for number, (name, captions) in enumerate(content.all, start=1):
        yield from rows_of_entry(name, captions, f"entry {number}")


def _coco(images: list[Any], annotations: list[Any]) -> tuple[str, Iterator[Row]]:
    names: dict[str, str | None] = {}
    shared: set[str] = set()
    splits: dict[str, Any] = {}
    for image in images:
        key = _id(image.get("id")) if isinstance(image, dict) else ""
        if key and names.setdefault(key, _image(image)) != _image(image):
            shared.add(key)
        elif key:
            splits[key] = image.get("split")
    annotated = {_id(annotation.get("image_id")) for annotation in annotations if isinstance(annotation, dict)}
    without = [name or f"the one with the id {key}" for key, name in names.items() if key not in annotated]
    note = f" Images without a caption: {len(without):,}, such as {without[0]}." if without else ""
    return f"Read as COCO captions.{note}", _annotations(annotations, names, shared, splits)


def _annotations(
    annotations: list[Any], names: dict[str, str | None], shared: set[str], splits: dict[str, Any]
) -> Iterator[Row]:
    for number, annotation in enumerate(annotations, start=1):
        where = f"annotation {number}"
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        key = _id(image_id)
        name = names.get(key)
        if key in shared:
            yield BadRow(where, "", f"several images have the id {str(image_id)[:40]}")
        elif name is None:
            yield BadRow(where, "", f"no image with the id {str(image_id)[:40]}")
        else:
            own = annotation.get("split")
            yield from rows_of_entry(name, annotation.get("caption"), where, splits.get(key) if own is None else own)


def _id(value: Any) -> str:
    """Return an id as text, as which it stands in one list or the other; "" for none, and 7 for 7.0, which tables make of it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value)


def _karpathy(images: list[Any]) -> Iterator[Row]:
    for number, image in enumerate(images, start=1):
        name = _first(image, ("filename", "file_name"))
        if not isinstance(name, str):
            yield BadRow(f"image {number}", "", "no filename")
            continue
        folder = image.get("filepath")  # COCO's file keeps train2014/ and val2014/ apart
        name = f"{folder}/{name}" if isinstance(folder, str) and folder else name
        sentences = image.get("sentences")
        if not isinstance(sentences, list) or not sentences:
            yield from rows_of_entry(name, [], f"image {number}", image.get("split"))
            continue
        for sentence_number, sentence in enumerate(sentences, start=1):
            where = f"image {number}, sentence {sentence_number}"
            own = sentence.get("split") if isinstance(sentence, dict) else None
            yield from rows_of_entry(name, [sentence], where, image.get("split") if own is None else own)
