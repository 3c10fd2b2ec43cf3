"""TIFFs whose strips or tiles take far longer than a photo of their size are refused at once, and honest ones are read."""

import struct
import time
import zlib

import pytest
from PIL import Image

from benchmarks.load import many_scans, many_tiles
from crossmodal.data.decoding import load_photo
from crossmodal.data.tiff_pieces import MOST_PIECES
from crossmodal.errors import PhotoError
from tests.test_decoding import saved

RAW, JPEG, DEFLATE = 1, 7, 8  # compressions


def tiff(
    size: tuple[int, int], piece: bytes, compression: int, count: int, *, tile: tuple[int, int] | None = None, rows: int = 0,
    apart: bool = False, big: bool = False,
) -> bytes:  # fmt: skip
    """Return a grey TIFF of `count` equal strips of `rows`, or tiles; they all lie at one place unless they are `apart`."""
    begin, word = (16, "Q") if big else (8, "I")
    content = piece * (count if apart else 1)
    offsets = [begin + (number * len(piece) if apart else 0) for number in range(count)]
    lists = struct.pack(f"<{count}{word}", *offsets), struct.pack(f"<{count}{word}", *[len(piece)] * count)
    at = begin + len(content)
    of_lists = [(count, at), (count, at + len(lists[0]))] if count > 1 else [(1, begin), (1, len(piece))]
    tags = {256: (1, size[0]), 257: (1, size[1]), 258: (1, 8), 259: (1, compression), 262: (1, 1), 277: (1, 1)}
    if tile:
        tags |= {322: (1, tile[0]), 323: (1, tile[1])} | dict(zip((324, 325), of_lists, strict=True))
    else:
        tags |= {278: (1, rows)} | dict(zip((273, 279), of_lists, strict=True))
    entries = b"".join(
        struct.pack(f"<HH{word}{word}", tag, 16 if big else 4, *values) for tag, values in sorted(tags.items())
    )
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, at + len(lists[0] + lists[1])) if big else (
        struct.pack("<2sHI", b"II", 42, at + len(lists[0] + lists[1]))
    )  # fmt: skip
    number = struct.pack("<Q" if big else "<H", len(tags))
    return head + content + lists[0] + lists[1] + number + entries + bytes(8)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (many_tiles(), "562,500 strips or tiles"),
        (tiff((1, 1_000_000), bytes(9), RAW, 1_000_000, rows=1), "1,000,000 strips or tiles"),
        (tiff((1, MOST_PIECES + 1), bytes(9), RAW, MOST_PIECES + 1, rows=1, big=True), "50,001 strips or tiles"),
        (tiff((6000, 6000), zlib.compress(bytes(256)), DEFLATE, 375**2, tile=(16, 16)), "140,625 strips or tiles"),
        # More strips than rows, and tiles far larger than the photo.
        (tiff((4000, 4000), bytes(999), RAW, 49_000, rows=2000), "strips or tiles of 392,000 megapixels"),
        (tiff((16, 9000), zlib.compress(bytes(480_000)), DEFLATE, 563, tile=(30_000, 16)), "strips or tiles of 270 meg"),
        (tiff((6000, 6000), many_scans(2000, 60), JPEG, 9, tile=(2000, 2000)), "strips or tiles that lie over one anoth"),
        (tiff((6000, 6000), many_scans(2000, 90), JPEG, 9, tile=(2000, 2000), apart=True), r"\d+ scans in its strips or ti"),
    ],
)  # fmt: skip
def test_what_takes_longer_than_a_photo_is_refused_at_once(content: bytes, why: str) -> None:
    started = time.process_time()
    with pytest.raises(PhotoError, match=f"^x.tif has {why}.*, which would take too long to decode"):
        load_photo(content, name="x.tif")
    assert time.process_time() - started < 1


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("strip", [300, 65_536])  # bytes: strips of one row, and the usual ones
def test_what_programs_save_is_read(compression: str, strip: int) -> None:
    photo = Image.effect_noise((300, 500), 60)
    content = saved(photo, "TIFF", compression=compression, strip_size=strip)
    assert load_photo(content).size == (300, 500)


def test_a_small_photo_in_one_large_tile_and_a_photo_in_the_smallest_tiles_are_read() -> None:
    assert load_photo(tiff((60, 40), zlib.compress(bytes(512**2)), DEFLATE, 1, tile=(512, 512))).size == (60, 40)
    assert load_photo(tiff((900, 900), bytes(256), RAW, 57**2, tile=(16, 16), big=True)).size == (900, 900)
    baseline = saved(Image.effect_noise((512, 512), 60), "JPEG")
    assert load_photo(tiff((2048, 512), baseline, JPEG, 4, tile=(512, 512), apart=True)).size == (2048, 512)
