"""Safe decoding: returns any photo file as an upright RGB image, or raises one clear reason why not."""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pillow_heif
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from crossmodal.data.jpeg_scans import has_more_scans, most_scans
from crossmodal.data.tiff_pieces import tile_pixels, why_slow
from crossmodal.errors import PhotoError, SlowPhotoError

MAX_PIXELS = 100_000_000
MOST_MEMORY = 1_000_000_000  # bytes that decoding one photo may need
MOST_SCANS = 20  # of a JPEG of the most pixels, and more of smaller ones; programs that save photos write up to a dozen
CUT_SHORT = "cut short"  # the key of Image.info that tells of a JPEG without its last bytes
END_OF_JPEG = b"\xff\xd9"
BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # of a pixel in memory, 4 in other modes
DEEP_BYTES = 24  # of a pixel while a deep grey is scaled
SECONDS = 5e-8  # of a processor for a pixel of a PNG, WebP or HEIC; other formats take less
SCAN_SECONDS = 1.2e-9  # for a pixel of a JPEG in each of its scans, and twice that beside
pillow_heif.register_heif_opener()
# Other formats are not tried: none of them is used for photos, and one (EPS) is handed to another program.
# Of a JPEG with more pictures behind it (MPO), as many phones write, the first is used.
PLUGINS = (JpegImagePlugin.JpegImageFile, PngImagePlugin.PngImageFile,
           WebPImagePlugin.WebPImageFile, GifImagePlugin.GifImageFile, BmpImagePlugin.BmpImageFile,
           BmpImagePlugin.DibImageFile, TiffImagePlugin.TiffImageFile, AvifImagePlugin.AvifImageFile,
           pillow_heif.HeifImageFile)  # fmt: skip
FORMATS = tuple(plugin.format for plugin in PLUGINS)
JPEGS = ("JPEG", "MPO")
# The size in the header is checked below, so Pillow's warning would only repeat it; above twice its limit Pillow
# raises an error, which becomes the same sentence.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# Pillow warns of damaged EXIF data and the like without a file's name; the pixels are what matters here.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class _TooLarge(Exception):
    """A photo with more pixels than are decoded, or that needs more memory; says what it has."""


class _TooSlow(Exception):
    """A photo that would take far longer to be decoded than its size lets expect; says why."""


def load_photo(source: Path | bytes, at_least: int | None = None, name: str | None = None) -> Image.Image:
    """Decode one photo to upright RGB.

    An animation gives its first frame, transparency lies over white, 16-bit and float greys are scaled to 8
    bits, and the EXIF orientation is applied. With `at_least`, a JPEG may be returned at the smallest of its own
    scales whose shorter side still has that many pixels, which is several times faster. A JPEG that lacks its
    last bytes is decoded as far as it goes, and its `info` then has the key CUT_SHORT.

    Raises PhotoError; when the header says more than MAX_PIXELS or MOST_MEMORY, scans that go over the pixels again and
    again, or a TIFF's strips or tiles that take far longer than their pixels, before decoding.
    """
    label = name or (str(source) if isinstance(source, Path) else "The photo")
    with opened_photo(source, label) as photo:
        return decoded(photo, at_least)


