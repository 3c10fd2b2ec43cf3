"""How many scans a JPEG has: each goes over all pixels again, and takes a few bytes of the file."""

import re

# Within a scan 0xFF is data where a zero or a restart marker follows.
MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
BEGINS_SCAN = b"\xff\xda"
START_OF_SCAN, END_OF_IMAGE, START_OF_IMAGE, TEMPORARY = 0xDA, 0xD9, 0xD8, 0x01


def has_more_scans(content: bytes, most: float) -> bool:
    """Say whether the first picture of a JPEG file has more than so many scans."""
    # The bytes that begin a scan stand in previews and other pictures of the file too; to count them alone is fast.
    return content.count(BEGINS_SCAN) > most and count_scans(content) > most


def count_scans(content: bytes) -> int:
    """Return how many scans the first picture of a JPEG file has, as far as the file goes."""
    scans, position = 0, 0
    while (marker := MARKER.search(content, position)) and (code := marker[1][0]) != END_OF_IMAGE:
        scans += code == START_OF_SCAN
        position = marker.end()
        if code not in (START_OF_IMAGE, TEMPORARY):  # these two have no content
            position += int.from_bytes(content[position : position + 2])
    return scans
