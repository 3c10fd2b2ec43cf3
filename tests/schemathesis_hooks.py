"""What Schemathesis cannot make up by itself: photos."""

import io

import schemathesis
from hypothesis import strategies
from PIL import Image


def photo(width: int, height: int, grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (grey, 99, 7)).save(file, "JPEG")
    return file.getvalue()


sides = strategies.integers(1, 300)
schemathesis.openapi.media_type("image/jpeg", strategies.builds(photo, sides, sides, strategies.integers(0, 255)))
