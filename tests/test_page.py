"""The page: through Streamlit's own test driver on tiny towers, and in a real browser on the shipped model."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from crossmodal.data.dataset import read_dataset
from crossmodal.data.sample import draw_sample
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.collection import encode_dataset
from crossmodal.encoding.embeddings import image_path, model_path, save_embeddings
from crossmodal.files import append_line

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def runs(model: DualEncoder, collection: tuple[Path, Path], tmp_path: Path) -> Path:
    """A folder of runs with two epochs."""
    captions, images = collection
    dataset = read_dataset(captions, images).dataset
    data = {"captions": str(captions), "images": str(images)}
    model.load_state_dict(model.stored_weights())
    metrics = {f"{way}_r{k}": 12.5 for way in ("t2i", "i2t") for k in (1, 5, 10)} | {"rsum": 75.0, "images": 3}
    for epoch in (1, 2):
        fingerprint = model.save(model_path(tmp_path, epoch), epoch, metrics, data)
        save_embeddings(tmp_path, epoch, fingerprint, encode_dataset(model, dataset, data, 0))
        append_line(tmp_path / "results.jsonl", {"epoch": epoch, "loss": 1.0, **metrics})
    return tmp_path


def opened(runs: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(sys, "argv", ["app.py", "--checkpoints", str(runs)])
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()


def html_of(page: AppTest) -> str:
    return "".join(markdown.value for markdown in page.markdown)


def test_a_sentence_finds_photos(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(runs, monkeypatch)
    assert not page.exception
    assert not page.error
    assert [tab.label for tab in page.tabs] == ["Text → photos", "Photo → captions", "What was learned", "Your photos"]
    assert html_of(page).count("<figure") == 0
    page.selectbox[1].set_value("all").run()
    page.text_input[0].set_value("a red car").run()
    assert html_of(page).count("<figure") == 10
    assert html_of(page).count("<img") == 10
    page.slider[0].set_value(3).run()
    assert html_of(page).count("<figure") == 3
    page.button[1].click().run()
    assert page.text_input[0].value == "a red car on a street"
    page.text_input[0].set_value("   ").run()
    assert "The query is empty" in page.warning[0].value


def test_epochs_and_splits_can_be_chosen(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(runs, monkeypatch)
    assert page.select_slider[0].options == ["1", "2"]
    page.select_slider[0].set_value(2).run()
    assert not page.exception
    assert "epoch 2" in page.sidebar.caption[0].value
    page.selectbox[1].set_value("val").run()
    assert page.metric[0].value == "3"
    page.selectbox[1].set_value("all").run()
    assert page.metric[0].value == "30"


def test_what_is_missing_is_one_sentence(
    runs: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, model: DualEncoder
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    page = opened(empty, monkeypatch)
    assert "There is no checkpoint in" in page.error[0].value
    image_path(runs, 1).unlink()
    page = opened(runs, monkeypatch)
    page.select_slider[0].set_value(1).run()
    assert "python -m crossmodal embed --checkpoint" in page.error[0].value
    next(model.text_projection.parameters()).data += 1
    model.save(model_path(runs, 2), 2, {}, {})
    page = opened(runs, monkeypatch)
    page.select_slider[0].set_value(2).run()
    assert "made by another model" in page.error[0].value
    assert not page.exception


def test_photos_that_were_moved_are_said(
    runs: Path, collection: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["app.py", "--checkpoints", str(runs), "--images", str(tmp_path / "elsewhere")])
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
    page.text_input[0].set_value("a dog").run()
    assert "--images DIR" in page.warning[0].value


# --- in a browser, as its user would ---


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of the page on the shipped checkpoint, in a copy of the project that was never started."""
    if not list((ROOT / "model-checkpoints" / "shipped").glob("model_epoch_*.pt")):
        pytest.skip("the shipped checkpoint is not here")
    copy = tmp_path / "project"
    copy.mkdir()
    for name in ("app.py", "crossmodal", ".streamlit"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, copy / name)
    shutil.copytree(
        ROOT / "model-checkpoints" / "shipped",
        copy / "model-checkpoints" / "shipped",
        ignore=shutil.ignore_patterns("*_embeds_*"),
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "app.py",
        "--server.headless",
        "true",
        "--server.port",
        str(port),
    ]
    process = subprocess.Popen(command, cwd=copy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


def test_your_photos(
    model: DualEncoder, runs: Path, collection: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos = tmp_path / "mine"
    shutil.copytree(collection[1], photos)
    monkeypatch.setattr(sys, "argv", ["app.py", "--checkpoints", str(runs), "--photos", str(photos)])
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
    page.button(key="index photos").click().run()
    deadline = time.monotonic() + 60
    while not any("30 photos in the index" in said.value for said in page.success):
        assert time.monotonic() < deadline, [error.value for error in page.error]
        time.sleep(0.3)
        page.run()
    page.toggle[0].set_value(False).run()  # what weights at random score says nothing
    page.text_input(key="photo query").set_value("a red car").run()
    assert not page.exception
    assert sum(1 for button in page.button if str(button.key).startswith("open")) == 20
    page.text_input(key="photos folder").set_value(str(tmp_path / "nowhere")).run()
    assert "nowhere is not there" in page.error[0].value


@pytest.mark.real
def test_in_chromium(served: str, tmp_path: Path, browser: "Chrome") -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def wait(selector: str, count: int = 1, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while len(browser.find_elements(By.CSS_SELECTOR, selector)) < count:
            assert time.monotonic() < deadline, (
                f"{selector} did not appear: {browser.find_element(By.TAG_NAME, 'body').text[:500]}"
            )
            time.sleep(0.3)

    for _ in range(100):
        try:
            browser.get(served)
            break
        except Exception:
            time.sleep(0.5)
    box = "input[aria-label='What should be in the photo?']"
    wait(box)  # the sample is drawn and encoded before that
    assert "drawings made by this project" in browser.find_element(By.TAG_NAME, "body").text
    browser.find_element(By.CSS_SELECTOR, box).send_keys("two orange houses in the snow" + Keys.ENTER)
    wait(".cm-card img", 10, 60)
    first = " ".join(card.text.lower() for card in browser.find_elements(By.CSS_SELECTOR, ".cm-card")[:3])
    assert "orange" in first
    assert "house" in first or "cottage" in first
    browser.find_elements(By.CSS_SELECTOR, "[role=tab]")[1].click()
    photo = tmp_path / "photo.png"
    _, images = draw_sample(tmp_path / "drawn", 3, seed=99)
    Image.open(sorted(images.iterdir())[0]).save(photo)
    browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(photo))
    wait(".cm-list li", 10, 120)
    (tmp_path / "broken.jpg").write_text("no photo")
    browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(tmp_path / "broken.jpg"))
    wait("[data-testid=stAlert]", 1, 60)
    assert "broken.jpg is not a photo" in browser.find_element(By.CSS_SELECTOR, "[data-testid=stAlert]").text
