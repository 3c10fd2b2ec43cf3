"""Mutated pictures, decoded as uploads are: in processes of their own."""

import io
import random

import psutil
from PIL import Image

from crossmodal.data.decoders import Decoders
from crossmodal.data.prepared import Wanted
from crossmodal.data.preprocessing import Preprocessing
from crossmodal.errors import PhotoError
from tests.fuzz.mutations import MEGABYTES, bounded, counts, modest, mutated, peak_of
from tests.test_decoding import bomb_webp, saved, tiled_tiff

INPUT = Wanted(Preprocessing(32, (0.5,) * 3, (0.5,) * 3, "bicubic", "crop", 1.0), jpeg=64)


def seeds() -> list[bytes]:
    """Return a small picture of each kind that is read."""
    photo = Image.effect_noise((90, 60), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112], exif[0x0110], exif[0x0132] = 6, "camera", "2019:08:31 12:30:00"
    heif = io.BytesIO()
    photo.save(heif, "HEIF")
    return [
        saved(photo, "JPEG", exif=exif), saved(photo, "JPEG", progressive=True), saved(photo.convert("CMYK"), "JPEG"),
        saved(photo, "PNG", exif=exif), saved(photo.convert("P"), "PNG", transparency=3), saved(photo.convert("RGBA"), "PNG"),
        saved(photo, "WEBP"), saved(photo, "WEBP", lossless=True), saved(photo, "GIF", save_all=True, append_images=[photo]),
        saved(photo, "BMP"), saved(photo, "TIFF"), saved(photo, "TIFF", compression="tiff_lzw"), saved(photo, "AVIF"),
        heif.getvalue(), tiled_tiff(16, 64), bomb_webp(64, 64),
    ]  # fmt: skip


@counts(60, 1000)
def test_pictures(count: int) -> None:
    chance, pictures, decoded, said = random.Random(3), seeds(), 0, set()
    with modest(), Decoders(1, seconds=3) as decoders:
        others = {child.pid for child in psutil.Process().children()}
        decoders(pictures[0], INPUT)
        base = max(peak_of(child.pid) for child in psutil.Process().children() if child.pid not in others)
        for number in range(count):
            content = mutated(chance.choice(pictures), chance)
            with bounded(f"picture {number}"):
                try:
                    photo = decoders(content, INPUT)
                except PhotoError as error:
                    said.add(str(error))
                    continue
            assert photo.pixels is not None and photo.pixels.shape == (32, 32, 3), number
            decoded += 1
            grown = max(peak_of(child.pid) for child in psutil.Process().children() if child.pid not in others) - base
            assert grown < MEGABYTES, f"picture {number}: {grown:.0f} MB more at the peak"
    assert decoded > count / 10 and all(len(one.splitlines()) == 1 for one in said)
