"""A photo file into what the index keeps of it: its content's digest, its pixels, its data."""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from crossmodal.data.decoding import decoded, opened_photo
from crossmodal.errors import PhotoError
from crossmodal.search.record import Described, Found

DIGEST_BYTES = 16
IN_MEMORY = 64_000_000  # bytes; larger files are read twice rather than held
LOOKED_AT = 72  # pixels of the shorter side that a look needs, of which a JPEG's own scaling may leave fewer
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
DATES = "%Y:%m:%d %H:%M:%S"

Prepare = Callable[[Image.Image], np.ndarray]


@dataclass(frozen=True)
class Read:
    """What became of one file: known by its content, described with its pixels, skipped, or gone."""

    found: Found
    digest: bytes = b""
    described: Described | None = None
    pixels: np.ndarray | None = None
    reason: str = ""
    gone: bool = False


def read_photo(root: Path, found: Found, at_least: int, prepare: Prepare, known: Collection[bytes]) -> Read:
    """Read a file; decode it unless its content is `known`. Nothing is raised: every failure is a reason."""
    path = root / found.path
    try:
        content = path.read_bytes() if found.size <= IN_MEMORY else None
        digest = _digest(path) if content is None else digest_of(content)
    except FileNotFoundError:
        return Read(found, gone=True)
    except OSError as error:
        return Read(found, reason=f"it cannot be read ({error.strerror})")
    if digest in known:
        return Read(found, digest)
    return read_content(found, digest, path if content is None else content, at_least, prepare)


def read_content(found: Found, digest: bytes, content: bytes | Path, at_least: int, prepare: Prepare) -> Read:
    """Decode a file's content, or the file itself; nothing is raised."""
    if content == b"":
        return Read(found, reason="it is empty")
    try:
        with opened_photo(content, "it") as photo:
            exif = _exif(photo)
            width, height = photo.size
            if exif.get(ExifTags.Base.Orientation) in SIDEWAYS:
                width, height = height, width
            upright = decoded(photo, max(at_least, LOOKED_AT))
        described = Described(digest, width, height, _taken(exif), _camera(exif), look_of(upright))
        return Read(found, digest, described, prepare(upright))
    except PhotoError as error:
        return Read(found, digest, reason=str(error).rstrip("."))


def digest_of(content: bytes) -> bytes:
    """Return what tells a content from others."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).digest()


def _exif(photo: Image.Image) -> Image.Exif:
    try:
        return photo.getexif()
    except Exception:  # a malformed block says nothing; the pixels are fine
        return Image.Exif()


def _taken(exif: Image.Exif) -> float | None:
    """Return when a photo was taken, in seconds of local time, or None where it does not say."""
    try:
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        said = inner.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
        return datetime.strptime(str(said).strip("\0 "), DATES).timestamp() if said else None
    except Exception:  # dates of cameras whose clock was never set, and broken blocks
        return None


def _camera(exif: Image.Exif) -> str:
    said = (exif.get(tag) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    make, model = (str(value).strip("\0 ") if value else "" for value in said)
    return model if model.startswith(make) else f"{make} {model}".strip()


def look_of(photo: Image.Image) -> int:
    """Return 64 bits that say where a small grey copy gets brighter from left to right (difference hash).

    Copies of a photo in other sizes and qualities share nearly all of them. As a signed integer,
    which is what SQLite keeps.
    """
    small = np.asarray(photo.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = np.packbits(small[:, 1:] > small[:, :-1])
    return int.from_bytes(bits.tobytes(), "big", signed=True)
