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
    """Leave out wrong forms, and days in the wrong order.

    A number in place of a text is the same on the wire in a form, and no mistake that could be refused. That the first
    day is not after the last is refused, and cannot be said in a schema.
    """
    wrong = case.meta is not None and case.meta.generation.mode.is_negative
    reversed_days = any(map(_ends_before_it_begins, (case.body, case.query)))
    return not (wrong and case.path == "/api/search/upload") and not reversed_days


def _ends_before_it_begins(body: Any) -> bool:
    filters = body.get("filters", body) if isinstance(body, dict) else {}
    first, last = (filters.get(name) for name in ("after", "before")) if isinstance(filters, dict) else (None, None)
    return isinstance(first, str) and isinstance(last, str) and first > last
