"""Text pooling over layers, image towers side by side, and both out of torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.openvino_export import TorchRuntime, _export
from crossmodal.encoding.runtime import Exported, OpenVinoRuntime
from crossmodal.errors import CrossmodalError
from crossmodal.recipe import Recipe
from crossmodal.towers.image import TimmTower, image_from_plain, image_tower
from crossmodal.towers.side_by_side import SideBySide
from crossmodal.towers.text import PretrainedTextTower, text_from_plain, text_tower
from crossmodal.towers.weights import PACKAGES, find_image_weights
from tests.tiny import TINY_IMAGE

SENTENCES = ["a red car", "two dogs in the snow on a street with a house", "a cat"]
OTHER_IMAGE = "test_resnet.r160_in1k"


@pytest.fixture
def pair(recipe: Recipe) -> SideBySide:
    """Two different tiny towers with random weights."""
    both = replace(recipe, image_tower=f"{TINY_IMAGE}+{OTHER_IMAGE}", image_weights="random", frozen_stages=0)
    tower = image_tower(both).eval()
    assert isinstance(tower, SideBySide)
    return tower


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 160, 160), dtype=torch.uint8)


@torch.no_grad()
def test_layers_are_pooled_side_by_side(recipe: Recipe, weights: Path) -> None:
    last, words, both = (text_tower(recipe, weights, layers=layers).eval() for layers in ((), (0,), (0, 2)))
    assert (last.features, both.features) == (32, 64)
    torch.testing.assert_close(both(SENTENCES), torch.cat([words(SENTENCES), last(SENTENCES)], dim=1))
    # Layer 0 knows words and places: without the places, in which order they stand is not seen.
    assert isinstance(words, PretrainedTextTower)
    words.net.embeddings.position_embeddings.weight.zero_()
    torch.testing.assert_close(*(words([sentence]) for sentence in ("a red car", "car a red")))


@torch.no_grad()
def test_padding_changes_no_layer(recipe: Recipe, weights: Path) -> None:
    tower = text_tower(recipe, weights, layers=(0, 1, 2)).eval()
    alone = torch.cat([tower([sentence]) for sentence in SENTENCES])
    torch.testing.assert_close(tower(SENTENCES), alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_tower_of_layers_is_rebuilt_from_plain_values(recipe: Recipe, weights: Path) -> None:
    tower = text_tower(recipe, weights, layers=(0, 2)).eval()
    again = text_from_plain(tower.plain()).eval()
    again.load_state_dict(tower.state_dict())
    assert torch.equal(again(SENTENCES), tower(SENTENCES))


def test_layers_that_are_not_there_are_refused(recipe: Recipe, weights: Path) -> None:
    with pytest.raises(CrossmodalError, match=r"the layers 0 to 2, not \(0, 3\)"):
        text_tower(recipe, weights, layers=(0, 3))
    with pytest.raises(CrossmodalError, match="pooler reads the last layer"):
        text_tower(replace(recipe, text_pooling="pooler"), weights, layers=(0, 2))


@torch.no_grad()
def test_towers_side_by_side_give_what_each_gives(pair: SideBySide, pixels: torch.Tensor) -> None:
    each = torch.cat([tower(pixels) for tower in pair.towers], dim=1)
    assert each.shape == (3, pair.features)
    for seen in (pair(pixels), pair.at_once(pixels), pair.trunk(pair.stem(pixels)), pair.pooled(pair.grid(pixels))):
        torch.testing.assert_close(seen, each, atol=1e-5, rtol=0)
    again = image_from_plain(pair.plain()).eval()
    again.load_state_dict(pair.state_dict())
    assert torch.equal(again(pixels), pair(pixels))
    assert again.name == f"{TINY_IMAGE}+{OTHER_IMAGE}"


@torch.no_grad()
@pytest.mark.parametrize("frozen_stages", [-1, 2])
def test_frozen_stages_of_both_towers_are_kept_as_one(
    recipe: Recipe, weights: Path, pixels: torch.Tensor, frozen_stages: int
) -> None:
    twice = replace(recipe, image_tower=f"{TINY_IMAGE}+{TINY_IMAGE}", frozen_stages=frozen_stages)
    tower = image_tower(twice, weights).eval()
    torch.testing.assert_close(tower.trunk(tower.stem(pixels)), tower(pixels), atol=1e-5, rtol=0)
    tower.freeze(True)
    assert not any(p.requires_grad for p in tower.parameters())
    tower.freeze(False)
    assert any(p.requires_grad for p in tower.parameters()) == (frozen_stages != -1)


@torch.no_grad()
@pytest.mark.parametrize("frozen_stages", [0, 2, -1])
def test_stages_beside_the_head_are_features_too(
    recipe: Recipe, weights: Path, pixels: torch.Tensor, frozen_stages: int
) -> None:
    recipe = replace(recipe, frozen_stages=frozen_stages)
    alone, tower = (image_tower(recipe, weights, beside=beside).eval() for beside in ((), (5, 2)))
    assert isinstance(tower, TimmTower)
    outputs: dict[int, torch.Tensor] = {}
    for stage in (2, 5):
        tower.net.blocks[stage - 1].register_forward_hook(
            lambda _, __, output, stage=stage: outputs.update({stage: output})
        )
    features = tower.trunk(tower.stem(pixels))
    expected = torch.cat([alone(pixels), *(outputs[stage].mean((2, 3)) for stage in (2, 5))], dim=1)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    assert features.shape[1] == tower.features
    torch.testing.assert_close(tower.pooled(tower.grid(pixels)), features, atol=1e-5, rtol=1e-5)
    assert image_from_plain(tower.plain()).features == tower.features


def test_stages_below_the_frozen_ones_or_above_the_last_are_refused(recipe: Recipe, weights: Path) -> None:
    for stage in (1, 7):
        with pytest.raises(CrossmodalError, match=rf"the stages 2 to \d above its frozen ones, not \({stage},\)"):
            image_tower(replace(recipe, frozen_stages=2), weights, beside=(stage,))
    with pytest.raises(CrossmodalError, match="the stages 1 to 0"):
        image_tower(replace(recipe, frozen_stages=0, image_tower=OTHER_IMAGE, image_weights="random"), beside=(1,))


def test_both_towers_read_the_larger_size() -> None:
    recipe = Recipe("x", "tf_efficientnet_lite0.in1k+tf_efficientnet_lite2.in1k", "t", (), image_weights="random")
    tower = image_tower(recipe)
    assert tower.preprocessing.size == 260
    assert image_tower(recipe, size=256).preprocessing.size == 256
    assert tower.features == 2560


def test_the_towers_packages_hold_their_weights() -> None:
    for name in (name for name in PACKAGES if name.startswith("tf_")):
        recipe = Recipe("x", name, "t", ())
        tower = image_tower(recipe)
        assert isinstance(tower, TimmTower)
        published = torch.load(find_image_weights(name, ""), weights_only=True)
        first = next(iter(published.values()))
        assert torch.equal(tower.net.conv_stem.weight, first)
        assert not any(module.training for module in tower.net.modules() if isinstance(module, nn.BatchNorm2d))


def test_a_model_of_both_is_exported(
    recipe: Recipe, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    twice = replace(recipe, image_tower=f"{TINY_IMAGE}+{TINY_IMAGE}")
    torch.manual_seed(0)
    model = DualEncoder(
        image_tower(twice, weights, beside=(2, 5)), text_tower(twice, weights, layers=(0, 1, 2)), twice
    ).eval()
    other, own = OpenVinoRuntime(Exported(_export(model, "both"))), TorchRuntime(model)
    photos = np.random.default_rng(0).integers(0, 256, (3, 160, 160, 3), dtype=np.uint8)
    assert (own.encode_pixels(photos) * other.encode_pixels(photos)).sum(1).min() > 0.98
    assert (own.encode_sentences(SENTENCES) * other.encode_sentences(SENTENCES)).sum(1).min() > 0.98