@contextmanager
def opened_photo(source: Path | bytes, label: str, most: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open a photo of `most` pixels at the most: its header is read and nothing decoded.

    A JPEG may have more, since `decoded` may shrink it. Any error inside the block becomes a PhotoError.
    """
    if isinstance(source, Path) and not source.is_file():
        raise PhotoError(f"{label} is {'a folder' if source.is_dir() else 'not there'}.")
    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file,
            _opened(file, most) as photo,
        ):
            if photo.format not in JPEGS:
                _check_size(photo.size, most)
            yield photo
    except PhotoError:
        raise
    except (_TooLarge, Image.DecompressionBombError) as error:
        size = error if isinstance(error, _TooLarge) else "far too many pixels"
        limit = f"the {most / 1_000_000:g} megapixels that are decoded"
        raise PhotoError(f"{label} has {size}, more than {limit}; make it smaller.") from error
    except _TooSlow as error:
        raise PhotoError(
            f"{label} has {error}, which would take too long to decode; save it anew as a photo."
        ) from error
    except MemoryError as error:
        raise PhotoError(f"{label} needs more memory to be decoded than there is; make it smaller.") from error
    except Image.UnidentifiedImageError as error:
        raise PhotoError(
            f"{label} is not a photo that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF)."
        ) from error
    except Exception as error:  # decoders raise errors of any type on a broken file
        reason = " ".join(str(error).split())  # libheif's have several lines
        if "MAX_TEXT" in reason:  # as Pillow calls its own bounds
            raise PhotoError(f"{label} has more text in it than is read; save it without.") from error
        raise PhotoError(f"{label} is broken or cut short ({reason}).") from error


def _opened(file: IO[bytes], most: int) -> Image.Image:
    _check_size(_webp_size(file.read(30)), most)  # Pillow takes the memory for a WebP as it opens it
    file.seek(0)
    if why := why_slow(file, most, MOST_SCANS):  # Pillow goes over the tiles of a TIFF as it opens it
        raise _TooSlow(why)
    file.seek(0)
    return Image.open(file, formats=FORMATS)


def decoded(
    photo: Image.Image, at_least: int | None = None, most: int = MAX_PIXELS, seconds: float = math.inf
) -> Image.Image:
    """Return an opened photo as upright RGB; `at_least` and JPEGs that are cut short as for `load_photo`.

    Raises SlowPhotoError where decoding would take more than `seconds` of a processor, as the header says.
    """
    needed, pixels = _bytes_needed(photo), photo.width * photo.height
    long = seconds < math.inf and _seconds_needed(photo) > seconds  # to estimate it, the whole file is read
    _shrink(photo, at_least)
    _check_size(photo.size, most)
    if photo.format not in JPEGS or photo.info.get("progressive"):
        _check_memory(needed)
    if photo.format in JPEGS:
        _check_scans(photo, pixels, most)
    if long:
        raise SlowPhotoError("The photo takes long to be decoded.")
    try:
        photo.load()
    except OSError:
        if photo.format not in JPEGS:
            raise
        photo = _as_far_as_it_goes(photo, at_least)
    return _to_rgb(_upright(photo))


def _seconds_needed(photo: Image.Image) -> float:
    """Return about how many seconds of a processor decoding an opened photo takes at the most, as its header says."""
    pixels = photo.width * photo.height
    if photo.format not in JPEGS:
        return SECONDS * pixels
    return SCAN_SECONDS * pixels * (2 + most_scans(_content(photo)))


def _shrink(photo: Image.Image, at_least: int | None) -> None:
    if at_least is not None and photo.format in JPEGS:
        shrink = max(1, min(photo.size) // at_least)
        photo.draft(None, (photo.width // shrink, photo.height // shrink))


def _as_far_as_it_goes(photo: Image.Image, at_least: int | None) -> Image.Image:
    """Decode a JPEG again with an end of its own, up to which the decoder fills in grey."""
    file = photo.fp  # type: ignore[attr-defined]
    file.seek(0)
    with Image.open(io.BytesIO(file.read() + END_OF_JPEG), formats=("JPEG",)) as ended:
        _shrink(ended, at_least)
        ended.load()
        darkest, brightest = ended.convert("L").getextrema()
        if darkest == brightest:
            raise OSError("it ends before its first pixels")
        ended.info[CUT_SHORT] = True
        return ended


def _check_size(size: tuple[int, int], most: int) -> None:
    if size[0] * size[1] > most:
        raise _TooLarge(f"{size[0]} x {size[1]} pixels")


def _webp_size(head: bytes) -> tuple[int, int]:
    """Return the size that the first 30 bytes of a WebP say, (0, 0) of any other file."""
    if len(head) < 25 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return 0, 0
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _check_memory(needed: int) -> None:
    if needed > MOST_MEMORY:
        raise MemoryError


def _check_scans(photo: Image.Image, pixels: int, most: int) -> None:
    """Check how often all pixels are gone over; `pixels` are those of the file, which a scan reads at any scale."""
    scans = MOST_SCANS * max(most, pixels) // max(pixels, 1)
    if has_more_scans(_content(photo), scans):
        raise _TooSlow(f"more than {scans:,} scans")


def _content(photo: Image.Image) -> bytes:
    """Return the file of an opened photo."""
    file = photo.fp  # type: ignore[attr-defined]
    place = file.tell()
    file.seek(0)
    content: bytes = file.read()
    file.seek(place)
    return content


def _bytes_needed(photo: Image.Image) -> int:
    """Return about how many bytes decoding takes at the most, from what the header says."""
    pixels, each = photo.width * photo.height, BYTES.get(photo.mode, 4) + 4
    if photo.mode.startswith("I") or photo.mode == "F":
        each += DEEP_BYTES
    elif _is_transparent(photo):
        each += 4
    if photo.format == "WEBP":
        each += 8  # two canvases of the decoder
    if photo.format in JPEGS:
        return pixels * 6  # of a progressive one all coefficients are held, whatever the scale
    tiles = 4 * tile_pixels(photo.tag_v2) if isinstance(photo, TiffImagePlugin.TiffImageFile) else 0
    return pixels * each + tiles


def _upright(photo: Image.Image) -> Image.Image:
    try:
        # exif_transpose also copies a photo that is upright already.
        turned = photo.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(photo) if turned else photo
    except Exception:  # a malformed EXIF block has no orientation, and the pixels are fine
        return photo


def _to_rgb(photo: Image.Image) -> Image.Image:
    if photo.mode.startswith("I") or photo.mode == "F":
        return _grey_from_deep(photo).convert("RGB")
    if _is_transparent(photo):
        rgba = photo if photo.mode == "RGBA" else photo.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return photo.copy() if photo.mode == "RGB" else photo.convert("RGB")


def _is_transparent(photo: Image.Image) -> bool:
    return photo.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in photo.info


def _grey_from_deep(photo: Image.Image) -> Image.Image:
    """Scale a 16-bit, 32-bit or float grey to 8 bits; Pillow's own convert would clip it to white."""
    values = np.nan_to_num(np.asarray(photo, dtype=np.float64))
    if photo.mode == "F" or values.max(initial=0) > 65535 or values.min(initial=0) < 0:
        low, high = values.min(initial=0), values.max(initial=0)
        values = (values - low) * (255 / (high - low) if high > low else 1)
    elif photo.mode.startswith("I;16") or values.max(initial=0) > 255:
        values = values / 257
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
