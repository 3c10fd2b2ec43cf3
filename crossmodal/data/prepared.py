"""A photo as it is used: the input of an image tower, a JPEG to show, and what the file says of itself."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from crossmodal.data.decoding import CUT_SHORT, MAX_PIXELS, decoded, opened_photo
from crossmodal.data.limits import CAMERA
from crossmodal.data.preprocessing import Preprocessing
from crossmodal.data.written import plain_text, position_in, written_in

LOOKED_AT = 72  # pixels of the shorter side that a look needs; a JPEG's own scaling may leave fewer
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
DATES = "%Y:%m:%d %H:%M:%S"


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a photo: the input of an image tower, a JPEG of at most so many pixels a side, what is written in it."""

    preprocessing: Preprocessing | None = None
    jpeg: int = 0
    label: str = "it"  # begins the sentence that says why a photo cannot be used
    most: int = MAX_PIXELS
    written: bool = False
    seconds: float = math.inf  # of a processor; a photo that will take more, as its header says, is not decoded


@dataclass(frozen=True)
class Prepared:
    """What was wanted, and what is known of the photo.

    Its format, upright size, time taken (seconds), camera, look (64 bits), whether it lacks its last bytes; where that was
    wanted, what is written in it (see limits.WRITTEN), and latitude and longitude in degrees.
    """

    format: str
    width: int
    height: int
    taken: float | None
    camera: str
    look: int
    cut_short: bool
    pixels: np.ndarray | None = None  # uint8 [size, size, 3]
    jpeg: bytes = b""
    written: Mapping[str, str] = field(default_factory=dict)
    position: tuple[float, float] | None = None


def prepared(source: Path | bytes, wanted: Wanted) -> Prepared:
    """Decode a photo in this process; raises PhotoError, and SlowPhotoError where it would take more seconds than are wanted."""
    prepare = wanted.preprocessing
    with opened_photo(source, wanted.label, wanted.most) as photo:
        exif = _exif(photo)
        width, height = photo.size
        if exif.get(ExifTags.Base.Orientation) in SIDEWAYS:
            width, height = height, width
        upright = decoded(photo, max(prepare.size if prepare else wanted.jpeg, LOOKED_AT), wanted.most, wanted.seconds)
        return Prepared(
            photo.format or "", width, height, _taken(exif), _camera(exif), look_of(upright) if prepare else 0,
            CUT_SHORT in upright.info, prepare.array(upright) if prepare else None,
            _jpeg(upright, wanted.jpeg) if wanted.jpeg else b"",
            written_in(photo, exif) if wanted.written else {}, position_in(exif) if wanted.written else None,
        )  # fmt: skip


def _jpeg(photo: Image.Image, size: int) -> bytes:
    """Return a JPEG without the data that cameras write into files."""
    file, small = io.BytesIO(), photo.copy()
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    small.save(file, "JPEG", quality=88)
    return file.getvalue()


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
    return plain_text(name, 2 * CAMERA + 1)[:CAMERA]


def look_of(photo: Image.Image) -> int:
    """Return the difference hash of a photo: 64 bits that say where a small grey copy gets brighter to the right.

    Copies of a photo in other sizes and qualities share nearly all of them. A signed integer, which SQLite holds.
    """
    small = np.asarray(photo.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = np.packbits(small[:, 1:] > small[:, :-1])
    return int.from_bytes(bits.tobytes(), "big", signed=True)
