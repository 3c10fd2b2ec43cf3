"""The page's logic: through Streamlit's own test driver, on tiny towers and made-up photos."""

import gc
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from crossmodal.data.dataset import read_dataset
from crossmodal.data.sample import draw_sample
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.collection import encode_dataset
from crossmodal.encoding.embeddings import image_path, model_path, save_embeddings
from crossmodal.errors import BusyError, CrossmodalError
from crossmodal.galleries import Place, open_search
from crossmodal.page.address import Asked
from crossmodal.page.components import grid
from crossmodal.page.downloads import zipped
from crossmodal.page.galleries import Opened, chosen, labels
from crossmodal.page.options import options
from crossmodal.page.photo_files import PICTURES, ROUTES, keep_image, url_of
from crossmodal.page.shared import Kept, Work
from crossmodal.photos.index import index_photos
from crossmodal.progress import Advance
from crossmodal.runs.opening import checkpoint_of
from crossmodal.search.hit import Hit
from crossmodal.search.language import mostly_unknown
from crossmodal.search.record import Found, Photo
from tests.test_written import LISBON, PARIS, exif_of

ROOT = Path(__file__).resolve().parent.parent


class Page:
    """The page in Streamlit's test driver; what its own elements show is taken from what they are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *options: str, **address: str) -> None:
        self.hits: list[Hit] = []
        self.opened: str | None = None

        def shown(
            hits: list[Hit], key: str, label: str, scores: bool = True, small: bool = False, absent: str = ""
        ) -> str | None:
            if key == "results":
                self.hits = list(hits)
            opened, self.opened = (self.opened, None) if key == "results" else (None, self.opened)
            return opened

        monkeypatch.setattr("crossmodal.page.results.grid", shown)
        monkeypatch.setattr(sys, "argv", ["app.py", *options])
        self.test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
        for name, value in address.items():
            self.test.query_params[name] = value
        self.run()

    def run(self) -> "Page":
        """Run until the gallery is open."""
        self.hits = []
        self.test.run()
        deadline = time.monotonic() + 60
        while any("Opening" in bar.proto.text for bar in self.test.get("progress")):
            assert time.monotonic() < deadline
            self.test.run()
        assert not self.test.exception
        return self

    @property
    def address(self) -> dict[str, str]:
        return {name: value[0] if isinstance(value, list) else value for name, value in self.test.query_params.items()}

    @property
    def said(self) -> str:
        test = self.test
        parts = (*test.markdown, *test.text, *test.caption, *test.info, *test.warning, *test.error, *test.success)
        text = "\n".join([*(part.value for part in parts), *(one.label for one in test.expander)])
        return text.replace("\\", "")  # which have Markdown show texts as they are

    def type(self, words: str) -> "Page":
        self.test.text_input(key="asked words").set_value(words)
        return self.run()

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + 120
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.3)
            self.run()

    def press(self, label: str) -> "Page":
        next(button for button in self.test.button if button.label == label).click()
        return self.run()


def test_the_page_begins_with_photos_and_examples(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(monkeypatch, "--checkpoints", str(runs))
    assert [tab.label for tab in page.test.tabs] == ["Search", "What was learned"]
    assert len(page.hits) == 3 and not page.address
    assert "type words, press an example" in page.said
    example = page.test.button(key="example 0")
    example.click()
    page.run()
    assert page.address == {"words": example.label}
    assert page.test.text_input(key="asked words").value == example.label


def test_the_address_is_the_state(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(
        monkeypatch, "--checkpoints", str(runs), gallery="all", words="a red car", count="10", weaker="1", epoch="1"
    )
    assert len(page.hits) == 10
    assert page.test.text_input(key="asked words").value == "a red car"
    assert "epoch 1" in page.said
    page.type("a blue boat")
    assert page.address == {
        "gallery": "all",
        "words": "a blue boat",
        "count": "10",
        "epoch": "1",
    }  # weaker is of a search
    page.test.query_params["words"] = "a red car"  # as going back does
    page.run()
    assert page.test.text_input(key="asked words").value == "a red car"


def test_nonsense_in_the_address_is_left_out(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = {"gallery": "moon", "count": "many", "weight": "heavy", "filter-after": "yesterday", "filter-x": "1"}
    page = Page(monkeypatch, "--checkpoints", str(runs), **address)
    assert len(page.hits) == 3
    assert not page.test.error
    page = Page(monkeypatch, "--checkpoints", str(runs), epoch="7")
    assert "has no epoch 7" in page.said
    assert "Search a folder of mine" in [button.label for button in page.test.button]


def test_photos_are_judged_for_one_question(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="all", words="a red car", weaker="1")
    monkeypatch.setattr("crossmodal.page.large_view.grid", lambda *arguments, **options: None)
    plain = [hit.id for hit in page.hits]
    page.opened = plain[-1]
    page.run()
    page.press("More like this")
    assert page.address == {"gallery": "all", "words": "a red car", "weaker": "1", "more": plain[-1]}
    search = open_search(Place(checkpoint=checkpoint_of(runs)))
    moved = search.photos(search.query("a red car", more=plain[-1:]), 20, cut_off=False).hits
    assert [hit.id for hit in page.hits] == [hit.id for hit in moved] != plain
    other = page.hits[0].id
    page.opened = other
    page.run()
    page.press("Less like this")
    asked = {"gallery": "all", "words": "a red car", "weaker": "1"}
    assert page.address == asked | {"more": plain[-1], "less": other}
    assert "Less like" in page.said and "More like" in page.said
    page.press("Forget these")
    assert page.address == asked
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="all", words="a red car", less=other)
    page.type("a dog")
    assert "less" not in page.address
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="all", words="a red car", more="0" * 24)
    assert "no photo with this id" in page.said


def test_words_leave_like_this(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="all")
    photo = page.hits[4].id
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="all", like=photo, weaker="1")
    assert "Photos like" in page.said
    assert len(page.hits) == 20 and page.hits[0].id == photo  # as the other doors find it
    page.type("a red car")
    assert page.address == {"gallery": "all", "words": "a red car"}
    page = Page(monkeypatch, "--checkpoints", str(runs), like="0" * 24)
    assert "no photo with this id" in page.said


def test_the_large_view(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="all", words="a red car", weaker="1")
    page.opened = page.hits[1].id
    similar: list[Hit] = []
    monkeypatch.setattr("crossmodal.page.large_view.grid", lambda hits, *a, **k: similar.extend(hits))
    photo = page.hits[1]
    page.run()
    assert "Its captions" in page.said
    assert similar and photo.id not in [hit.id for hit in similar]
    page.test.toggle(key="why").set_value(True)
    page.run()
    page.press("Search like this")
    assert page.address == {"gallery": "all", "like": photo.id}


def test_a_picture_and_words(runs: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    token = keep_image(photo)
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="all", picture=token, weaker="1")
    alone = [hit.id for hit in page.hits]
    assert len(alone) == 20
    assert "Captions for your picture" in page.said
    page.type("a red car")
    assert page.address["picture"] == token
    page.test.slider(key="asked weight").set_value(0.1)
    page.run()
    assert [hit.id for hit in page.hits] != alone
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="all", picture="gone")
    assert "no longer here" in page.said


def test_a_folder_and_milvus_at_once() -> None:
    given = options(["--photos", "mine", "--milvus", "http://here", "--index", "there"])
    assert labels(given, None)["milvus"] == "Milvus: crossmodal" and chosen(Asked(), given).name == "milvus"
    assert given.index_of(Path("mine")) == Path("there")
    assert given.index_of(Path("other")).parent == Path("other")


def test_what_is_missing_is_said_and_others_are_offered(
    runs: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, model: DualEncoder
) -> None:
    monkeypatch.setattr("crossmodal.page.page.drawing", lambda: None)
    page = Page(monkeypatch, "--checkpoints", str(tmp_path_factory.mktemp("empty")), gallery="folder")
    assert "There is no checkpoint in" in page.said and "shipped model" in page.said
    page = Page(monkeypatch, "--checkpoints", str(runs), "--frobnicate")
    assert "--frobnicate" in page.said and "--photos DIR" in page.said
    assert len(page.hits) == 3  # of the run that was named: what is known counts
    image_path(runs, 1).unlink()
    page = Page(monkeypatch, "--checkpoints", str(runs), epoch="1")
    assert "python -m crossmodal embed --checkpoint" in page.said
    model_path(runs, 1).write_bytes(b"torn")
    page = Page(monkeypatch, "--checkpoints", str(runs))
    assert page.test.error and "model_epoch_1.pt" in page.said
    offered = [button.label for button in page.test.button]
    assert "Search a folder of mine" in offered
    page.press("Search a folder of mine")
    assert "Type the path of a folder" in page.said


def test_embeddings_that_are_made_anew_are_seen(
    runs: Path, collection: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, model: DualEncoder
) -> None:
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="all", words="a red car", weaker="1")
    before = [hit.name for hit in page.hits]
    dataset = read_dataset(*collection).dataset
    made = encode_dataset(model, dataset, {"images": str(collection[1])}, 0)
    fingerprint = model.save(model_path(runs, 1), 1, {}, {})
    save_embeddings(runs, 1, fingerprint, type(made)(**{**made.__dict__, "images": made.images.flip(0)}))
    assert [hit.name for hit in page.run().hits] != before


def test_a_folder(runs: Path, collection: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos = tmp_path / "mine"
    shutil.copytree(collection[1], photos)
    (photos / "broken.jpg").write_text("no photo")
    index = tmp_path / "index"
    page = Page(monkeypatch, "--checkpoints", str(runs), "--photos", str(photos), "--index", str(index))
    page.test.text_input(key="asked words")  # the search box is there before the index
    page.press("Index this folder")
    page.wait_for("30 photos in the index")
    assert index.is_dir() and not (photos / ".crossmodal").exists()
    assert "1 file cannot be used" in page.said and "--verbose" not in page.said
    assert "Model: tiny" in page.said
    assert len(page.hits) == 20
    page.test.selectbox(key="asked filter orientation").set_value("portrait")
    page.run()
    assert page.address["filter-orientation"] == "portrait"
    assert "No photo passes these filters" in page.said and not page.hits
    page.test.button(key="reset filters").click()
    assert len(page.run().hits) == 20 and "filter-orientation" not in page.address
    page.type("a car orientation:portrait")
    assert "No photo passes these filters" in page.said and not page.hits
    page.test.button(key="piece 0").click()  # a filter in the words is taken away
    assert page.run().hits and page.address["words"] == "a car"
    page.type("a car orientation:portrait -wheels")
    page.test.button(key="reset filters").click()  # and so are all, but for words
    assert page.run().hits and page.address["words"] == "a car -wheels"
    page.type("orientation:landscape")
    assert len(page.hits) == 20 and "newest first" in page.said
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="folder", folder=str(tmp_path / "nowhere"))
    assert "nowhere is not there" in page.said


def test_a_folder_is_indexed_with_the_shipped_model_where_the_run_is_corrupt(
    runs: Path, collection: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos, shipped = tmp_path / "mine", tmp_path / "shipped"
    shutil.copytree(collection[1], photos)
    shutil.copytree(runs, shipped)
    monkeypatch.setattr("crossmodal.page.page.SHIPPED", shipped)
    torn = model_path(runs, 1)
    torn.write_bytes(torn.read_bytes()[:-9999])
    page = Page(monkeypatch, "--checkpoints", str(runs), "--photos", str(photos))
    page.press("Index this folder")
    page.wait_for("30 photos in the index")
    assert "The shipped model was taken for this folder" in page.said and "model_epoch_1.pt" in page.said
    assert str(shipped) in page.said and len(page.hits) == 20


def test_two_folders_begun_at_once_prepare_a_model_once(
    runs: Path, collection: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossmodal.page import background
    from crossmodal.runs.models import Maker

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    loaded, load = [], Maker.model

    def counted(maker: Maker) -> object:
        loaded.append(maker)
        return load(maker)

    monkeypatch.setattr(Maker, "model", counted)
    # A tiny model may be faster in torch, which each would then load.
    monkeypatch.setattr("crossmodal.encoding.openvino_export._seconds", lambda _: 0.0)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        shutil.copytree(collection[1], folder)
        background.index(folder, folder / ".crossmodal", model_path(runs, 1))
    for folder in folders:
        work = background.indexing(folder)
        assert work and work.result(120)
    assert len(loaded) == 1


def test_a_word_is_taught(runs: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hits = open_search(Place(photos)).newest(3)
    judged = {"words": "a red car", "more": ",".join(hit.id for hit in hits[:2]), "less": hits[2].id}
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="folder", folder=str(photos), **judged)

    def teach(name: str) -> None:
        page.test.text_input(key="taught name").set_value(name)
        page.test.text_input(key="taught kind").set_value("dog")
        page.press("Teach this name")

    teach("- Rex")
    assert "'- Rex' cannot be a name" in page.said and page.address["words"] == "a red car"
    teach("Rex")
    assert page.address == {"gallery": "folder", "folder": str(photos), "words": "Rex"}
    assert "Rex: dog, 2 photos show it, 1 does not" in page.said and "1 word taught here" in page.said
    search = open_search(Place(photos))
    assert [hit.id for hit in page.hits] == [hit.id for hit in search.photos(search.query("Rex"), 20).hits]
    page.test.text_input(key="new name word rex").set_value("Bello")
    page.run()
    assert "Rex is Bello from now on." in page.said
    page.press("Forget")
    assert "Forgot Bello." in page.said and "taught here" not in page.said
    assert not search.taught.entries()


def test_a_search_is_saved_as_an_album(runs: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="folder", folder=str(photos))
    assert not page.test.get("popover") and "album" not in page.said  # nothing is searched for
    page.test.query_params["filter-orientation"] = "landscape"
    page.run().type("a red car - a dog").press("Save this search")
    assert "A name has 1 to 60 characters" in page.said

    def save(name: str) -> None:
        page.test.text_input(key="album name").set_value(name)
        page.press("Save this search")

    save("Cars")
    assert "Saved Cars." in page.said and "1 album" in page.said
    assert "Cars: a red car - a dog orientation:landscape (30 photos)" in page.said
    save("cars")
    assert "There is an album 'cars' already" in page.said
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="folder", folder=str(photos))
    page.press("Open")
    assert page.address["words"] == "a red car - a dog orientation:landscape" and page.hits
    page.test.text_input(key="new name album cars").set_value("Red ones")
    page.run()
    assert "Cars is Red ones from now on." in page.said
    page.type('album:"red ones" orientation:portrait')
    assert "No photo passes these filters" in page.said
    page.test.button(key="piece 1").click()
    assert page.run().hits and page.address["words"] == 'album:"red ones"'
    page.press("Forget")
    assert "Forgot Red ones." in page.said and "There is no album 'red ones'" in page.said


def test_a_search_is_narrowed_by_when_and_where(
    runs: Path, collection: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, clicks = tmp_path / "mine", {"months": {"when": "2019-03"}}
    shutil.copytree(collection[1], photos)
    for number, path in enumerate(sorted(photos.iterdir())):
        os.utime(path, (datetime(2019, 1 + number % 3, 5).timestamp(),) * 2)
    lisbon, paris = sorted(photos.iterdir())[-2:]
    for path, gps in ((lisbon, LISBON), (paris, PARIS)):
        with Image.open(path) as photo:
            photo.save(path, exif=exif_of(gps=gps))
        os.utime(path, (datetime(2015, 1, 5).timestamp(),) * 2)
    index_photos(photos, checkpoint=checkpoint_of(runs))
    given: list[dict[str, int]] = []
    monkeypatch.setattr("crossmodal.page.narrowing.time_chart", given.append)
    monkeypatch.setattr("crossmodal.page.narrowing.clicked", lambda chart, key, of: clicks.pop(key, None))
    page = Page(monkeypatch, "--checkpoints", str(runs), gallery="folder", folder=str(photos), words="a dog 2019")
    assert "When and where" in page.said and not given  # nothing is counted before it is opened
    page.test.session_state["when and where"] = True
    page.run()
    assert given == [{"2019-01": 10, "2019-02": 9, "2019-03": 9}]
    assert page.address["words"] == "a dog 2019-03"  # in place of the year
    page.test.button(key="piece 0").click()
    page.run()
    assert given[-1] == {"2015": 2, "2016": 0, "2017": 0, "2018": 0, "2019": 28}
    clicks["months"] = {"when": "2016"}
    assert page.run().address["words"] == "a dog"  # an empty year is no choice
    where = page.test.button_group(key="asked where")
    assert "Portugal (1)" in where.options
    where.set_value("Portugal")
    page.run()
    assert page.address["words"] == "a dog in:Portugal"
    assert [hit.name for hit in page.hits] == [lisbon.name]
    clicks["map of places"] = {"place": "Paris"}
    assert page.run().address["words"] == "a dog in:Portugal"  # one place alone is no map
    page.type("a dog")
    assert page.address["words"] == "a dog in:Paris"
    assert [hit.name for hit in page.hits] == [paris.name]


# --- its parts ---


def test_a_gallery_is_closed_when_nobody_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    gallery: Any = SimpleNamespace(close=lambda: closed.append(True), about=None)
    for part in ("begin_model", "examples"):
        monkeypatch.setattr(f"crossmodal.page.galleries.{part}", lambda of: None)
    opened = Opened(gallery, cast(Any, None))
    gc.collect()
    assert not closed
    del opened
    gc.collect()
    assert closed


def test_most_words_unknown() -> None:
    vocabulary = frozenset("two dogs playing in the snow im und am strand hund a man at la plage des".split())
    assert mostly_unknown("ein Hund am Strand", vocabulary)
    assert mostly_unknown("un chien sur la plage", vocabulary)
    assert not mostly_unknown("a man at the beach", frozenset("beach".split()))
    assert not mostly_unknown("two dogs playing in the snow", vocabulary)
    assert not mostly_unknown("two corgis playing in the snow", vocabulary)
    assert mostly_unknown("zwei Hunde spielen im Schnee", vocabulary)
    assert mostly_unknown("雪の中の犬", vocabulary)
    assert mostly_unknown("犬", vocabulary | {"犬"}) and mostly_unknown("собака", vocabulary)
    for word in "snowboarder frisbees dachshund kayaking toddlers".split():  # which a tokenizer has in pieces
        assert not mostly_unknown(f"a {word}", vocabulary)
    assert not mostly_unknown("who met", vocabulary)
    assert not mostly_unknown("42", vocabulary)
    assert not mostly_unknown("zwei Hunde", frozenset())


def test_what_is_kept_is_bounded_and_fresh() -> None:
    kept = Kept(len, most_bytes=25)
    made: list[str] = []

    def get(key: str, stamp: int = 0) -> bytes | None:
        def make(_: Work[bytes]) -> bytes:
            made.append(key)
            return bytes(10)

        return kept.get(key, stamp, "Making", make).result()

    get("a"), get("b"), get("a")
    assert made == ["a", "b"]
    get("c"), get("d"), get("a")
    assert made == ["a", "b", "c", "d", "a"]  # b and a made room
    get("a", stamp=1)
    assert made[-1] == "a" and len(made) == 6


def test_drawings_that_are_looked_at_are_drawn_first(tmp_path: Path) -> None:
    drawn: list[set[str]] = []

    @contextmanager
    def bars(title: str, total: int, unit: str) -> Iterator[Advance]:
        yield lambda count: drawn.append({path.name for path in (tmp_path / "a" / "images").iterdir()})

    _, images = draw_sample(tmp_path / "a", 5, seed=3, bars=bars, wanted=lambda: ["absent", "scene_3_0003.jpg"])
    assert drawn[0] == {"scene_3_0003.jpg"} and len(drawn[-1]) == 5
    _, others = draw_sample(tmp_path / "b", 5, seed=3)
    assert all((others / path.name).read_bytes() == path.read_bytes() for path in images.iterdir())


def test_work_is_done_once_for_all_sessions() -> None:
    kept, made, begun = Kept(len), [], threading.Barrier(8)

    def work(_: Work[bytes]) -> bytes:
        made.append(1)
        time.sleep(0.05)
        return b"x"

    def session() -> None:
        begun.wait()
        assert kept.get("a", 0, "Making", work).result() == b"x"

    threads = [threading.Thread(target=session) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_work_that_failed_says_why_and_is_tried_again() -> None:
    kept, reasons = Kept(len), [CrossmodalError("no room"), ValueError("odd"), None]

    def work(_: Work[bytes]) -> bytes:
        reason = reasons.pop(0)
        if reason:
            raise reason
        return b"x"

    for match in ("no room", "stopped unexpectedly"):
        while not kept.get("a", 0, "Making", work).finished:  # looking does not begin it again
            time.sleep(0.01)
        with pytest.raises(CrossmodalError, match=match):
            kept.get("a", 0, "Making", work).result()
    assert kept.get("a", 0, "Making", work).result() == b"x"


def test_photos_come_by_url_and_paths_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    client = TestClient(Starlette(routes=ROUTES))
    path = tmp_path / "a photo.png"
    Image.new("RGB", (900, 600), "red").save(path)
    url = url_of("f00", path)
    assert url and str(tmp_path) not in url and "photo.png" not in url
    answer = client.get(url)
    assert answer.headers["content-type"] == "image/jpeg" and "immutable" in answer.headers["cache-control"]
    original = client.get(url_of("f00", path, "original") or "")
    assert original.content == path.read_bytes() and "attachment" in original.headers["content-disposition"]
    Image.new("RGB", (90, 60), "blue").save(path)
    assert url_of("f00", path) != url  # another content has another address
    assert client.get("photos/abc/small").status_code == client.get("photos/f00/huge").status_code == 404
    assert url_of("f01", tmp_path / "gone.jpg") is None


def test_pictures_are_taken_from_the_page_alone(tmp_path: Path, photo: Image.Image) -> None:
    client = TestClient(Starlette(routes=ROUTES))
    path = tmp_path / "photo.png"
    photo.save(path)
    said = {"X-Picture-Name": "photo.png"}
    token = client.post("/pictures", content=path.read_bytes(), headers=said).json()["token"]
    assert PICTURES.get(token) and client.get(f"/pictures/{token}").headers["content-type"] == "image/jpeg"
    assert client.post("/pictures", content=path.read_bytes()).status_code == 403
    broken = client.post("/pictures", content=b"no photo", headers=said)
    assert broken.status_code == 400 and "photo.png is not a photo" in broken.json()["error"]


def test_a_picture_waits_for_its_turn_and_then_the_page_is_busy(
    monkeypatch: pytest.MonkeyPatch, photo: Image.Image
) -> None:
    def busy(content: bytes, wanted: object) -> None:
        raise BusyError("Too many photos are being decoded already; try again soon.")

    client, token = TestClient(Starlette(routes=ROUTES)), keep_image(photo)
    monkeypatch.setattr("crossmodal.page.photo_files.uploads", lambda: busy)
    for answer in (
        client.post("/pictures", content=b"photo", headers={"X-Picture-Name": "photo.png"}),
        client.get(f"/pictures/{token}"),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_a_zip_holds_the_photos_that_are_there(tmp_path: Path) -> None:
    import io
    import zipfile

    (tmp_path / "a.jpg").write_bytes(b"a")
    hits = [Hit(name, 0.5, Photo(Found(name, 1, 0)), tmp_path / name) for name in ("a.jpg", "gone.jpg")]
    assert zipfile.ZipFile(io.BytesIO(zipped(hits))).namelist() == ["a.jpg"]


def test_a_tile_says_what_it_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    class Result:
        open = None

    def component(**arguments: object) -> Result:
        given.update(arguments)
        return Result()

    monkeypatch.setattr("crossmodal.page.components._GRID", component)
    hits = [
        Hit("1", 0.512, Photo(Found("trip/a.jpg", 1, 0)), tmp_path / "a.jpg"),
        Hit("2", 0.5, Photo(Found("b.jpg", 1, 0), captions=("Two dogs.",)), tmp_path / "b.jpg"),
    ]
    grid(hits, "results", "Photos")
    tiles = given["data"][0]["tiles"]  # type: ignore[index]
    assert [tile["opens"] for tile in tiles] == [
        "Open photo 1, similarity 0.51, a.jpg",
        "Open photo 2, b.jpg: similarity 0.50, Two dogs.",
    ]
    assert [tile["alt"] for tile in tiles] == ["a.jpg", "Two dogs."]
    assert [tile["score"] for tile in tiles] == ["0.51", "0.50"] and tiles[0]["url"] is None


def test_the_stored_scenes_are_of_their_model_and_sentences(tmp_path: Path) -> None:
    import torch

    from crossmodal.encoding.everyday_embeddings import everyday_path, load_everyday, save_everyday
    from crossmodal.errors import CheckpointError

    path = everyday_path(tmp_path, 3)
    save_everyday(tmp_path, 3, "model", ["a", "b"], torch.eye(2))
    np.testing.assert_array_equal(load_everyday(path, "model", ["a", "b"]), np.eye(2))
    for fingerprint, sentences in (("other", ["a", "b"]), ("model", ["a", "c"])):
        with pytest.raises(CheckpointError, match="of another model, or of other sentences"):
            load_everyday(path, fingerprint, sentences)


def test_one_runtime_for_all_galleries_of_a_model(tmp_path: Path) -> None:
    from crossmodal.page.galleries import MODELS, runtime_of
    from crossmodal.runs.models import Maker

    makers = [Maker(f"{number:032x}", tmp_path / "absent.pt", "a gallery", "python") for number in range(MODELS + 1)]
    first = runtime_of(makers[0])
    assert runtime_of(makers[0]) is first
    others = [runtime_of(maker) for maker in makers[1:]]
    assert runtime_of(makers[-1]) is others[-1]
    assert runtime_of(makers[0]) is not first  # the one that was used longest ago is let go


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, "/".join("a" * 100 for _ in range(100))])
def test_what_no_folder_can_be_called_is_one_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(CrossmodalError, match="is no name that a folder can have"):
        chosen(Asked(gallery="folder", folder=f"{tmp_path}/{name}"), options(["--below", str(tmp_path)]))
