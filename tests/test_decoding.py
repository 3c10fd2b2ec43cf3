"""Decoding: every mode to upright RGB, every broken file to one sentence."""

import io
import resource
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.load import many_scans
from crossmodal.data.decoding import CUT_SHORT, MAX_PIXELS, load_photo
from crossmodal.data.jpeg_scans import count_scans
from crossmodal.errors import PhotoError

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def saved(photo: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    photo.save(file, kind, **options)
    return file.getvalue()


def near(photo: Image.Image, where: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    pixel = photo.getpixel(where)
    return isinstance(pixel, tuple) and all(abs(a - b) < 12 for a, b in zip(pixel, colour, strict=True))


def test_exif_orientation_is_applied() -> None:
    lying = Image.new("RGB", (40, 20), BLUE)
    lying.paste(RED, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    upright = load_photo(saved(lying, "JPEG", exif=exif, quality=95))
    assert upright.size == (20, 40)
    assert near(upright, (10, 5), RED) and near(upright, (10, 35), BLUE)


def test_transparency_lies_over_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 4, 8))
    for content in (saved(clear, "PNG"), saved(clear, "WEBP", lossless=True), saved(clear.convert("LA"), "PNG")):
        photo = load_photo(content)
        assert photo.mode == "RGB" and near(photo, (6, 4), WHITE) and not near(photo, (1, 4), WHITE)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(1, (0, 0, 4, 8))
    photo = load_photo(saved(palette, "PNG", transparency=0))
    assert near(photo, (6, 4), WHITE) and near(photo, (1, 4), BLUE)


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (6, 6), RED), Image.new("RGB", (6, 6), BLUE)]
    assert near(load_photo(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])), (3, 3), RED)


def test_cmyk_and_deep_greys() -> None:
    assert near(load_photo(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)), (4, 4), RED)
    deep = np.array([[0, 32768, 65535]], dtype=np.uint16)
    for content in (saved(Image.fromarray(deep), "PNG"), saved(Image.fromarray(deep), "TIFF")):
        assert [load_photo(content).getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (128,) * 3, (255,) * 3]
    floats = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    assert load_photo(saved(floats, "TIFF")).getpixel((2, 0)) == WHITE


def test_a_jpeg_may_come_smaller_but_not_too_small() -> None:
    content = saved(Image.new("RGB", (1600, 1200), RED), "JPEG")
    small = load_photo(content, at_least=224)
    assert 224 <= min(small.size) < 600


def huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [10_001, 20_000, 60_000])
def test_a_huge_photo_is_refused_from_its_header(side: int) -> None:
    assert side * side > MAX_PIXELS
    with pytest.raises(PhotoError, match="more than the 100 megapixels"):
        load_photo(huge_png(side, side))


def test_broken_files_are_one_sentence(tmp_path: Path) -> None:
    whole = saved(Image.effect_noise((200, 200), 50).convert("RGB"), "JPEG")
    for content, words in (
        (b"", "not a photo"),
        (b"hello", "not a photo"),
        (whole[: whole.index(b"\xff\xda") + 6], "cut short"),
        (huge_png(50, 50), "cut short"),
    ):
        with pytest.raises(PhotoError, match=words):
            load_photo(content)
    with pytest.raises(PhotoError, match="not there"):
        load_photo(tmp_path / "none.jpg")
    (tmp_path / "x.jpg").mkdir()
    with pytest.raises(PhotoError, match="a folder"):
        load_photo(tmp_path / "x.jpg")


# --- what is counted before anything is decoded ---


def bomb_webp(width: int, height: int) -> bytes:
    """Return 34 bytes of a lossless WebP of this size."""
    body = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(8)
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk + b"\0"


def tiled_tiff(side: int, tile: int) -> bytes:
    """Return a TIFF of `side` pixels a side, kept in one compressed tile of `tile` pixels a side."""
    content = zlib.compress(bytes(1000))
    tags = (
        (256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1), (322, 4, tile), (323, 4, tile),
        (324, 4, 8), (325, 4, len(content)),
    )  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return (
        b"II*\0" + struct.pack("<I", 8 + len(content)) + content + struct.pack("<H", len(tags)) + entries + bytes(4)
    )  # fmt: skip


