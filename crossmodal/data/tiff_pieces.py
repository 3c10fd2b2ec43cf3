"""What the strips or tiles of a TIFF take to decode: a few bytes of the file each, for as many pixels as they say."""

from typing import IO

from PIL.TiffImagePlugin import (
    COMPRESSION,
    IMAGELENGTH,
    IMAGEWIDTH,
    PLANAR_CONFIGURATION,
    PREFIXES,
    ROWSPERSTRIP,
    SAMPLESPERPIXEL,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TILEBYTECOUNTS,
    TILELENGTH,
    TILEOFFSETS,
    TILEWIDTH,
    ImageFileDirectory_v2,
)
from PIL.TiffTags import LONG, LONG8, SHORT

from crossmodal.data.jpeg_scans import BEGINS_SCAN

MOST_PIECES = 50_000  # strips or tiles; a photo of 100 megapixels has 24,415 tiles of 64 x 64 pixels
JPEGS = (6, 7)  # compressions
SEPARATE = 2  # planes, of which each has strips or tiles of its own
NUMBER_BYTES = {SHORT: 2, LONG: 4, LONG8: 8}
BIG = 43  # the third byte of a BigTIFF, whose header is twice as long


def why_slow(file: IO[bytes], most: int, scans: int) -> str:
    """Return why a TIFF would take far longer to decode than a photo of `most` pixels, "" where it would not.

    Together its strips or tiles may have twice as many pixels, since the last ones reach over the edge; those that are JPEGs may
    have as many scans as a JPEG: `scans`, of `most` pixels. Of any other file, and of a broken one, nothing is said.
    """
    head = file.read(8)
    if not head.startswith(tuple(PREFIXES)):
        return ""
    try:
        tags = ImageFileDirectory_v2(head + file.read(8) if head[2] == BIG else head)
        file.seek(tags.next)
        tags.load(file)
        return _why_slow(tags, file, most, scans)
    except Exception:  # Pillow raises errors of any type on a broken file, and says so again when it opens it
        return ""


def _why_slow(tags: ImageFileDirectory_v2, file: IO[bytes], most: int, scans: int) -> str:
    width, height = _values(tags, IMAGEWIDTH)[0], _values(tags, IMAGELENGTH)[0]
    rows = min(height, *_values(tags, ROWSPERSTRIP))
    planes = _values(tags, SAMPLESPERPIXEL)[0] if SEPARATE in _values(tags, PLANAR_CONFIGURATION) else 1
    for offsets, lengths, size in (
        (STRIPOFFSETS, STRIPBYTECOUNTS, width * rows),
        (TILEOFFSETS, TILEBYTECOUNTS, tile_pixels(tags)),
    ):
        pieces = _count(tags, offsets)
        pixels = pieces * size
        if pieces > MOST_PIECES:
            return f"{pieces:,} strips or tiles"
        if pixels > 2 * most * planes:
            return f"strips or tiles of {pixels / 1_000_000:,.0f} megapixels"
        if pieces and set(_values(tags, COMPRESSION)) & set(JPEGS):
            file.seek(0)
            content, parts = file.read(), tuple(zip(_values(tags, offsets), _values(tags, lengths), strict=False))
            if sum(length for _, length in parts) > len(content):
                return "strips or tiles that lie over one another"
            found = sum(content.count(BEGINS_SCAN, start, start + length) for start, length in parts)
            if found * size > scans * most:
                return f"{found:,} scans in its strips or tiles"
    return ""


def tile_pixels(tags: ImageFileDirectory_v2) -> int:
    """Return how many pixels a tile has, which may be more than its photo; 0 where there are no tiles."""
    return _values(tags, TILEWIDTH)[0] * _values(tags, TILELENGTH)[0] if TILEWIDTH in tags and TILELENGTH in tags else 0


def _count(tags: ImageFileDirectory_v2, tag: int) -> int:
    """Return how many numbers a tag has, without reading them: half a million take longer than a photo."""
    return len(tags._tagdata[tag]) // NUMBER_BYTES.get(tags.tagtype[tag], 1) if tag in tags._tagdata else 0


def _values(tags: ImageFileDirectory_v2, tag: int) -> tuple[int, ...]:
    value = tags.get(tag, 1)
    return tuple(one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, int)) or (1,)
