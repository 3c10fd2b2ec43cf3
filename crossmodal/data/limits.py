"""How much of what a photo says of itself is kept, in characters."""

from collections.abc import Mapping

CAMERA = 200
# What people, and programs on their behalf, write into a photo's file; several keywords or names of a place make one text.
WRITTEN: Mapping[str, int] = {"title": 300, "keywords": 2000, "description": 4000, "place": 400}
READ_TEXT = 2000  # of the text that OCR finds in a photo
KEYWORDS = "; "  # stands between keywords
