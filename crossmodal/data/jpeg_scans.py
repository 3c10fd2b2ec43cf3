"""How many scans a JPEG has: each goes over all pixels again, and takes a few bytes of the file."""

import math
import re

# Within a scan 0xFF is data where a zero or a restart marker follows.
MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
BEGINS_SCAN = b"\xff\xda"
START_OF_SCAN, END_OF_IMAGE, START_OF_IMAGE, TEMPORARY = 0xDA, 0xD9, 0xD8, 0x01


def has_more_scans(content: bytes, most: float) -> bool:
    """Say whether the first picture of a JPEG file has more than so many scans."""
    return most_scans(content) > most and count_scans(content, most) > most


def most_scans(content: bytes) -> int:
    """Return how many scans a JPEG file has at the most: to count what begins one is fast, and previews have some too."""
    return content.count(BEGINS_SCAN)


def count_scans(content: bytes, most: float = math.inf) -> int:
    """Return how many scans the first picture of a JPEG file has, as far as the file goes; where it has more than `most`, one more."""
    scans, position = 0, 0
    while scans <= most and (marker := MARKER.search(content, position)) and (code := marker[1][0]) != END_OF_IMAGE:
        scans += code == START_OF_SCAN
        position = marker.end()
        if code not in (START_OF_IMAGE, TEMPORARY):  # these two have no content
            position += int.from_bytes(content[position : position + 2])
    return scans
