"""Small photos for a page, as data URLs."""

import base64
import io
from pathlib import Path

from crossmodal.data.decoding import load_photo
from crossmodal.errors import PhotoError

SIDE = 400
# Smaller files go to the browser as they are: decoding ten of them would take longer than the search.
SMALL_FILE = 150_000
AS_THEY_ARE = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}


def data_url(path: Path) -> str | None:
    """Return a photo as a data URL of at most about SIDE pixels, or None where it cannot be decoded."""
    kind = AS_THEY_ARE.get(path.suffix.lower())
    try:
        if kind and path.stat().st_size <= SMALL_FILE:
            return _url(kind, path.read_bytes())
        photo = load_photo(path, at_least=SIDE)
    except (OSError, PhotoError):
        return None
    photo.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=85)
    return _url("jpeg", file.getvalue())


def _url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
