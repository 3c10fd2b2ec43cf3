"""Text in photos: read after the indexing, searched beside what else is written, and remembered."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from crossmodal.data.limits import READ_TEXT
from crossmodal.errors import CrossmodalError
from crossmodal.photos import index as asked
from crossmodal.photos import ocr
from crossmodal.photos.ocr import SIDE, rapidocr_reader, read_texts
from crossmodal.photos.store import Store
from crossmodal.photos.written import find
from crossmodal.search.query import parse_terms
from tests.test_photo_index import opened, run, save

ROOT = Path(__file__).resolve().parent.parent


class Signs:
    """Reads a photo by its colour; remembers the shapes of what it was given."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, pixels: np.ndarray) -> str:
        self.shapes.append(pixels.shape)
        return ["Bakery\x1b open", "", "Platform " * READ_TEXT][int(pixels[-1, -1].argmax())]


def read(root: Path, reader: Callable[[np.ndarray], str]) -> int:
    with Store(root / ".crossmodal", writable=True) as store:
        return read_texts(store, root, lambda: reader, lambda step: None)


def texts(root: Path) -> dict[str, str | None]:
    return {photo.path: photo.described.text for photo in opened(root).photos}


def names(root: Path, words: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(path, found) for path, _, found in find(root / ".crossmodal", parse_terms(words))]


def test_the_text_of_each_photo_is_read_once_and_found(tmp_path: Path) -> None:
    save(tmp_path / "red.png", (250, 5, 5), (3 * SIDE, 30))
    save(tmp_path / "green.jpg", (5, 250, 5))
    run(tmp_path)
    assert texts(tmp_path) == {"red.png": None, "green.jpg": None} and names(tmp_path, "bakery") == []
    signs = Signs()
    assert read(tmp_path, signs) == 2
    assert sorted(signs.shapes) == [(10, SIDE, 3), (30, 40, 3)]  # a large photo is made smaller, none larger
    assert texts(tmp_path) == {"red.png": "Bakery open", "green.jpg": ""}
    assert names(tmp_path, "bakeries") == [("red.png", ("Bakery",))]  # as words are searched: by their stems
    # What moves or is copied keeps its text; what changes, or is new, is read.
    (tmp_path / "red.png").rename(tmp_path / "moved.png")
    save(tmp_path / "blue.png", (5, 5, 250))
    run(tmp_path)
    (tmp_path / "copy.png").write_bytes((tmp_path / "blue.png").read_bytes())
    run(tmp_path)
    assert read(tmp_path, signs) == 1 and read(tmp_path, signs) == 0
    assert [path for path, _ in names(tmp_path, "platform")] == ["blue.png", "copy.png"]
    assert all(len(text or "") <= READ_TEXT for text in texts(tmp_path).values())
    save(tmp_path / "moved.png", (5, 250, 5))
    run(tmp_path)
    assert names(tmp_path, "bakery") == [] and read(tmp_path, signs) == 1


def test_a_photo_that_changed_or_went_is_left_to_the_next_run(tmp_path: Path) -> None:
    for name in "abc":
        save(tmp_path / f"{name}.png", (250, 5, 5))
    run(tmp_path)
    save(tmp_path / "a.png", (5, 250, 5))
    (tmp_path / "b.png").unlink()
    assert read(tmp_path, Signs()) == 1
    assert texts(tmp_path) == {"a.png": None, "b.png": None, "c.png": "Bakery open"}


def test_an_index_remembers_whether_text_is_read(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signs = Signs()
    monkeypatch.setattr(asked, "rapidocr_reader", lambda: signs)
    monkeypatch.setattr(ocr, "has_rapidocr", lambda: True)
    many = len(opened(photos).photos)
    assert asked.index_photos(photos).read == 0
    changes = asked.index_photos(photos, ocr=True)
    assert (changes.read, changes.unchanged, changes.new) == (many, many, 0)  # none is encoded again
    save(photos / "late.png", (5, 250, 5))
    assert asked.index_photos(photos).read == 1
    save(photos / "later.png", (5, 250, 5))
    assert asked.index_photos(photos, ocr=False).read == 0
    (first,) = (one for one in opened(photos).photos if one.path == "late.png")
    assert first.described.text == ""


def test_without_rapidocr_there_is_one_sentence_and_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "has_rapidocr", lambda: False)
    with pytest.raises(CrossmodalError, match=r"pip install -r requirements-ocr\.txt"):
        asked.index_photos(tmp_path, ocr=True)
    assert list(tmp_path.iterdir()) == []


SIGNALLED = """
import gc, os, signal
import numpy as np
from crossmodal.photos.ocr import rapidocr_reader
signal.signal(signal.SIGCHLD, lambda *_: None)
for _ in range(2):
    rapidocr_reader()(np.zeros((64, 64, 3), np.uint8))
    gc.collect()
for _ in range(20):
    os.kill(os.getpid(), signal.SIGCHLD)
print("alive")
"""


def test_a_signal_after_texts_were_read_kills_nothing() -> None:
    """OpenVINO takes away a stack for signals that it gave to the thread (`openvino_core.core`)."""
    pytest.importorskip("rapidocr")
    command = [sys.executable, "-X", "faulthandler", "-c", SIGNALLED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr[-2000:]


@pytest.mark.real
def test_drawn_words_are_read_by_the_library(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    photo = Image.new("RGB", (2400, 1600), (120, 160, 200))
    draw = ImageDraw.Draw(photo)
    draw.text((200, 300), "Bakery OPEN 8-18", font=ImageFont.load_default(200), fill="white")
    draw.text((200, 1100), "Rue Garibaldi 12", font=ImageFont.load_default(70), fill="yellow")
    photo.save(tmp_path / "sign.jpg")
    save(tmp_path / "plain.png", size=(1, 900))
    run(tmp_path)
    assert read(tmp_path, rapidocr_reader()) == 2
    assert texts(tmp_path) == {"sign.jpg": "Bakery OPEN 8-18 Rue Garibaldi 12", "plain.png": ""}
    assert names(tmp_path, "garibaldi") == [("sign.jpg", ("Garibaldi",))]
