"""Text pooling over layers, image towers side by side, and both out of torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import training_script
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.openvino_export import TorchRuntime, _export
from crossmodal.encoding.runtime import Exported, OpenVinoRuntime
from crossmodal.errors import CrossmodalError, WeightsError
from crossmodal.projection import Standardise
from crossmodal.recipe import WHOLE, Recipe, Stage
from crossmodal.recipe_checks import check_recipe
from crossmodal.runs.folder import results_of
from crossmodal.towers.image import TimmTower, image_from_plain, image_tower
from crossmodal.towers.side_by_side import SideBySide
from crossmodal.towers.text import PretrainedTextTower, text_from_plain, text_tower
from crossmodal.towers.weights import PACKAGES, find_image_weights
from tests.test_runs import arguments
from tests.tiny import TINY_IMAGE

SENTENCES = ["a red car", "two dogs in the snow on a street with a house", "a cat"]
OTHER_IMAGE = "test_resnet.r160_in1k"


@pytest.fixture
def pair(recipe: Recipe) -> SideBySide:
    """Two different tiny towers with random weights."""
    both = replace(recipe, image_tower=f"{TINY_IMAGE}+{OTHER_IMAGE}", image_weights="random")
    tower = image_tower(both.with_stages(frozen_image=0)).eval()
    assert isinstance(tower, SideBySide)
    return tower


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 160, 160), dtype=torch.uint8)


@torch.no_grad()
def test_layers_are_pooled_side_by_side(recipe: Recipe, weights: Path) -> None:
    last, words, both = (text_tower(replace(recipe, text_layers=layers), weights).eval() for layers in ("", "0", "2,0"))
    assert (last.features, both.features) == (32, 64)
    torch.testing.assert_close(both(SENTENCES), torch.cat([words(SENTENCES), last(SENTENCES)], dim=1))
    # Layer 0 knows words and places: without the places, in which order they stand is not seen.
    assert isinstance(words, PretrainedTextTower)
    words.net.embeddings.position_embeddings.weight.zero_()
    torch.testing.assert_close(*(words([sentence]) for sentence in ("a red car", "car a red")))


@torch.no_grad()
def test_padding_changes_no_layer(recipe: Recipe, weights: Path) -> None:
    tower = text_tower(replace(recipe, text_layers="0,1,2"), weights).eval()
    alone = torch.cat([tower([sentence]) for sentence in SENTENCES])
    torch.testing.assert_close(tower(SENTENCES), alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_tower_of_layers_is_rebuilt_from_plain_values(recipe: Recipe, weights: Path) -> None:
    tower = text_tower(replace(recipe, text_layers="0,2"), weights).eval()
    again = text_from_plain(tower.plain()).eval()
    again.load_state_dict(tower.state_dict())
    assert torch.equal(again(SENTENCES), tower(SENTENCES))


def test_layers_that_are_not_there_are_refused(recipe: Recipe, weights: Path) -> None:
    with pytest.raises(CrossmodalError, match="--text-layers 0,3: this encoder has the layers 0 to 2"):
        text_tower(replace(recipe, text_layers="0,3"), weights)
    with pytest.raises(CrossmodalError, match="pooler reads the last layer"):
        text_tower(replace(recipe, text_pooling="pooler", text_layers="0,2"), weights)


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
@pytest.mark.parametrize("frozen", [WHOLE, 2])
def test_frozen_stages_of_both_towers_are_kept_as_one(
    recipe: Recipe, weights: Path, pixels: torch.Tensor, frozen: int
) -> None:
    twice = replace(recipe, image_tower=f"{TINY_IMAGE}+{TINY_IMAGE}").with_stages(frozen_image=frozen)
    tower = image_tower(twice, weights).eval()
    torch.testing.assert_close(tower.trunk(tower.stem(pixels)), tower(pixels), atol=1e-5, rtol=0)


def test_towers_side_by_side_are_frozen_alike(pair: SideBySide) -> None:
    pair.freeze(WHOLE)
    assert not any(p.requires_grad for p in pair.parameters())
    pair.freeze(2)
    pair.train()
    first, second = (tower.net for tower in pair.towers)
    frozen = [first.conv_stem, first.bn1, *first.blocks[:2], second.conv1, second.bn1, second.layer1, second.layer2]
    assert not any(p.requires_grad for part in frozen for p in part.parameters())
    assert not any(module.training for part in frozen for module in part.modules())
    trained = [*first.blocks[2:], first.conv_head, second.layer3, second.layer4]
    assert all(p.requires_grad for part in trained for p in part.parameters())
    assert all(module.training for part in trained for module in part.modules())
    with pytest.raises(CrossmodalError, match="--frozen-image 0 to 3, or -1"):
        pair.freeze(4)


def test_stems_whose_grids_differ_are_refused(recipe: Recipe) -> None:
    both = replace(recipe, image_tower=f"{TINY_IMAGE}+{OTHER_IMAGE}", image_weights="random")
    with pytest.raises(CrossmodalError, match="grids of different sizes.* give another --frozen-image"):
        image_tower(both.with_stages(frozen_image=3))


@torch.no_grad()
@pytest.mark.parametrize("frozen", [0, 2, WHOLE])
def test_stages_beside_the_head_are_features_too(
    recipe: Recipe, weights: Path, pixels: torch.Tensor, frozen: int
) -> None:
    recipe = recipe.with_stages(frozen_image=frozen)
    alone, tower = (image_tower(replace(recipe, image_stages=stages), weights).eval() for stages in ("", "5,2"))
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
    for stage in ("1", "7"):
        changed = replace(recipe, image_stages=stage).with_stages(frozen_image=2)
        with pytest.raises(
            CrossmodalError, match=rf"--image-stages {stage}: .* the stages 2 to \d above its frozen ones"
        ):
            image_tower(changed, weights)
    vit = replace(recipe, image_tower="vit_tiny_patch16_224", image_weights="random", image_stages="1")
    with pytest.raises(CrossmodalError, match="--image-stages 1: .* have stages, not vit_tiny_patch16_224"):
        image_tower(vit.with_stages(frozen_image=0))


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
def test_other_families_have_stages_beside_the_last_too(name: str, recipe: Recipe) -> None:
    changed = replace(recipe, image_tower=name, image_weights="random", image_size=64).with_stages(frozen_image=0)
    alone, tower = (image_tower(replace(changed, image_stages=stages)).eval() for stages in ("", "2,4"))
    alone.load_state_dict(tower.state_dict())
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    features = tower(pixels)
    assert features.shape == (2, tower.features)
    torch.testing.assert_close(features[:, : alone.features], alone(pixels), atol=1e-5, rtol=1e-5)


def test_both_towers_read_the_larger_size() -> None:
    both = "tf_efficientnet_lite0.in1k+tf_efficientnet_lite2.in1k"
    recipe = Recipe("x", both, "t", (Stage(1, 1.0),), image_weights="random")
    tower = image_tower(recipe)
    assert tower.preprocessing.size == 260
    assert image_tower(replace(recipe, image_size=256)).preprocessing.size == 256
    assert tower.features == 2560


def test_a_tower_of_one_size_refuses_another(recipe: Recipe) -> None:
    vit = replace(recipe, image_tower="vit_tiny_patch16_224", image_weights="random", image_size=256)
    with pytest.raises(CrossmodalError, match="224 pixels a side alone, not of 256; give --image-size 224"):
        image_tower(vit.with_stages(frozen_image=0))


def test_the_towers_packages_hold_their_weights() -> None:
    for name in (name for name in PACKAGES if name.startswith("tf_")):
        recipe = Recipe("x", name, "t", (Stage(1, 1.0),))
        tower = image_tower(recipe)
        assert isinstance(tower, TimmTower)
        published = torch.load(find_image_weights(name, ""), weights_only=True)
        first = next(iter(published.values()))
        assert torch.equal(tower.net.conv_stem.weight, first)
        assert not any(module.training for module in tower.net.modules() if isinstance(module, nn.BatchNorm2d))


OPTIONS = (
    "--image-tower", f"{TINY_IMAGE}+{TINY_IMAGE}", "--image-size", "128", "--image-stages", "2,5", "--text-layers", "0,2",
    "--projection", "residual", "--hidden-size", "64", "--dropout", "0.5", "--image-dropout", "0.3",
    "--text-dropout", "0.2", "--mixup", "1", "--captions-per-image", "1", "--epochs", "1",
)  # fmt: skip


@pytest.mark.parametrize("frozen", ["0", "2", "-1"])
def test_a_run_with_all_of_it_is_read_back_and_exported(
    frozen: str, recipe: Recipe, collection: tuple[Path, Path], weights: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(training_script.RECIPES, "tiny", recipe)
    run = arguments(collection, weights, tmp_path / "run", *OPTIONS, "--frozen-image", frozen)
    assert training_script.main(run) == 0
    assert [record["epoch"] for record in results_of(tmp_path / "run")] == [0, 1]
    assert training_script.main([*run[4:10], "--resume"]) == 0  # nothing is left to do
    model, _ = DualEncoder.load(tmp_path / "run" / "model_epoch_1.pt")
    assert model.preparation.size == 128
    projection = next(model.image_projection.children())
    assert isinstance(projection, Standardise)
    assert not torch.equal(projection.mean, torch.zeros_like(projection.mean))  # fitted in the head start, and stored
    photos = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    own = TorchRuntime(model)
    model.save(tmp_path / "again.pt", 1, {}, {})
    again = TorchRuntime(DualEncoder.load(tmp_path / "again.pt")[0])
    assert np.array_equal(own.encode_pixels(photos), again.encode_pixels(photos))
    assert np.array_equal(own.encode_sentences(SENTENCES), again.encode_sentences(SENTENCES))
    _export(model, tmp_path / "exported")
    with OpenVinoRuntime(Exported(tmp_path / "exported")) as exported:
        assert (own.encode_pixels(photos) * exported.encode_pixels(photos)).sum(1).min() > 0.98
        assert (own.encode_sentences(SENTENCES) * exported.encode_sentences(SENTENCES)).sum(1).min() > 0.98


def test_what_cannot_be_trained_is_said(recipe: Recipe) -> None:
    for changed, words in (
        ({"image_stages": "2;5"}, "--image-stages 2;5 cannot be read"),
        ({"text_layers": "-1,2"}, "--text-layers -1,2 cannot be read"),
        ({"text_layers": "0,2", "text_tower": "scratch:bilstm"}, "scratch:bilstm is not"),
        ({"image_size": 8}, "--image-size 8 is too small"),
        ({"dropout": 0.1}, "--image-dropout and --text-dropout"),
        ({"projection": "residual", "head_start_epochs": 0}, "set --head-start-epochs to 1 or more"),
        ({"mixup": 1.0, "captions_per_image": 2}, "set --captions-per-image to 1"),
        ({"mixup": 1.0, "captions_per_image": 1, "soft_targets": "captions"}, "--soft-targets to none"),
    ):
        with pytest.raises(CrossmodalError, match=words):
            check_recipe(replace(recipe, **changed))


def write_encoder(folder: Path, kind: str) -> None:
    """Write an encoder of transformers as it publishes them, without modules of sentence-transformers."""
    import tokenizers
    import transformers

    pieces = ["<pad>", "<unk>", *SENTENCES[1].split()]
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({piece: row for row, piece in enumerate(pieces)}, unk_token="<unk>")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    kept = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")
    kept.save_pretrained(folder)
    named: dict[str, tuple[str, dict[str, int]]] = {
        "distilbert": ("DistilBert", {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}),
        "mpnet": ("MPNet", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}),
        "t5": ("T5Encoder", {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}),
    }
    name, shape = named[kind]
    config = transformers.AutoConfig.for_model(kind, vocab_size=len(pieces), **shape)
    getattr(transformers, f"{name}Model")(config).save_pretrained(folder)


@pytest.mark.parametrize("kind", ["distilbert", "mpnet"])
def test_an_encoder_of_hugging_face_is_a_text_tower(kind: str, recipe: Recipe, tmp_path: Path) -> None:
    from transformers import AutoModel

    write_encoder(tmp_path / kind, kind)
    tower = text_tower(replace(recipe, text_tower=f"someone/{kind}").with_stages(frozen_text=1), tmp_path).eval()
    assert isinstance(tower, PretrainedTextTower)
    ids = torch.arange(2, 5)[None]  # "two dogs in"
    expected = AutoModel.from_pretrained(tmp_path / kind).eval()(input_ids=ids).last_hidden_state.mean(1)
    found = tower(["two dogs in"])
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    assert all(one.grad is not None for one in tower.parameters() if one.requires_grad)


def test_a_part_of_a_text_model_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    write_encoder(tmp_path / "t5", "t5")
    with pytest.raises(WeightsError, match="is a part of a t5 model, which cannot be rebuilt alone"):
        text_tower(replace(recipe, text_tower="t5"), tmp_path)
