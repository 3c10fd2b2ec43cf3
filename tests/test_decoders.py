"""Decoding in processes of their own: what is bounded, what a hostile photo costs, and that nothing stays behind."""

import io
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from benchmarks.load import many_scans
from crossmodal.data import decoders as decoding
from crossmodal.data import prepared as preparing
from crossmodal.data.decoders import Decoders, Uploads
from crossmodal.data.prepared import Wanted, prepared
from crossmodal.data.preprocessing import Preprocessing
from crossmodal.errors import BusyError, CrossmodalError, PhotoError, SlowPhotoError
from crossmodal.photos import meta
from tests.test_decoding import bomb_webp, saved, tiled_tiff

INPUT = Wanted(Preprocessing(32, (0.5,) * 3, (0.5,) * 3, "bicubic", "crop", 1.0), jpeg=64, label="x.jpg")
SLOW = many_scans(64, 240_000)  # about a second of a processor, and more than is quick by its header
ENDLESS = many_scans(512, 480_000)  # minutes on any machine; refused by its header where so many pixels are not wanted
UNBOUNDED = replace(INPUT, most=10**12)


@pytest.fixture(scope="module")
def one() -> Iterator[Decoders]:
    with Decoders(1, seconds=1, patience=0.2) as decoders:
        yield decoders


def test_it_comes_back_as_it_would_from_this_process(one: Decoders) -> None:
    photo = Image.effect_noise((300, 200), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "D70"
    for content in (saved(photo, "JPEG", exif=exif), saved(photo, "PNG"), saved(photo, "TIFF")):
        apart, here = one(content, INPUT), prepared(content, INPUT)
        assert apart.pixels is not None and here.pixels is not None
        assert np.array_equal(apart.pixels, here.pixels) and apart.jpeg == here.jpeg
        assert vars(apart) | {"pixels": 0} == vars(here) | {"pixels": 0}
    assert max(Image.open(io.BytesIO(apart.jpeg)).size) == 64


def test_what_it_says_of_a_broken_photo_is_what_this_process_says(one: Decoders, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no photo")
    for source in (b"", b"hello", broken, tmp_path / "none.jpg", bomb_webp(16384, 16384), tiled_tiff(16, 30_000)):
        with pytest.raises(PhotoError) as here:
            prepared(source, INPUT)
        with pytest.raises(PhotoError) as apart:
            one(source, INPUT)
        assert str(apart.value) == str(here.value)


def test_a_photo_that_takes_too_long_costs_its_process_and_the_next_one_is_decoded(one: Decoders) -> None:
    started = time.monotonic()
    with pytest.raises(
        PhotoError, match=r"^x.jpg cannot be decoded in 1 seconds and 1 GB of memory; it may be damaged.$"
    ):
        one(ENDLESS, UNBOUNDED)
    assert time.monotonic() - started < 10
    assert one(saved(Image.new("RGB", (40, 40)), "PNG"), INPUT).width == 40


def test_a_photo_that_takes_too_much_memory_is_refused_in_its_process(
    monkeypatch: pytest.MonkeyPatch, one: Decoders
) -> None:
    # Eight photos of its largest size: more than may be, whatever a header says.
    content = b"".join(np.zeros(300_000_000, np.uint8).tobytes() for _ in range(5))
    with pytest.raises(PhotoError, match="memory"):
        one(content, INPUT)
    assert one(saved(Image.new("RGB", (40, 40)), "PNG"), INPUT).width == 40


def test_a_turn_is_waited_for_and_then_it_is_busy(one: Decoders) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(one, ENDLESS, UNBOUNDED)
        time.sleep(0.5)
        with pytest.raises(BusyError, match="Too many photos are being decoded already; try again soon"):
            one(SLOW, INPUT)
        assert isinstance(first.exception(), PhotoError)


def test_a_photo_that_nobody_wants_any_more_makes_room_at_once() -> None:
    unwanted = threading.Event()
    with Decoders(1, seconds=60) as decoders, ThreadPoolExecutor(1) as pool:
        decoders(saved(Image.new("RGB", (40, 40)), "PNG"), INPUT)  # its process is there
        decoding = pool.submit(decoders, ENDLESS, UNBOUNDED, unwanted)
        time.sleep(0.5)
        assert not decoding.done()
        unwanted.set()
        with pytest.raises(PhotoError, match="^x.jpg is no longer wanted.$"):
            decoding.result(timeout=10)
        assert decoders(saved(Image.new("RGB", (40, 40)), "PNG"), INPUT).width == 40


def test_uploads_that_take_long_by_their_header_or_as_it_turns_out_are_decoded_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo, before = saved(Image.effect_noise((640, 480), 60), "JPEG"), {*psutil.Process().children()}
    with closing(Uploads()) as uploads:
        assert uploads.quick(photo, INPUT).width == 640
        with pytest.raises(SlowPhotoError):
            uploads.quick(SLOW, INPUT)
        (mine,) = {*psutil.Process().children()} - before
        assert uploads(SLOW, INPUT).width == 64
        assert mine.is_running()
        monkeypatch.setattr(decoding, "QUICK_SECONDS", math.inf)  # as if its header said nothing
        with pytest.raises(SlowPhotoError, match="cannot be decoded in 1 seconds"):
            uploads.quick(ENDLESS, UNBOUNDED)
        assert not mine.is_running()
        assert uploads(SLOW, INPUT).width == 64
        with pytest.raises(PhotoError, match=r"^x.jpg is not a photo that can be read"):
            uploads(b"nothing", INPUT)
    assert {*psutil.Process().children()} == before


def test_nothing_stays_behind(tmp_path: Path) -> None:
    this, photo = psutil.Process(), saved(Image.new("RGB", (40, 40)), "PNG")
    children, files = len(this.children()), this.num_fds()
    with Decoders(2) as decoders:
        barrier = threading.Barrier(2)

        def decode(number: int) -> int:
            barrier.wait()
            return decoders(photo, INPUT).width

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(decode, range(2))) == [40, 40]
        assert len(this.children()) > children
    assert (len(this.children()), this.num_fds()) == (children, files)


def test_who_takes_too_long_waits_for_the_new_process_and_not_the_next_one() -> None:
    with Decoders(1, seconds=1) as decoders:
        before = {child.pid for child in psutil.Process().children()}
        with pytest.raises(PhotoError, match="cannot be decoded in 1 seconds"):
            decoders(ENDLESS, UNBOUNDED)
        assert [child.status() for child in psutil.Process().children() if child.pid not in before] != []


def test_a_process_that_was_killed_is_replaced() -> None:
    photo = saved(Image.new("RGB", (40, 40)), "PNG")
    with Decoders(1) as decoders:
        before = {child.pid for child in psutil.Process().children()}
        assert decoders(photo, INPUT).width == 40
        (mine,) = (child for child in psutil.Process().children() if child.pid not in before)
        mine.kill()
        mine.wait()
        assert decoders(photo, INPUT).width == 40


def test_a_process_that_does_not_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding.sys, "executable", "/bin/false")
    with Decoders(1) as decoders, pytest.raises(CrossmodalError, match="does not start; is the installation whole"):
        decoders(b"", INPUT)


def test_a_camera_is_cut_where_an_index_expects_it() -> None:
    assert preparing.CAMERA == meta.CAMERA


def test_a_beginning_that_fails_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossmodal.data.decoders.sys.executable", "/bin/false")
    with Decoders(2) as decoders:
        with pytest.raises(CrossmodalError, match="does not start"):
            decoders.begin()
        with pytest.raises(CrossmodalError, match="does not start"):
            decoders(saved(Image.new("RGB", (40, 40)), "PNG"), INPUT)
