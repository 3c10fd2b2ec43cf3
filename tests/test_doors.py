"""Twenty queries through the three doors of the three galleries: the same photos, by id, with the same scores."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crossmodal import cli
from crossmodal.data.dataset import read_dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.collection import encode_dataset
from crossmodal.encoding.embeddings import model_path, save_embeddings
from crossmodal.galleries import Place, open_search
from crossmodal.page.photo_files import keep_picture
from crossmodal.photos.index import index_photos
from crossmodal.search.cutoff import Cutoff, Thresholds
from crossmodal.search.query import Calibration
from crossmodal.serving.api import create_app
from crossmodal.training.banks import make_banks
from tests.test_page import Page

COUNT = 5
# Words, weights and signs; beside them a photo's file, a photo of the gallery, filters, the order, no cut-off.
QUERIES: list[tuple[str, dict[str, Any]]] = [
    ("a red car", {}), ("car", {}), ("two dogs in the snow", {}), ("a car + a house", {}), ("dog + beach - car", {}),
    ("2:dog + cat", {}), ("- people", {}), ("0.5:boat + 2:lake", {}), ("3:15 on a clock", {}), ("dog +", {}),
    ("a boat on a lake", {"cut_off": False}), ("tree", {"image": 3}), ("", {"like": 0}), ("snow - house", {"image": 7}),
    ("", {"like": 5, "by_date": True}), ("a red car", {"image": 2, "image_weight": 0.5}), ("", {"image": 4}),
    ("a house", {"filters": {"orientation": "square"}}), ("dog", {"filters": {"megapixels": 0.001}}),
    ("street", {"filters": {"after": "2020-01-01", "before": "2020-12-31"}, "by_date": True}),
    ("a dog", {"more": [1, 4], "less": [7]}), ("a boat", {"image": 6, "image_weight": 5.0, "less": [2]}),
    ("orientation:square", {}), ("orientation:square a dog", {"image": 1}), ("folder:summer", {"more": [3]}),
    ("a house", {"filters": {"folder": "SUMMER"}}), ("a house", {"filters": {"folder": "summer", "camera": "Kodak"}}),
]  # fmt: skip
Door = Callable[[str, dict[str, Any]], list[tuple[str, float]]]


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory, collection: tuple[Path, Path], weights: Path, recipe: Any
) -> dict[str, Place]:
    """A run with its embeddings, an index of its photos, and that index in Milvus."""
    folder, (captions, images) = tmp_path_factory.mktemp("doors"), collection
    model = DualEncoder.from_recipe(recipe, weights).eval()
    model.load_state_dict(model.stored_weights())
    copy = Path(shutil.copytree(images, folder / "photos"))
    (copy / "summer").mkdir()
    for photo in sorted(copy.glob("*.jpg"))[:12]:
        photo.rename(copy / "summer" / photo.name)
    read = csv.DictReader(captions.open(newline="", encoding="utf-8"))
    rows = [[next(copy.rglob(row["image"])).relative_to(copy).as_posix(), row["caption"]] for row in read]
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "caption"], *rows])
    data = {"captions": str(folder / "captions.csv"), "images": str(copy)}
    embeddings = encode_dataset(model, read_dataset(folder / "captions.csv", copy).dataset, data, 0)
    banks = make_banks(embeddings, model.temperature)
    fingerprint = model.save(model_path(folder, 1), 1, {}, data, banks)
    save_embeddings(folder, 1, fingerprint, embeddings.with_banks(banks))
    # So that some queries show fewer photos than they are asked for, and one none.
    search = open_search(Place(checkpoint=folder))
    scores = [hit.score for hit in search.photos(search.query("two dogs in the snow"), 30, cut_off=False).hits]
    kinds: dict[Calibration, Thresholds] = {
        "sentence": Thresholds(((30, -1.0),), scores[2]), "sum of words": Thresholds(((30, 1.0),), 1.0)
    }  # fmt: skip
    (folder / "cutoff.json").write_text(json.dumps(Cutoff(kinds, "this test").plain()))
    images = copy
    index_photos(images, checkpoint=folder)
    assert cli.main(["load", str(folder / "photos.db"), "--photos", str(images)]) == 0
    return {
        "run": Place(checkpoint=folder),
        "folder": Place(photos=images),
        "milvus": Place(milvus=str(folder / "photos.db")),
    }


def named(place: Place) -> list[str]:
    """Return the options that name a gallery on the command line."""
    where = {"checkpoint": place.checkpoint, "photos": place.photos, "milvus": place.milvus}
    return [part for name, value in where.items() if value for part in (f"--{name}", str(value))]


def started(place: Place) -> tuple[list[str], dict[str, str]]:
    """Return the options that the page is started with for a gallery, and what names it in the address."""
    if place.checkpoint:
        return ["--checkpoints", str(place.checkpoint)], {"gallery": "all"}
    if place.milvus:
        return ["--milvus", str(place.milvus)], {}
    return [], {"gallery": "folder", "folder": str(place.photos)}


def by_command(place: Place, files: list[Path], capsys: pytest.CaptureFixture[str]) -> Door:
    """Ask `python -m crossmodal search`."""
    search = open_search(place)
    paths = [photo.path for photo in search.gallery.newest(30)]
    search.close()

    def ask(text: str, options: dict[str, Any]) -> list[tuple[str, float]]:
        asked = ["search", *([text] if text else []), "--top-k", str(COUNT), "--json", *named(place)]
        for name, value in options.get("filters", {}).items():
            asked += [f"--{name}", str(value)]
        asked += ["--by-date"] if options.get("by_date") else []
        asked += [] if options.get("cut_off", True) else ["--no-cut-off"]
        asked += ["--like", sorted(paths)[options["like"]]] if "like" in options else []
        for side in ("more", "less"):
            asked += [part for one in options.get(side, ()) for part in (f"--{side}", sorted(paths)[one])]
        asked += ["--image", str(files[options["image"]])] if "image" in options else []
        asked += ["--image-weight", str(options.get("image_weight", 1.0))]
        capsys.readouterr()
        assert cli.main(asked) == 0
        return [(hit["id"], hit["score"]) for hit in json.loads(capsys.readouterr().out)]

    return ask


def by_api(place: Place, files: list[Path], client: TestClient) -> Door:
    """Ask the HTTP API."""
    search = open_search(place)
    ids = {photo.path: search.gallery.id_of(photo) for photo in search.gallery.newest(30)}
    search.close()

    def ask(text: str, options: dict[str, Any]) -> list[tuple[str, float]]:
        body: dict[str, Any] = {"query": text, "top_k": COUNT}
        body |= {name: value for name, value in options.items() if name not in ("like", "image")}
        body |= {side: [ids[sorted(ids)[one]] for one in options[side]] for side in ("more", "less") if side in options}
        if "image" in options:
            filters = {name: str(value) for name, value in body.pop("filters", {}).items()}
            upload = {"file": files[options["image"]].read_bytes()}
            answer = client.post("/api/search/upload", data={**body, **filters}, files=upload)
        elif "like" in options:
            answer = client.post("/api/search/image", json={**body, "image_id": ids[sorted(ids)[options["like"]]]})
        else:
            answer = client.post("/api/search/text", json=body)
        assert answer.status_code == 200, answer.text
        return [(photo["id"], photo["score"]) for photo in answer.json()["photos"]]

    return ask


def by_page(place: Place, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> Door:
    """Ask the page by its address."""
    search = open_search(place)
    ids = {photo.path: search.gallery.id_of(photo) for photo in search.gallery.newest(30)}
    search.close()
    arguments, folder = started(place)

    def ask(text: str, options: dict[str, Any]) -> list[tuple[str, float]]:
        address = {"words": text, "count": str(COUNT), **folder}
        address |= {f"filter-{name}": str(value) for name, value in options.get("filters", {}).items()}
        address |= {"by_date": "1"} if options.get("by_date") else {}
        address |= {} if options.get("cut_off", True) else {"weaker": "1"}
        address |= {"like": ids[sorted(ids)[options["like"]]]} if "like" in options else {}
        for side in ("more", "less"):
            address |= {side: ",".join(ids[sorted(ids)[one]] for one in options.get(side, ()))}
        if "image" in options:
            token = keep_picture(files[options["image"]].read_bytes())
            address |= {"picture": token, "weight": str(options.get("image_weight", 1.0))}
        page = Page(monkeypatch, *arguments, **{name: value for name, value in address.items() if value})
        return [(hit.id, hit.score) for hit in page.hits]

    return ask


@pytest.mark.parametrize("gallery", ["run", "folder", "milvus"])
def test_every_door_ranks_alike(
    places: dict[str, Place], collection: tuple[Path, Path], gallery: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    place, files = places[gallery], sorted(collection[1].glob("*.jpg"))
    with TestClient(create_app(lambda: open_search(place))) as client:
        doors = (by_command(place, files, capsys), by_api(place, files, client), by_page(place, files, monkeypatch))
        shown = {}
        for text, options in QUERIES:
            first, *others = (door(text, options) for door in doors)
            shown[text] = len(first)
            for found in others:
                assert [id_ for id_, _ in found] == [id_ for id_, _ in first], (text, options)
                assert [score for _, score in found] == pytest.approx([score for _, score in first], abs=1e-4)
        assert len(QUERIES) >= 20
        assert 0 < shown["two dogs in the snow"] <= 3 and not shown["a car + a house"]  # the cut-off acted


@pytest.mark.parametrize("gallery", ["run", "folder", "milvus"])
def test_every_door_says_alike_how_much_each_word_counts(
    places: dict[str, Place], gallery: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, shown = places[gallery], []
    monkeypatch.setattr("crossmodal.page.large_view.bars", lambda rows, most=None: shown.append(rows) if most else None)
    monkeypatch.setattr("crossmodal.page.large_view.grid", lambda *arguments, **options: None)
    monkeypatch.setattr("crossmodal.page.large_view._heat", lambda *arguments: None)
    arguments, folder = started(place)
    with TestClient(create_app(lambda: open_search(place))) as client:
        for text, words in (("a red car", ["a", "red", "car"]), ("2:dog - two boats", ["dog", "two", "boats"])):
            capsys.readouterr()
            assert cli.main(["search", text, "--explain", "--no-cut-off", "--json", *named(place)]) == 0
            said = {hit["id"]: hit["word_weights"] for hit in json.loads(capsys.readouterr().out)}
            assert cli.main(["search", text, "--explain", "--no-cut-off", *named(place)]) == 0
            first = next(iter(said.values()))
            assert "  ".join(f"{one['word']} {one['weight']:+.3f}" for one in first) in capsys.readouterr().out
            body = {"query": text, "cut_off": False, "explain": True}
            answered = client.post("/api/search/text", json=body).json()["photos"]
            page = Page(monkeypatch, *arguments, words=text, weaker="1", **folder)
            page.opened = answered[0]["id"]
            page.run().test.toggle(key="why").set_value(True)
            page.run()
            assert list(said) == [photo["id"] for photo in answered]
            for photo, weights in zip(answered, said.values(), strict=True):
                assert [one["word"] for one in weights] == [one["word"] for one in photo["word_weights"]] == words
                expected = pytest.approx([one["weight"] for one in weights], abs=2e-4)
                assert [one["weight"] for one in photo["word_weights"]] == expected
            assert [word for word, _ in shown[-1]] == words
            assert [weight for _, weight in shown[-1]] == pytest.approx([one["weight"] for one in first], abs=2e-4)
            assert any(abs(one["weight"]) > 1e-3 for one in first)