@pytest.mark.parametrize(("side", "most"), [(4000, 125), (500, 8000)])
def test_a_jpeg_that_goes_over_its_pixels_again_and_again_is_refused_at_once(side: int, most: int) -> None:
    own = many_scans(side, 1).count(b"\xff\xda") - 1
    started = time.process_time()
    with pytest.raises(PhotoError, match=f"^x.jpg has more than {most:,} scans, which would take too long to decode"):
        load_photo(many_scans(side, most - own + 1), name="x.jpg")
    assert time.process_time() - started < 1
    if side == 4000:
        assert load_photo(many_scans(side, 20), at_least=32).mode == "RGB"


def test_scans_of_previews_and_of_other_pictures_in_a_jpeg_do_not_count() -> None:
    preview, photo = many_scans(64, 300), Image.effect_noise((400, 300), 60).convert("RGB")
    plain = saved(photo, "JPEG", restart_marker_rows=1)
    inside = plain[:2] + b"\xff\xe1" + (len(preview) + 2).to_bytes(2) + preview + plain[2:]
    for content in (plain, plain[: len(plain) // 2], inside, plain + preview):
        assert count_scans(content) == 1
    assert count_scans(preview) == 300 + count_scans(many_scans(64, 0))
    assert count_scans(b"") == count_scans(plain[:30]) == 0
    assert load_photo(inside).size == (400, 300)


def test_what_a_decoder_would_take_is_counted_from_the_header() -> None:
    bomb = bomb_webp(16384, 16384)
    assert len(bomb) == 34
    deep = saved(Image.new("I;16", (6000, 6000)), "PNG")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PhotoError, match="16384 x 16384 pixels, more than the 100 megapixels"):
        load_photo(bomb)
    for content in (tiled_tiff(7000, 14_000), deep):
        with pytest.raises(PhotoError, match="needs more memory to be decoded than there is"):
            load_photo(content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_a_photo_of_108_megapixels_is_read_where_its_decoder_can_shrink_it() -> None:
    content = saved(Image.new("L", (12_000, 9_000), 90), "JPEG")
    assert load_photo(content, at_least=224).size == (1500, 1125)
    with pytest.raises(PhotoError, match="12000 x 9000 pixels, more than the 100"):
        load_photo(content)
    with pytest.raises(PhotoError, match="12000 x 9000 pixels, more than the 100"):
        load_photo(saved(Image.new("L", (12_000, 9_000), 90), "PNG"), at_least=224)


def test_a_jpeg_without_its_last_bytes_is_used_as_far_as_it_goes() -> None:
    photo = Image.effect_noise((400, 300), 60).convert("RGB")
    content = saved(photo, "JPEG")
    whole, cut = load_photo(content), load_photo(content[: len(content) // 2])
    assert cut.info.get(CUT_SHORT) and CUT_SHORT not in whole.info
    assert cut.crop((0, 0, 400, 100)).tobytes() == whole.crop((0, 0, 400, 100)).tobytes()
    assert load_photo(content[: len(content) // 2], at_least=64).size == (100, 75)


def test_a_jpeg_with_more_pictures_behind_it_is_a_jpeg() -> None:
    photo, small = Image.effect_noise((12_000, 9_000), 60).convert("RGB"), Image.new("RGB", (9, 9))
    content = saved(photo, "MPO", save_all=True, append_images=[small])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    assert load_photo(content, at_least=224).size == (1500, 1125)  # 108 megapixels, shrunk while it is read
    cut = content[: len(content) // 2]
    assert load_photo(cut, at_least=224).info.get(CUT_SHORT)


def test_no_warning_without_a_name(recwarn: pytest.WarningsRecorder) -> None:
    file = io.BytesIO(saved(Image.new("RGB", (9, 9)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\x00broken"))
    code = "import sys; from crossmodal.data.decoding import load_photo; load_photo(sys.stdin.buffer.read()).getexif()"
    told = subprocess.run([sys.executable, "-c", code], input=file.getvalue(), capture_output=True, check=True)
    assert told.stderr == b""
