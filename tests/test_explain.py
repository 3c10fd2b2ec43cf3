"""Why a photo matched: the heat map against masking, the words against leaving them out."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from limits import parse
from PIL import Image
from torch import Tensor

from crossmodal.data.preprocessing import Preprocessing
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoder import Encoder
from crossmodal.search.heat_map import heat_map, overlaid
from crossmodal.search.query import Term
from crossmodal.search.word_weights import word_weights
from crossmodal.serving.guards import Limits
from crossmodal.towers.published_clip import published_clip
from tests.test_api import Client, found, uploaded
from tests.test_api import client as client  # a fixture
from tests.test_api import search as search  # a fixture
from tests.test_published_clip import MOBILE


def test_the_heat_is_what_each_place_adds(model: DualEncoder, photo: Image.Image) -> None:
    """With mean pooling and a linear projection, the places' parts add up to the similarity less the bias's part."""
    query = torch.nn.functional.normalize(torch.randn(32, generator=torch.Generator().manual_seed(0)), dim=0)
    with torch.no_grad():
        grid = model.image_tower.grid(model.preparation(photo)[None])
        projected = model.image_projection(model.image_tower.pooled(grid))[0]
        unit = projected / projected.norm()
        # Along the unit vector the gradient of a normalised vector has no part.
        direction = (query - (unit @ query) * unit) / projected.norm()
        each = torch.einsum("chw,dc,d->hw", grid[0], model.image_projection.weight, direction) / grid[0, 0].numel()
    expected = each.clamp(min=0)
    found = heat_map(model, photo, query.numpy())
    assert found.shape == tuple(grid.shape[2:])
    np.testing.assert_allclose(found, (expected / expected.max()).numpy(), atol=1e-4)


class Corner(Encoder):
    """Sees how red the upper left of an image is, against its blue everywhere."""

    preparation = Preprocessing(70, (0.5,) * 3, (0.5,) * 3, "bilinear", "squash", 1.0)
    device = torch.device("cpu")

    def encode_image(self, pixels: Tensor) -> Tensor:
        red, blue = pixels[:, 0, :10, :10].float().mean((1, 2)), pixels[:, 2].float().mean((1, 2))
        return torch.nn.functional.normalize(torch.stack([red, blue], 1), dim=1)

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        raise NotImplementedError

    def plain(self) -> dict[str, Any]:
        raise NotImplementedError


def test_a_map_by_masking_by_hand() -> None:
    photo = Image.new("RGB", (70, 70), (0, 0, 70))
    photo.paste((250, 0, 70), (0, 0, 10, 10))
    found = heat_map(Corner(), photo, np.array([1.0, 0.0], dtype=np.float32))
    expected = np.zeros((7, 7))
    expected[:2, :2] = 1  # a mask is three places wide, and the corner lies under those of four places
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_any_model_has_a_map(clips: Path, model: DualEncoder, photo: Image.Image) -> None:
    published = published_clip(MOBILE, clips)
    query = published.encode_text(["a red car"])[0].numpy()
    found = heat_map(published, photo, query)
    assert found.shape == (7, 7) and found.min() >= 0 and found.max() == pytest.approx(1)
    assert not np.allclose(found, heat_map(published, photo, -query))
    with pytest.MonkeyPatch.context() as patch:  # a tower of tokens, as a ViT is
        patch.setattr(model.image_tower, "grid", lambda pixels: torch.zeros(1, 4, 8))
        assert heat_map(model, photo, np.eye(32, dtype=np.float32)[0]).shape == (7, 7)


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_the_overlay_keeps_the_size_and_warms_what_is_hot(resize: str) -> None:
    heat = np.zeros((7, 7))
    heat[3, 3] = 1
    photo = Image.new("RGB", (140, 70), (100, 100, 100))
    shown = np.asarray(overlaid(photo, heat, resize), dtype=int)
    assert shown.shape == (70, 140, 3)
    assert shown[35, 70, 0] > 100 > shown[35, 70, 2]  # the middle is warm
    assert shown[5, 5, 0] == shown[5, 5, 2] < 60  # the corner is dimmed


def test_words_by_hand() -> None:
    meaning = {"dog": [1.0, 0.0], "snow": [0.0, 1.0]}

    def encode(sentences: Sequence[str]) -> np.ndarray:
        sums = [np.sum([meaning.get(word, [0, 0]) for word in text.split()], axis=0) for text in sentences]
        return np.stack([vector / max(np.linalg.norm(vector), 1e-9) for vector in sums])

    photos, half = np.eye(2), 0.5**0.5
    of_dog, of_snow = word_weights(encode, [Term("a dog snow"), Term("dog", -2.0)], photos)
    assert [word for word, _ in of_dog] == [word for word, _ in of_snow] == ["a", "dog", "snow", "dog"]
    assert [weight for _, weight in of_dog] == pytest.approx([0, half, half - 1, -2])
    assert [weight for _, weight in of_snow] == pytest.approx([0, half - 1, half, 0])


def test_nothing_is_left_in_the_shared_model(model: DualEncoder, photo: Image.Image) -> None:
    """The model is shared by sessions: maps asked for by several threads are each right, and leave no gradients."""
    queries = torch.nn.functional.normalize(torch.randn(16, 32, generator=torch.Generator().manual_seed(0)), dim=1)
    expected = [heat_map(model, photo, query.numpy()) for query in queries]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda query: heat_map(model, photo, query.numpy()), queries))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_every_route_that_searches_explains_where_it_is_asked_to(client: Client) -> None:
    api = client()
    photo_id = found(api)["photos"][0]["id"]
    beside = {"image_id": photo_id, "query": "a dog", "explain": True}
    ways = (
        found(api, explain=True),
        api.post("/api/search/image", json=beside).json(),
        uploaded(api, query="a dog", explain=True),
    )
    for answer in ways:
        assert len(answer["photos"]) == 4 and not answer["notes"]
        for one in answer["photos"]:
            assert [weight["word"] for weight in one["word_weights"]] == ["a", "dog"]
    assert not any(one["word_weights"] for one in found(api)["photos"])
    alone = api.post("/api/search/image", json={"image_id": photo_id, "explain": True}).json()
    assert alone["notes"] == ["There is nothing to explain: the query has no words to look for."]
    assert not any(one["word_weights"] for one in alone["photos"])


def test_each_word_that_is_explained_costs_a_request(client: Client) -> None:
    api = client(limits=replace(Limits(), rate=parse("20/minute")))
    asked = {"query": "one two three four five six seven eight", "explain": True}
    assert [api.post("/api/search/text", json=asked).status_code for _ in range(3)] == [200, 200, 429]
