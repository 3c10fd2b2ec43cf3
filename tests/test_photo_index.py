"""Indexing folders of photos, nasty ones too, with a runtime that needs no model."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crossmodal.data.decoding import load_photo
from crossmodal.data.preprocessing import Preprocessing
from crossmodal.errors import CrossmodalError
from crossmodal.files import shown
from crossmodal.photos import update as indexing
from crossmodal.photos.gallery import FolderGallery
from crossmodal.photos.store import DATABASE, Store
from crossmodal.photos.update import Changes, here, locked, update
from crossmodal.photos.walk import walk
from crossmodal.search.record import Found

SIZE = 8
META: dict[str, Any] = {
    "fingerprint": "f" * 32, "checkpoint": "none.pt", "recipe": "r", "size": 3, "runtime": "torch", "root": "..",
    "excluded": [], "included": [], "ocr": False, "cutoff": None, "bank": None, "quality": "normal", "views": 1, "weights": None,
}  # fmt: skip


class ColourRuntime:
    """A photo's vector is its mean colour; a sentence's the colour that it names."""

    name = "colours"
    preprocessing = Preprocessing(SIZE, (0.5,) * 3, (0.5,) * 3, "bilinear", "squash", 1.0)

    def __init__(self) -> None:
        self.encoded = 0

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        self.encoded += len(pixels)
        means = pixels.reshape(len(pixels), -1, 3).mean(1) + 1.0
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), dtype=np.float32)

    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        return np.stack([np.eye(3, dtype=np.float32)[["red", "green", "blue"].index(text)] for text in sentences])


def save(
    path: Path, colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (40, 30), **options: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    photo = Image.new("RGB", size, colour)
    photo.putpixel((0, 0), (random.Random(str(path)).randrange(256), 0, 0))  # no two files of one content
    photo.save(path, **options)
    return path


def run(
    root: Path,
    runtime: ColourRuntime | None = None,
    excluded: Sequence[str] = (),
    index: Path | None = None,
    **options: Any,
) -> Changes:
    folder = index or root / ".crossmodal"
    with locked(folder):
        if not (folder / DATABASE).is_file():
            Store.create(folder, META if index is None else {**META, "root": str(root)})
        with Store(folder, writable=True) as store:
            return update(store, root, excluded, here(lambda: runtime or ColourRuntime()), **options)


def opened(root: Path, index: Path | None = None) -> FolderGallery:
    return FolderGallery(index or root / ".crossmodal")


def vectors_of(folder: Path) -> Path:
    (path,) = folder.glob("vectors-*.f32")
    return path


def set_meta(folder: Path, key: str, value: object) -> None:
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as db, db:
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _is_current(path: Path, found: Found) -> bool:
    return path.exists() and (path.stat().st_size, path.stat().st_mtime_ns) == (found.size, found.changed)


def whole(root: Path, index: Path | None = None) -> dict[str, int]:
    """Check that the vectors are those of the files, where these are as they were; return the slots by path."""
    library = opened(root, index)
    for row, photo in enumerate(library.photos):
        if not _is_current(root / photo.found.path, photo.found):
            continue
        pixels = ColourRuntime.preprocessing.array(load_photo(root / photo.found.path))[None]
        expected = ColourRuntime().encode_pixels(pixels)[0]
        assert np.abs(library.vectors[row] - expected).max() < 0.02, photo.found.path
    return {photo.found.path: photo.slot for photo in library.photos}


def test_a_second_run_touches_only_what_changed(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / "a" / f"{number}.jpg", (40 * number, 30, 200))
    assert run(tmp_path).new == 5
    runtime = ColourRuntime()
    assert replace(run(tmp_path, runtime), seconds=0.0) == Changes(unchanged=5)
    save(tmp_path / "a" / "1.jpg", (0, 255, 0), (50, 50))
    save(tmp_path / "b" / "new.png", (0, 0, 255))
    (tmp_path / "a" / "0.jpg").rename(tmp_path / "b" / "moved.jpg")
    shutil.copy(tmp_path / "a" / "2.jpg", tmp_path / "copy.jpg")
    (tmp_path / "a" / "3.jpg").unlink()
    os.utime(tmp_path / "a" / "4.jpg", (1, 1))
    changes = run(tmp_path, runtime)
    assert (changes.new, changes.changed, changes.moved, changes.copies, changes.forgotten, changes.unchanged) == (
        1, 1, 1, 1, 1, 2,
    )  # fmt: skip
    assert runtime.encoded == 2
    assert sorted(whole(tmp_path)) == ["a/1.jpg", "a/2.jpg", "a/4.jpg", "b/moved.jpg", "b/new.png", "copy.jpg"]
    assert run(tmp_path, runtime).unchanged == 6


def test_files_that_change_places(tmp_path: Path) -> None:
    save(tmp_path / "a.png", (255, 0, 0), (30, 30))
    save(tmp_path / "b.png", (0, 0, 255), (90, 90))
    run(tmp_path)
    (tmp_path / "a.png").rename(tmp_path / "t")
    (tmp_path / "b.png").rename(tmp_path / "a.png")
    (tmp_path / "t").rename(tmp_path / "b.png")
    run(tmp_path)
    run(tmp_path)
    assert sorted(whole(tmp_path)) == ["a.png", "b.png"]


def test_a_nasty_folder(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    kinds = ["jpg", "png", "webp", "gif", "bmp", "tiff", "heic", "avif", "jpeg", "tif"]
    for number in range(300):
        save(root / f"dir {number % 7}" / f"{number}.{kinds[number % 10]}", (number % 256, 50, 99), (20 + number, 64))
    save(root / "größe 写真 😀.jpg")
    save(root / "line\nbreak.png")
    raw = os.fsencode(root) + b"/latin-\xe9.jpg"
    shutil.copy(save(root / "plain.jpg", (1, 2, 3)), os.fsdecode(raw))
    save(root / "UPPER.JPG")
    (root / "x.jpg").mkdir()
    save(root / "x.jpg" / "inside.png")
    (root / "zero.jpg").write_bytes(b"")
    (root / "text.png").write_text("not a photo")
    (root / "short.jpg").write_bytes(save(tmp_path / "whole.jpg", size=(400, 300)).read_bytes()[:900])
    shutil.make_archive(str(tmp_path / "z"), "zip", root / "x.jpg")
    shutil.copy(tmp_path / "z.zip", root / "zip.jpg")
    Image.new("1", (20_000, 20_000)).save(root / "huge.png")
    (root / "notes.txt").write_text("no photo, and none by its name")
    (root / "loop").symlink_to(root)
    (root / "gone.jpg").symlink_to(root / "nowhere.jpg")
    save(root / ".hidden" / "thumb.jpg")
    changes = run(root)
    assert changes.new + changes.copies == 300 + 5 + 1 + 1
    assert {name: reason for name, reason in changes.skipped.items() if name == "zero.jpg"} == {
        "zero.jpg": "it is empty"
    }
    assert sorted(changes.skipped) == ["gone.jpg", "huge.png", "text.png", "zero.jpg", "zip.jpg"]
    assert "more than the 100 megapixels" in changes.skipped["huge.png"]
    assert changes.cut_short == ["short.jpg"] and "used as far as they go: short.jpg." in changes.remarks()[0]
    paths = whole(root)
    assert "x.jpg/inside.png" in paths and "UPPER.JPG" in paths and "line\nbreak.png" in paths
    assert not any("hidden" in path or path.startswith("loop") for path in paths)
    assert shown(os.fsdecode(b"latin-\xe9.jpg")) == "latin-\\xe9.jpg"
    assert shown("line\nbreak.png") == "line\\nbreak.png"
    hits = opened(root).nearest(np.eye(3, dtype=np.float32)[0], 400)
    assert all("\n" not in photo.name for photo, _, _ in hits)
    again = run(root)
    assert (again.new, again.changed, again.skipped) == (0, 0, {})  # broken ones are not read again


def test_a_cameras_name_commands_no_terminal(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "cam\x1b]0;x\x07"
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    run(tmp_path)
    assert opened(tmp_path).photos[0].described.camera == "cam ]0;x"


def test_orientation_date_and_camera(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = 6, "Nikon", "Nikon D70"
    exif.get_ifd(0x8769)[0x9003] = "2019:08:31 12:30:00"
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    broken = Image.Exif()
    broken[0x0132] = "0000:00:00 00:00:00"
    Image.new("RGB", (60, 40)).save(tmp_path / "b.jpg", exif=broken)
    run(tmp_path)
    first, second = (photo.described for photo in opened(tmp_path).photos)
    assert (first.width, first.height, first.camera) == (40, 60, "Nikon D70")
    assert time.localtime(first.taken)[:5] == (2019, 8, 31, 12, 30)
    assert (second.width, second.height, second.camera, second.taken) == (60, 40, "", None)


def test_what_is_left_out(tmp_path: Path) -> None:
    for name in ("a.jpg", "private/b.jpg", "deep/private/c.jpg", "deep/d.png"):
        save(tmp_path / name)
    paths = {found.path for found in walk(tmp_path, ["private", "*.png"], lambda folder: None)}
    assert paths == {"a.jpg"}
    run(tmp_path)
    assert run(tmp_path, excluded=["deep/*"]).forgotten == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_by_its_rights(tmp_path: Path) -> None:
    save(tmp_path / "shut" / "a.jpg")
    run(tmp_path)
    (tmp_path / "shut").chmod(0)
    try:
        assert run(tmp_path).unreadable == ["shut"]
    finally:
        (tmp_path / "shut").chmod(0o755)


def test_what_was_known_of_an_unreadable_folder_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "shut" / "a.jpg")
    save(tmp_path / "b.jpg", (0, 9, 200))
    run(tmp_path)
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    changes = run(tmp_path)
    assert (changes.unreadable, changes.forgotten) == (["shut"], 0)
    assert sorted(whole(tmp_path)) == ["b.jpg", "shut/a.jpg"]


def test_files_that_vanish_while_indexing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        save(tmp_path / f"{number:02}.jpg", (number, 0, 0))
    read = indexing.read_photo

    def vanishing(root: Path, found: Any, *rest: Any) -> Any:
        if int(found.path[:2]) % 3 == 0:
            (root / found.path).unlink(missing_ok=True)
        return read(root, found, *rest)

    monkeypatch.setattr(indexing, "read_photo", vanishing)
    changes = run(tmp_path)
    assert changes.new == 33
    assert changes.skipped == {}
    assert len(whole(tmp_path)) == 33


def test_a_second_run_at_once_says_so(tmp_path: Path) -> None:
    code = "from tests.test_photo_index import *; locked(Path(sys.argv[1])).__enter__()"
    with locked(tmp_path / "index"):
        other = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "index")], capture_output=True, text=True, check=False
        )
    assert other.returncode == 1
    assert "Another run is bringing the index in" in other.stderr
    with locked(tmp_path / "index"):
        pass


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "AT_ONCE", 4)
    for number in range(12):
        save(tmp_path / f"{number:02}.jpg", (number * 20, 9, 9))
    pwrite, written = os.pwrite, 0

    def filling(file: int, content: bytes, at: int) -> int:
        nonlocal written
        written += 1
        if written > 1:
            raise OSError(28, "No space left on device")
        return pwrite(file, content, at)

    monkeypatch.setattr(os, "pwrite", filling)
    with pytest.raises(CrossmodalError, match=r"No space left on device.*free some space"):
        run(tmp_path)
    monkeypatch.setattr(os, "pwrite", pwrite)
    assert len(whole(tmp_path)) == 4  # those of the first commit
    assert run(tmp_path).new == 8
    assert len(whole(tmp_path)) == 12


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB, where one can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_disk_that_is_really_full(tmp_path: Path, small_disk: Path) -> None:
    root = tmp_path / "photos"
    for number in range(40):
        save(root / f"{number:02}.jpg", (number, 9, 9))
    (small_disk / "ballast").write_bytes(b"x" * 200_000)

    def until_full() -> None:
        for _ in range(200):  # SQLite needs a few pages before it meets the end
            run(root, index=small_disk / "index")
            save(root / f"more {time.monotonic_ns()}.jpg", (7, 9, 9))

    with pytest.raises(CrossmodalError, match="free some space"):
        until_full()
    (small_disk / "ballast").unlink()
    run(root, index=small_disk / "index")
    assert len(whole(root, small_disk / "index")) == len(list(root.iterdir()))


def test_an_index_folder_that_cannot_be_written(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "a.jpg")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CrossmodalError, match=r"cannot be written.*--index"):
        run(tmp_path / "photos", index=tmp_path / "file" / "index")


def test_a_read_only_disk(tmp_path: Path, small_disk: Path) -> None:
    index = small_disk / "index"
    save(tmp_path / "photos" / "a.jpg")
    run(tmp_path / "photos", index=index)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    save(tmp_path / "photos" / "b.jpg")
    with pytest.raises(CrossmodalError, match=r"cannot be written \(Read-only file system\).*--index"):
        run(tmp_path / "photos", index=index)
    assert len(opened(tmp_path / "photos", index).photos) == 1


def test_folders_deeper_than_calls_may_be(tmp_path: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1500):
            os.makedirs("d", exist_ok=True)
            os.chdir("d")
        Image.new("RGB", (9, 9)).save("a.png")
        found = [found.path for found in walk(tmp_path, [], lambda folder: None)]
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # pytest's own cleaning calls itself too deeply
    assert found == ["d/" * 1500 + "a.png"]


def test_an_index_that_cannot_be_written_is_still_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.jpg")
    run(tmp_path)
    connect = sqlite3.connect

    def read_only(path: Any, *rest: Any, **options: Any) -> Any:
        if "mode=ro" in str(path):
            raise sqlite3.OperationalError(
                "unable to open database file"
            )  # as beside a shared memory file it cannot make
        return connect(path, *rest, **options)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    assert len(opened(tmp_path).photos) == 1


def test_an_index_travels_with_its_photos(tmp_path: Path) -> None:
    save(tmp_path / "here" / "a.jpg")
    run(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    gallery = opened(tmp_path / "there")
    assert (gallery.about.root / gallery.photos[0].path).is_file()
    assert run(tmp_path / "there").unchanged == 1


@pytest.mark.parametrize(
    ("breaking", "words"),
    [
        (lambda folder: (folder / DATABASE).write_bytes(b"SQLite no more" * 99), "is broken .*--rebuild"),
        (lambda folder: vectors_of(folder).write_bytes(b""), "has lost vectors.*make it again with --rebuild"),
        (lambda folder: vectors_of(folder).unlink(), "has lost its vectors.*make it again with --rebuild"),
        (lambda folder: (folder / DATABASE).unlink(), "There is no index in"),
    ],
)
def test_a_broken_index_is_one_sentence(tmp_path: Path, breaking: Any, words: str) -> None:
    save(tmp_path / "a.jpg")
    run(tmp_path)
    breaking(tmp_path / ".crossmodal")
    with pytest.raises(CrossmodalError, match=words):
        opened(tmp_path)


def test_a_newer_index_is_refused(tmp_path: Path) -> None:
    Store.create(tmp_path, META)
    set_meta(tmp_path, "version", "99")
    with pytest.raises(CrossmodalError, match="update the program"):
        Store(tmp_path, writable=False)


KILLED = """
import sys, time
from pathlib import Path
from crossmodal.photos import update as indexing
from tests.test_photo_index import ColourRuntime, run
indexing.AT_ONCE = 3
whole = ColourRuntime.encode_pixels
def slow(self, pixels):
    time.sleep(0.01)
    return whole(self, pixels)
ColourRuntime.encode_pixels = slow
print("ready", flush=True)
run(Path(sys.argv[1]))
print("done", flush=True)
"""


@pytest.mark.real
def test_twenty_kills(tmp_path: Path) -> None:
    rng = random.Random(5)
    for number in range(400):
        save(tmp_path / f"{number:03}.png", (number % 256, number // 2, 9))
    indexed = 0
    for round_ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.02, 0.25))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (tmp_path / ".crossmodal" / DATABASE).is_file():
            # A photo that was deleted is forgotten by the first run that is let live so long.
            paths = [path for path in whole(tmp_path) if (tmp_path / path).exists()]
            assert len(paths) >= indexed
            indexed = len(paths)
        if round_ % 5 == 4:
            for name in rng.sample(sorted(path.name for path in tmp_path.glob("*.png")), 10):
                save(tmp_path / name, (5, 5, 200), (60, 60))
            (tmp_path / f"{round_:03}.png").unlink(missing_ok=True)
            indexed = 0  # some photos are others now
    run(tmp_path)
    assert sorted(whole(tmp_path)) == sorted(path.name for path in tmp_path.glob("*.png"))
    assert run(tmp_path).unchanged == len(list(tmp_path.glob("*.png")))
