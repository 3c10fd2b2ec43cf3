"""Readers of caption files, told apart by what is inside the file."""

from crossmodal.data.captions.reading import KNOWN_FORMATS, captions_by_number, read_captions
from crossmodal.data.captions.rows import BadRow, CaptionFile, CaptionRow

__all__ = ["KNOWN_FORMATS", "BadRow", "CaptionFile", "CaptionRow", "captions_by_number", "read_captions"]
