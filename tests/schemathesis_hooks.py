"""What Schemathesis cannot know by itself: photos, and that a form holds text alone."""

import io
from typing import Any

import schemathesis
from hypothesis import strategies
from PIL import Image


def photo(width: int, height: int, grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (grey, 99, 7)).save(file, "JPEG")
    return file.getvalue()


sides = strategies.integers(1, 300)
schemathesis.openapi.media_type("image/jpeg", strategies.builds(photo, sides, sides, strategies.integers(0, 255)))


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: "schemathesis.Case[Any]") -> bool:
    """Leave out wrong forms: a number in place of a text is the same on the wire, and no mistake that could be refused."""
    wrong = case.meta is not None and case.meta.generation.mode.is_negative
    return not (wrong and case.path == "/api/search/upload")
