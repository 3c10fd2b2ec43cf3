"""Reading a photo file: the digest of its content, its pixels, and what it says of itself."""

import hashlib
import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from crossmodal.data.decoding import decoded, opened_photo
from crossmodal.errors import PhotoError
from crossmodal.photos.meta import CAMERA, DIGEST_BYTES
from crossmodal.search.record import Described, Found

PART = 1 << 24  # bytes that are read at once
IN_MEMORY = 64_000_000  # bytes; larger files are read twice rather than held
MOST = 2_000_000_000  # bytes; no photo of a size that is decoded needs more
TOO_LARGE = f"it has more than the {MOST // 10**9} GB that are read"
LOOKED_AT = 72  # pixels of the shorter side that a look needs; a JPEG's own scaling may leave fewer
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
    if found.size > MOST:
        return Read(found, reason=TOO_LARGE)
    try:
        digest, content = _content(path, found.size)
    except FileNotFoundError:
        return Read(found, gone=True)
    except OSError as error:
        return Read(found, reason=f"it cannot be read ({error.strerror})")
    if digest is None:
        return Read(found, reason="it changed while it was read, or is no ordinary file")
    if digest in known:
        return Read(found, digest)
    return read_content(found, digest, path if content is None else content, at_least, prepare)


def _content(path: Path, size: int) -> tuple[bytes | None, bytes | None]:
    """Return the digest of a file, and its bytes unless they are too many to be held.

    What is no ordinary file may block, or never end: no more than `size` bytes are read, and both are None where
    the file holds more, or fewer.
    """
    with open(path, "rb", buffering=0, opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None, None
        digest, parts, rest = hashlib.blake2b(digest_size=DIGEST_BYTES), [], size
        while rest and (part := file.read(min(rest, PART))):
            digest.update(part)
            rest -= len(part)
            if size <= IN_MEMORY:
                parts.append(part)
        if rest or (size and file.read(1)):
            return None, None
    return digest.digest(), b"".join(parts) if size <= IN_MEMORY else None


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
    """Return what identifies a content."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


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
    """Return make and model in one line, of which neither is repeated."""
    said = (exif.get(tag) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    make, model = (str(value)[:CAMERA].replace("\0", " ").strip() if value else "" for value in said)
    name = model if model.startswith(make) else f"{make} {model}"
    return " ".join(name.encode("utf-8", "replace").decode().split())[:CAMERA]


def look_of(photo: Image.Image) -> int:
    """Return the difference hash of a photo: 64 bits that say where a small grey copy gets brighter to the right.

    Copies of a photo in other sizes and qualities share nearly all of them. A signed integer, which SQLite holds.
    """
    small = np.asarray(photo.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = np.packbits(small[:, 1:] > small[:, :-1])
    return int.from_bytes(bits.tobytes(), "big", signed=True)
