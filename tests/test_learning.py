"""Learn from me, on tiny towers: captions on the page, the training in the background, what came of it."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from crossmodal.data.captions import read_captions
from crossmodal.errors import CrossmodalError
from crossmodal.galleries import Place, open_search
from crossmodal.page import training
from crossmodal.page.own_captions import _edits
from crossmodal.photos.own_captions import OWN_CAPTIONS, Edit, OwnCaptions
from crossmodal.photos.store import Store, index_folder
from crossmodal.runs.folder import results_of
from tests.test_page import Page


def write(collection: tuple[Path, Path], folder: Path, captions: int) -> OwnCaptions:
    """Write captions of the drawn scenes, one a photo."""
    rows = {row.image: row.caption for row in read_captions(collection[0], lambda name: name).rows}
    file = OwnCaptions(index_folder(folder) / OWN_CAPTIONS)
    file.edit([Edit(image, "", caption) for image, caption in list(rows.items())[:captions]])
    return file


def waited(folder: Path) -> training.Work[Path]:
    work = training.training(folder)
    assert work
    deadline = time.monotonic() + 600
    while not work.finished:
        assert time.monotonic() < deadline, work.progress.text
        time.sleep(0.2)
    return work


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty photos are enough here, and two epochs."""
    monkeypatch.setattr("crossmodal.photos.own_captions.NEEDED", 20)
    monkeypatch.setattr("crossmodal.photos.own_captions.LEAST", {"test": 1, "val": 1})
    monkeypatch.setattr("crossmodal.photos.own_captions.EPOCHS", 2)


def test_captions_are_written_in_the_large_view(
    runs: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crossmodal.page.large_view.grid", lambda *arguments, **options: None)
    hit = open_search(Place(photos)).newest(1)[0]
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="folder", folder=str(photos), photo=hit.id)
    file = OwnCaptions(index_folder(photos) / OWN_CAPTIONS)
    for caption in ("Rex asleep", "On the sofa"):
        page.test.text_input(key=f"caption written {hit.id}").set_value(caption)
        page.run()
    assert file.captions() == {hit.photo.path: ["Rex asleep", "On the sofa"]}
    assert "2 captions of 1 photo" in page.said and "1 of 20 photos have a caption of yours" in page.said
    page.test.button(key="take away 0").click()
    page.run()
    assert file.captions() == {hit.photo.path: ["On the sofa"]}
    assert next(button for button in page.test.button if button.label == "Train on these").disabled
    file.path.write_text("no captions")
    assert "captions.csv is broken" in page.run().said


def test_the_table_gives_edits() -> None:
    rows = [("a.jpg", ""), ("b.jpg", "A dog."), ("b.jpg", "A cat.")]
    changes: dict[int, dict[str, Any]] = {0: {"caption": "A boat."}, 1: {"caption": None}, 2: {}}
    assert _edits(rows, changes) == [Edit("a.jpg", "", "A boat."), Edit("b.jpg", "A dog.", "")]


def test_a_model_learns_and_makes_the_index(
    runs: Path,
    photos: Path,
    collection: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = write(collection, photos, 30)
    (photos / next(iter(file.captions()))).unlink()  # one that vanished ends nothing
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="folder", folder=str(photos))
    assert "29 captions of 29 photos" in page.said and "1 caption of photos that are gone" in page.said
    page.press("Train on these")
    training.train(photos, index_folder(photos), runs)  # another session, at the same time
    run = waited(photos).result()
    assert run and run.parent == runs and [path.name for path in runs.glob("learned-*")] == [run.name]
    assert [record["epoch"] for record in results_of(run)] == [0, 1, 2]
    again = Page(monkeypatch, "--checkpoints", str(runs), gallery="folder", folder=str(photos))
    (learned,) = training.learned(file.path, runs).result() or []
    assert learned.run == run and learned.before["captions"] == learned.after["captions"] > 0
    assert again.run().said.count("that it never saw, the right photo came first for") == 1
    with Store(index_folder(photos), writable=False) as store:
        before = store.meta["fingerprint"]
    again.press("Use this model for the index")
    deadline = time.monotonic() + 300
    while open_search(Place(photos)).gallery.about.checkpoint != learned.checkpoint:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    with Store(index_folder(photos), writable=False) as store:
        assert store.meta["fingerprint"] != before
    assert file.captions()


def test_a_training_that_fails_says_why(
    runs: Path,
    photos: Path,
    collection: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(collection, photos, 30)
    options = training.training_options
    monkeypatch.setattr(training, "training_options", lambda *places: [*options(*places), "--epochs", "-1"])
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="folder", folder=str(photos))
    page.press("Train on these")
    assert waited(photos).error
    assert "The training failed: --epochs -1 should be greater than 0." in page.run().said
    assert not next(button for button in page.test.button if button.label == "Train on these").disabled


def test_too_few_captions_begin_nothing(
    runs: Path,
    photos: Path,
    collection: tuple[Path, Path],
) -> None:
    write(collection, photos, 3)
    training.train(photos, index_folder(photos), runs)
    with pytest.raises(CrossmodalError, match="3 of 20 photos"):
        waited(photos).result()
    assert not list(runs.glob("learned-*"))


@pytest.mark.parametrize(
    ("log", "code", "words"),
    [
        ("Epoch 1:  50%|##  \rEpoch 1: 100%|####\n5 of 9 rows cannot be used.\n", 1, "5 of 9 rows cannot be used."),
        ("Traceback (most recent call last):\n  File\nValueError: odd\n", 1, "it stopped unexpectedly; "),
        ("", 1, "it stopped unexpectedly; "),
        ("Epoch 1\n", -signal.SIGKILL, "it was ended by the system (SIGKILL)"),
    ],
)
def test_the_reason_of_a_failure(log: str, code: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(log)
    assert training.reason(tmp_path / "log", code).startswith(words)
