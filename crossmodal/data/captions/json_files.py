"""Captions in JSON: a list, an object, COCO's and Karpathy's files, JSON lines."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossmodal.data.captions.entries import (
    captions_in,
    image_in,
    keys_of,
    plain_pairs,
    read_entries,
    repeated,
    rows_of_captions,
)
from crossmodal.data.captions.rows import IMAGE_KEYS, SAMPLE, BadRow, Repeating, Row, pairs_of, rows_of_entry
from crossmodal.errors import CaptionsError


def read_json(path: Path, text: str, known: str) -> tuple[str, Iterator[Row]]:
    """Return a note that names the format, and the rows; raises CaptionsError for JSON of another form."""
    try:
        content = _parsed(text)
    except RecursionError:
        raise CaptionsError(f"{path} is JSON that is nested too deeply to hold captions.") from None
    except ValueError as error:
        sample = text.strip().split("\n", SAMPLE)[:SAMPLE]
        if len(sample) > 1 and sum(map(_is_object, sample)) * 2 >= len(sample):
            return _read_as("JSON lines", _lines(text.split("\n")))
        if isinstance(error, json.JSONDecodeError):
            raise CaptionsError(f"{path} looks like JSON but is not whole: {error}.") from error
        # Python reads no number of so many digits.
        raise CaptionsError(f"{path} is JSON with a number of thousands of digits; take it out.") from None
    if isinstance(content, list):
        return _read_as("a JSON list", [(f"entry {number}", entry) for number, entry in enumerate(content, start=1)])
    if twice := repeated(list(pairs_of(content)), ("images", "annotations")):
        raise CaptionsError(f"{path} is JSON in which {twice}; put both into one.")
    images = content.get("images")
    if isinstance(images, list) and isinstance(content.get("annotations"), list):
        return _coco(images, content["annotations"])
    if isinstance(images, list) and any(isinstance(image, dict) and "sentences" in image for image in images[:20]):
        return "Read as Karpathy's split file.", _karpathy(images)
    pairs = plain_pairs(content)
    if any(dict(pairs).get(key) is not None for key in IMAGE_KEYS) and captions_in(pairs) != [None]:
        return _read_as("JSON lines", [("entry 1", content)])
    if content and all(isinstance(value, (str, list)) for value in content.values()):
        return "Read as a JSON object of captions by image name.", _by_name(content)
    raise CaptionsError(
        f"{path} is JSON with the keys {', '.join(map(str, list(content)[:6])) or '(none)'}; it should be one of: {known}."
    )


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(entries)
    return content if len(content) == len(entries) else Repeating(entries)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _read_as(form: str, entries: list[tuple[str, Any]]) -> tuple[str, Iterator[Row]]:
    said, rows = read_entries(entries)
    return _note(form, said), rows


def _note(form: str, said: list[str]) -> str:
    return f"Read as {form}{': ' if said else ''}{', '.join(said)}."


def _lines(lines: list[str]) -> list[tuple[str, Any]]:
    """Return what stands in each line; a bad row for a line that is no JSON."""
    found: list[tuple[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"line {number}"
            try:
                found.append((where, _parsed(line)))
            except (ValueError, RecursionError):
                found.append((where, BadRow(where, "", "not a JSON object")))
    return found


def _by_name(content: dict[str, Any]) -> Iterator[Row]:
    for number, (name, captions) in enumerate(pairs_of(content), start=1):
        yield from rows_of_entry(name, captions, f"entry {number}")


def _coco(images: list[Any], annotations: list[Any]) -> tuple[str, Iterator[Row]]:
    names: dict[str, str | None] = {}
    refused: dict[str, str] = {}
    splits: dict[str, Any] = {}
    keys, own = keys_of(images), keys_of(annotations)
    for image in images:
        pairs = plain_pairs(image)
        values = dict(pairs)
        key, name = _id(values.get("id")), image_in(values)
        if key and (twice := repeated(pairs, ("id", *IMAGE_KEYS, keys.split))):
            refused[key] = f"in its image {twice}"
        elif key and names.setdefault(key, name) != name:
            refused[key] = f"several images have the id {str(values['id'])[:40]}"
        elif key:
            splits[key] = values.get(keys.split)
    annotated = {_id(dict(plain_pairs(annotation)).get("image_id")) for annotation in annotations}
    without = [name or f"the one with the id {key}" for key, name in names.items() if key not in annotated]
    note = _note("COCO captions", [*own.said(), *replace(keys, captions=()).said()])
    note += f" Images without a caption: {len(without):,}, such as {without[0]}." if without else ""
    return note, _annotations(annotations, names, refused, splits, own.split)


def _annotations(
    annotations: list[Any], names: dict[str, str | None], refused: dict[str, str], splits: dict[str, Any], split: str
) -> Iterator[Row]:
    for number, annotation in enumerate(annotations, start=1):
        where = f"annotation {number}"
        pairs = plain_pairs(annotation)
        values = dict(pairs)
        key = _id(values.get("image_id"))
        name = names.get(key)
        reason = repeated(pairs, ("image_id", split)) or refused.get(key)
        if reason:
            yield BadRow(where, "", reason)
        elif name is None:
            yield BadRow(where, "", f"no image with the id {str(values.get('image_id'))[:40]}")
        else:
            own = values.get(split)
            yield from rows_of_captions(name, pairs, where, splits.get(key) if own is None else own)


def _id(value: Any) -> str:
    """Return an id as text, as which it stands in one list or the other; "" for none, and 7 for 7.0, which tables make of it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value)


def _karpathy(images: list[Any]) -> Iterator[Row]:
    for number, image in enumerate(images, start=1):
        pairs = list(pairs_of(image)) if isinstance(image, dict) else []
        values = dict(pairs)
        name = next((values[key] for key in ("filename", "file_name") if values.get(key) is not None), None)
        if twice := repeated(pairs, ("filename", "file_name", "filepath", "split")):
            yield BadRow(f"image {number}", "", twice)
            continue
        if not isinstance(name, str):
            yield BadRow(f"image {number}", "", "no filename")
            continue
        folder = values.get("filepath")  # COCO's file keeps train2014/ and val2014/ apart
        name = f"{folder}/{name}" if isinstance(folder, str) and folder else name
        lists = [value for key, value in pairs if key == "sentences" and isinstance(value, list)]
        sentences = [sentence for listed in lists for sentence in listed]
        if not sentences:
            yield from rows_of_entry(name, [], f"image {number}", values.get("split"))
        for sentence_number, sentence in enumerate(sentences, start=1):
            where = f"image {number}, sentence {sentence_number}"
            own = sentence.get("split") if isinstance(sentence, dict) else None
            yield from rows_of_entry(name, [sentence], where, values.get("split") if own is None else own)
