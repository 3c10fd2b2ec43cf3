"""Safe decoding: returns any photo file as an upright RGB image, or raises one clear reason why not."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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

from crossmodal.errors import PhotoError

MAX_PIXELS = 100_000_000
pillow_heif.register_heif_opener()
# Other formats are not tried: none of them is used for photos, and one (EPS) is handed to another program.
# MPO, from cameras with two lenses, is opened as the JPEG that it begins with.
PLUGINS = (JpegImagePlugin.JpegImageFile, PngImagePlugin.PngImageFile,
           WebPImagePlugin.WebPImageFile, GifImagePlugin.GifImageFile, BmpImagePlugin.BmpImageFile,
           BmpImagePlugin.DibImageFile, TiffImagePlugin.TiffImageFile, AvifImagePlugin.AvifImageFile,
           pillow_heif.HeifImageFile)  # fmt: skip
FORMATS = tuple(plugin.format for plugin in PLUGINS)
# The size in the header is checked below, so Pillow's warning would only repeat it; above twice its limit Pillow
# raises an error, which becomes the same sentence.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def load_photo(source: Path | bytes, at_least: int | None = None, name: str | None = None) -> Image.Image:
    """Decode one photo to upright RGB.

    An animation gives its first frame, transparency lies over white, 16-bit and float greys are scaled to 8
    bits, and the EXIF orientation is applied. With `at_least`, a JPEG may be returned at the smallest of its own
    scales whose shorter side still has that many pixels, which is several times faster.

    Raises PhotoError; when the header says more than MAX_PIXELS, before decoding.
    """
    label = name or (str(source) if isinstance(source, Path) else "The photo")
    with opened_photo(source, label) as photo:
        return decoded(photo, at_least)


@contextmanager
def opened_photo(source: Path | bytes, label: str, most: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open a photo of `most` pixels at the most: its header is read and nothing decoded.

    Any error inside the block becomes a PhotoError.
    """
    if isinstance(source, Path) and not source.is_file():
        raise PhotoError(f"{label} is {'a folder' if source.is_dir() else 'not there'}.")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as photo:
            if photo.width * photo.height > most:
                raise _too_large(label, f"{photo.width} x {photo.height} pixels", most)
            yield photo
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(label, "far too many pixels", most) from error
    except Image.UnidentifiedImageError as error:
        raise PhotoError(
            f"{label} is not a photo that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF)."
        ) from error
    except Exception as error:  # decoders raise errors of any type on a broken file
        raise PhotoError(f"{label} is broken or cut short ({error}).") from error


def decoded(photo: Image.Image, at_least: int | None = None) -> Image.Image:
    """Return an opened photo as upright RGB; `at_least` as for `load_photo`."""
    if at_least is not None and photo.format == "JPEG":
        shrink = max(1, min(photo.size) // at_least)
        photo.draft(None, (photo.width // shrink, photo.height // shrink))
    photo.load()
    return _to_rgb(_upright(photo))


def _too_large(label: str, size: str, most: int) -> PhotoError:
    return PhotoError(
        f"{label} has {size}, more than the {most / 1_000_000:g} megapixels that are decoded; make it smaller."
    )


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
    if photo.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in photo.info:
        rgba = photo.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return photo.copy() if photo.mode == "RGB" else photo.convert("RGB")


def _grey_from_deep(photo: Image.Image) -> Image.Image:
    """Scale a 16-bit, 32-bit or float grey to 8 bits; Pillow's own convert would clip it to white."""
    values = np.nan_to_num(np.asarray(photo, dtype=np.float64))
    if photo.mode == "F" or values.max(initial=0) > 65535 or values.min(initial=0) < 0:
        low, high = values.min(initial=0), values.max(initial=0)
        values = (values - low) * (255 / (high - low) if high > low else 1)
    elif photo.mode.startswith("I;16") or values.max(initial=0) > 255:
        values = values / 257
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
