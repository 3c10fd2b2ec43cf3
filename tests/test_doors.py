"""Twenty queries through the three doors of the three galleries: the same photos, by id, with the same scores."""

import json
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
from crossmodal.photos.index import index_photos
from crossmodal.serving.api import create_app

COUNT = 5
# Words, weights and signs; what is beside them: a photo of the gallery, filters, the order, no cut-off.
QUERIES: list[tuple[str, dict[str, Any]]] = [
    ("a red car", {}), ("car", {}), ("two dogs in the snow", {}), ("a car + a house", {}), ("dog + beach - car", {}),
    ("2:dog + cat", {}), ("- people", {}), ("0.5:boat + 2:lake", {}), ("3:15 on a clock", {}), ("dog +", {}),
    ("a boat on a lake", {"cut_off": False}), ("tree", {"like": 3}), ("", {"like": 0}), ("snow - house", {"like": 7}),
    ("", {"like": 5, "image_weight": 3.0}), ("a red car", {"like": 2, "image_weight": 0.25}),
    ("a house", {"filters": {"orientation": "square"}}), ("dog", {"filters": {"megapixels": 0.001}}),
    ("a red car", {"by_date": True}), ("street", {"filters": {"after": "2020-01-01", "before": "2020-12-31"}}),
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
    data = {"captions": str(captions), "images": str(images)}
    fingerprint = model.save(model_path(folder, 1), 1, {}, data)
    save_embeddings(folder, 1, fingerprint, encode_dataset(model, read_dataset(captions, images).dataset, data, 0))
    index_photos(images, index=folder / "index", checkpoint=folder)
    assert cli.main(["load", str(folder / "photos.db"), "--photos", str(images), "--index", str(folder / "index")]) == 0
    return {
        "run": Place(checkpoint=folder),
        "folder": Place(photos=images, index=folder / "index"),
        "milvus": Place(milvus=str(folder / "photos.db")),
    }


def by_command(place: Place, capsys: pytest.CaptureFixture[str]) -> Door:
    """Ask `python -m crossmodal search`."""
    where = {"checkpoint": place.checkpoint, "photos": place.photos, "index": place.index, "milvus": place.milvus}
    named = [part for name, value in where.items() if value for part in (f"--{name}", str(value))]
    search = open_search(place)
    paths = [photo.path for photo in search.gallery.newest(30)]
    search.close()

    def ask(text: str, options: dict[str, Any]) -> list[tuple[str, float]]:
        asked = ["search", *([text] if text else []), "--top-k", str(COUNT), "--json", *named]
        for name, value in options.get("filters", {}).items():
            asked += [f"--{name}", str(value)]
        asked += ["--by-date"] if options.get("by_date") else []
        asked += [] if options.get("cut_off", True) else ["--no-cut-off"]
        asked += ["--like", sorted(paths)[options["like"]]] if "like" in options else []
        asked += ["--image-weight", str(options.get("image_weight", 1.0))]
        capsys.readouterr()
        assert cli.main(asked) == 0
        return [(hit["id"], hit["score"]) for hit in json.loads(capsys.readouterr().out)]

    return ask


def by_api(place: Place, client: TestClient) -> Door:
    """Ask the HTTP API."""
    search = open_search(place)
    ids = {photo.path: search.gallery.id_of(photo) for photo in search.gallery.newest(30)}
    search.close()

    def ask(text: str, options: dict[str, Any]) -> list[tuple[str, float]]:
        body: dict[str, Any] = {"query": text, "top_k": COUNT}
        body |= {name: value for name, value in options.items() if name != "like"}
        route = "text"
        if "like" in options:
            route, body["image_id"] = "image", ids[sorted(ids)[options["like"]]]
        answer = client.post(f"/api/search/{route}", json=body)
        assert answer.status_code == 200, answer.text
        return [(photo["id"], photo["score"]) for photo in answer.json()["photos"]]

    return ask


@pytest.mark.parametrize("gallery", ["run", "folder", "milvus"])
def test_every_door_ranks_alike(places: dict[str, Place], gallery: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = places[gallery]
    command = by_command(place, capsys)
    with TestClient(create_app(lambda: open_search(place))) as client:
        api = by_api(place, client)
        for text, options in QUERIES:
            expected, found = command(text, options), api(text, options)
            assert [id_ for id_, _ in found] == [id_ for id_, _ in expected], (text, options)
            assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=2e-4)
