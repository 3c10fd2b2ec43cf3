"""Reads captions: a file in any known format, or a folder of text files beside photos."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from crossmodal.data.captions.delimited import read_lines
from crossmodal.data.captions.json_files import read_json
from crossmodal.data.captions.layout import Find
from crossmodal.data.captions.parquet import is_parquet, read_parquet
from crossmodal.data.captions.rows import BadRow, CaptionFile, CaptionRow, Row
from crossmodal.data.captions.text import read_text, without_surrogates
from crossmodal.data.names import KnownNames, is_photo
from crossmodal.errors import CaptionsError
from crossmodal.files import listed

KNOWN_FORMATS = (
    "columns separated by commas, tabs, semicolons or bars (image,caption; also file_name, text, split and their like); "
    "JSON lines; a JSON list or object; COCO's or Karpathy's JSON; Flickr30k's results.csv; Flickr's token file; Parquet"
)


def _unknown(name: str) -> None:
    """Know no file, where there is no folder of photos."""


def read_captions(path: Path, find: Find = _unknown) -> CaptionFile:
    """Read a file in any of KNOWN_FORMATS, or a folder of `photo.txt` files.

    `find` gives the photo that a name means, so that a column of names is recognised without a header and without suffixes. Raises CaptionsError when the file is absent, is not text, or is in none of the formats.
    """
    path = Path(path)
    rows, notes = _rows_of(path, find)
    good, bad = _sorted_out(rows)
    distinct = len({(row.image, row.caption) for row in good})
    if distinct < len(good):
        notes.append(
            f"Captions that an image has more than once: {len(good) - distinct:,}; evaluation keeps them, training does not."
        )
    return CaptionFile(path, tuple(good), tuple(bad), tuple(notes))


def captions_by_number(path: Path) -> dict[str, list[str]]:
    """Return all captions of each image in file order, empty ones too, so that a caption's index is its `#number`.

    Raises CaptionsError as `read_captions` does.
    """
    found: dict[str, list[str]] = {}
    for row in _rows_of(Path(path))[0]:
        found.setdefault(row.image, []).append(" ".join(row.caption.split()) if isinstance(row, CaptionRow) else "")
    return found


def _rows_of(path: Path, find: Find = _unknown) -> tuple[Iterator[Row], list[str]]:
    if path.is_dir():
        return _sidecars(path)
    if is_parquet(path):
        note, rows = read_parquet(path)
        return rows, [note]
    text, notes = read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        note, rows = read_json(path, text, KNOWN_FORMATS)
    else:
        # Not splitlines, which would also cut a caption at U+2028 and its like.
        note, rows = read_lines(path, text.split("\n"), KNOWN_FORMATS, find)
    return rows, [*notes, note]


def _sidecars(folder: Path) -> tuple[Iterator[Row], list[str]]:
    """Read the captions of `photo.jpg`, one per line, from `photo.txt`, beside it or in a folder of their own."""
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*"))]
    files = [path for path in files if not _is_of_a_system(path)]
    photos = [path.as_posix() for path in files if is_photo(path.name)]
    texts = [path for path in files if path.suffix.lower() == ".txt"]
    known = KnownNames(photos)
    meant = {path: known.fitting(path.with_suffix("").as_posix()) for path in texts}
    beside = [path for path in texts if meant[path]] or texts
    if not beside:
        raise CaptionsError(
            f"The folder {folder} has no captions: it should hold a text file for each photo, such as photo.txt "
            "for photo.jpg. A caption file is named itself with --captions."
        )
    notes = [f"Read from {len(beside):,} text files, one caption per line."]
    if others := [path.as_posix() for path in texts if path not in beside]:
        notes.append(f"Text files without a photo of their name, which are not read: {listed(others)}.")
    captioned = {name for names in meant.values() for name in names}
    if captioned and (without := [name for name in photos if name not in captioned]):
        notes.append(f"Photos without a text file: {listed(without)}.")
    rows, said = _lines_of(folder, beside, meant)
    return iter(rows), notes + said


def _lines_of(folder: Path, texts: list[Path], meant: Mapping[Path, Sequence[str]]) -> tuple[list[Row], list[str]]:
    """Return a row for each line of the text files, and notes on how these were decoded."""
    decoded: dict[str, list[str]] = {}
    rows: list[Row] = []
    for path in texts:
        text, said = read_text(folder / path)
        for note in said:
            decoded.setdefault(note, []).append(path.as_posix())
        name = path.with_suffix("").as_posix()
        for number, line in enumerate(text.split("\n"), start=1):
            where = f"{path.as_posix()}, line {number}"
            if len(meant[path]) > 1:
                rows.append(BadRow(where, name, f"several photos have this name: {listed(meant[path])}"))
                break
            if line.strip():
                rows.append(CaptionRow(meant[path][0] if meant[path] else name, line, where))
    return rows, [f"{listed(names)}: {note}" for note, names in decoded.items()]


def _is_of_a_system(path: Path) -> bool:
    """Say whether a file is hidden, or what an unpacked archive of a Mac leaves behind."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _sorted_out(rows: Iterable[Row]) -> tuple[list[CaptionRow], list[BadRow]]:
    """Normalise white space, replace lone surrogates, and set aside rows without a name or a caption."""
    good: list[CaptionRow] = []
    bad: list[BadRow] = []
    for row in rows:
        image = without_surrogates(row.image)
        if isinstance(row, BadRow):
            bad.append(replace(row, image=image))
            continue
        caption = " ".join(without_surrogates(row.caption).split())
        if "\0" in caption:
            bad.append(BadRow(row.where, image, "the caption has zero bytes, so the file may be damaged"))
        elif caption and image:
            good.append(CaptionRow(image, caption, row.where, row.split))
        else:
            bad.append(BadRow(row.where, image, "the caption is empty" if image else "no image name"))
    return good, bad
