"""Towers, the dual encoder, its checkpoint, and where weights come from."""

import math
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from crossmodal import rebuilding
from crossmodal.dual_encoder import FORMAT_VERSION, MAX_LOGIT_SCALE, DualEncoder
from crossmodal.errors import CheckpointError, CrossmodalError, WeightsError
from crossmodal.recipe import Recipe, Stage
from crossmodal.recipe_checks import check_recipe
from crossmodal.runs.opening import about_checkpoint
from crossmodal.text_side import TextAlone
from crossmodal.towers.image import Preprocessing, TimmTower
from crossmodal.towers.weights import find_text_weights
from model import DEFAULT, RECIPES, WITHOUT_DOWNLOAD
from tests.tiny import TINY_IMAGE

SENTENCES = ["a red car", "two dogs in the snow on a street with a house", "a cat", ""]


def test_embeddings_are_unit_vectors_in_the_order_given(model: DualEncoder, photo: Image.Image) -> None:
    texts = torch.cat(list(model.encode_sentences(SENTENCES, at_once=3)))
    assert texts.shape == (4, 32)
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(4))
    alone = torch.cat([next(model.encode_sentences([sentence])) for sentence in SENTENCES])
    torch.testing.assert_close(texts, alone, atol=1e-5, rtol=0)  # padding and order change nothing
    photos = model.encode_images([photo, photo.transpose(Image.Transpose.ROTATE_90)])
    torch.testing.assert_close(photos.norm(dim=1), torch.ones(2))


def test_the_text_side_alone_is_that_of_the_whole_model(model: DualEncoder, tmp_path: Path) -> None:
    fingerprint = model.save(tmp_path / "model.pt", 1, {}, {})
    whole, content = DualEncoder.load(tmp_path / "model.pt")
    alone, told = TextAlone.load(tmp_path / "model.pt")
    assert told == content["fingerprint"] == fingerprint
    np.testing.assert_array_equal(
        alone.encode_sentences(SENTENCES), torch.cat([*whole.encode_sentences(SENTENCES)]).numpy()
    )
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    content["weights"]["image_projection.weight"].zero_()  # of the other side
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="not those that it was saved with"):
        TextAlone.load(tmp_path / "model.pt")


def test_the_text_side_alone_goes_without_the_image_towers_package(model: DualEncoder, tmp_path: Path) -> None:
    model.save(tmp_path / "model.pt", 1, {}, {})
    code = (
        "import sys; from pathlib import Path; from crossmodal.runs.models import LazyRuntime, Maker\n"
        "from crossmodal.runs.opening import about_checkpoint\n"
        "path = Path(sys.argv[1]); runtime = LazyRuntime(Maker(about_checkpoint(path)['fingerprint'], path, 'it', ''))\n"
        "words = runtime.encode_sentences(['a red car']); assert 'timm' not in sys.modules\n"
        "assert runtime.preprocessing.size and 'timm' in sys.modules\n"
        "assert (runtime.encode_sentences(['a red car']) == words).all()"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "model.pt")], check=True, env=environment)


def test_the_tower_scales_pixels_by_its_own_mean_and_std() -> None:
    tower = TimmTower(TINY_IMAGE, Preprocessing(4, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0), "bicubic", "squash", 1.0))
    scaled = tower.stem(torch.full((1, 3, 4, 4), 255, dtype=torch.uint8))
    torch.testing.assert_close(scaled[0, :, 0, 0], torch.tensor([1.0, 3.0, 1.0]))


def test_squash_shows_all_and_crop_shows_the_middle() -> None:
    wide = Image.new("RGB", (90, 30), (0, 0, 0))
    wide.paste((255, 255, 255), (30, 0, 60, 30))  # a white middle square
    squash = Preprocessing(30, (0.5,) * 3, (0.5,) * 3, "bilinear", "squash", 1.0)(wide)
    crop = Preprocessing(30, (0.5,) * 3, (0.5,) * 3, "bilinear", "crop", 1.0)(wide)
    assert squash[0, 15, 2] == 0
    assert squash[0, 15, 15] == 255
    assert crop.float().mean() > 250


def test_frozen_stages_split_the_tower_and_change_nothing(weights: Path, recipe: Recipe) -> None:
    pixels = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8)
    whole = DualEncoder.from_recipe(recipe, weights).eval().image_tower
    split = DualEncoder.from_recipe(recipe.with_stages(frozen_image=2), weights).eval().image_tower
    assert isinstance(split, TimmTower)
    with torch.no_grad():
        torch.testing.assert_close(split.trunk(split.stem(pixels)), whole(pixels))
    assert not any(p.requires_grad for p in split.net.blocks[:2].parameters())
    assert all(p.requires_grad for p in split.net.blocks[2:].parameters())
    with pytest.raises(CrossmodalError, match="stages that can be frozen"):
        DualEncoder.from_recipe(recipe.with_stages(frozen_image=9), weights)


def test_batch_norm_is_held_in_training(recipe: Recipe, weights: Path) -> None:
    model = DualEncoder.from_recipe(recipe, weights)
    pixels = torch.randint(0, 256, (4, 3, 160, 160), dtype=torch.uint8)
    as_built = model.image_tower.stem(pixels), model.image_tower(pixels)
    before = {key: value.clone() for key, value in model.state_dict().items() if "running" in key}
    model.train()
    model.encode_image(pixels)
    model.eval()
    assert torch.equal(model.image_tower.stem(pixels), as_built[0])
    assert torch.equal(model.image_tower(pixels), as_built[1])
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


def test_the_temperature_is_held_at_one_hundredth(model: DualEncoder) -> None:
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model.clamp_logit_scale()
    assert model.logit_scale.item() == pytest.approx(MAX_LOGIT_SCALE)


def test_a_checkpoint_alone_rebuilds_the_model(model: DualEncoder, photo: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "model_epoch_3.pt"
    model.load_state_dict(model.stored_weights())
    fingerprint = model.save(path, 3, {"rsum": 1.5}, {"captions": "c"})
    again, content = DualEncoder.load(path)
    assert (content["epoch"], content["metrics"], content["fingerprint"]) == (3, {"rsum": 1.5}, fingerprint)
    assert again.recipe == model.recipe
    assert torch.equal(again.encode_images([photo]), model.encode_images([photo]))
    assert torch.equal(next(again.encode_sentences(SENTENCES)), next(model.encode_sentences(SENTENCES)))
    with torch.no_grad():
        next(model.image_projection.parameters())[0, 0] += 1
    assert model.save(path, 3, {}, {}) != fingerprint


def test_strange_checkpoints_are_refused(model: DualEncoder, tmp_path: Path) -> None:
    path = tmp_path / "model_epoch_1.pt"
    with pytest.raises(CheckpointError, match="is not there; train a model"):
        DualEncoder.load(path)
    path.write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="cannot be read"):
        DualEncoder.load(path)
    torch.save({"some": "other"}, path)
    with pytest.raises(CheckpointError, match="not a file of the kind"):
        DualEncoder.load(path)
    model.save(path, 1, {}, {})
    content = torch.load(path, weights_only=True)
    torch.save(content | {"version": FORMAT_VERSION + 1}, path)
    with pytest.raises(CheckpointError, match="update the program"):
        DualEncoder.load(path)
    for key, wrong in (("recipe", []), ("metrics", {"rsum": "x"}), ("data", None), ("epoch", "1")):
        torch.save(content | {key: wrong}, path)
        for read in (DualEncoder.load, about_checkpoint):
            with pytest.raises(CheckpointError, match=f"its {key} is missing or impossible"):
                read(path)
    content["weights"].pop("logit_scale")
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="whole model"):
        DualEncoder.load(path)


def signed(content: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's content with the fingerprint that belongs to it."""
    towers = {key: content[key] for key in ("image_tower", "text_tower")}
    return content | {"fingerprint": rebuilding.fingerprint_of(content["weights"], towers, content["banks"])}


def test_weights_are_checked_whole_when_they_are_read(model: DualEncoder, tmp_path: Path) -> None:
    path = tmp_path / "model_epoch_1.pt"
    model.save(path, 1, {}, {})
    whole = torch.load(path, weights_only=True)
    name = next(key for key, value in whole["weights"].items() if value.ndim == 2)

    def refused(content: dict[str, Any], words: str) -> None:
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=words) as refusal:
            DualEncoder.load(path)
        assert len(str(refusal.value).splitlines()) == 1 and "inline_container" not in str(refusal.value)

    for wrong in (math.nan, math.inf, -math.inf):
        weights = {key: value.clone() for key, value in whole["weights"].items()}
        weights[name][0, 0] = wrong
        refused(signed(whole | {"weights": weights}), "its weights are not all numbers")
    weights = {**whole["weights"], name: whole["weights"][name] + 1}
    refused(whole | {"weights": weights}, "its weights are not those that it was saved with")
    weights = {**whole["weights"], name: whole["weights"][name][:1].clone()}
    refused(signed(whole | {"weights": weights}), "its weights and its towers do not fit")
    recipe = {**whole["recipe"], "joint_size": 10**9}  # 128 GB
    refused(whole | {"recipe": recipe}, "its weights and its towers do not fit")
    tower: dict[str, Any] = whole["image_tower"]
    impossible: list[tuple[str, Any]] = [
        ("mean", [math.nan] * 3), ("std", [0.0] * 3), ("std", [1e-40] * 3), ("std", [0.5]), ("size", 0), ("size", True), ("size", 1.5),
        ("size", "x"), ("size", 3000), ("interpolation", "none"), ("interpolation", 5), ("resize", "x"), ("crop_share", -1.0),
        ("crop_share", math.nan), ("crop_share", 1e9),
    ]  # fmt: skip
    for key, value in impossible:
        odd = {**tower, "preprocessing": {**tower["preprocessing"], key: value}}
        refused(signed(whole | {"image_tower": odd}), "its weights and its towers do not fit")
    refused(signed(whole | {"image_tower": {**tower, "name": "hf-hub:a/b"}}), "its weights and its towers do not fit")
    for views in (0, 10**9, "2"):
        refused(signed(whole | {"recipe": {**whole["recipe"], "photo_views": views}}), "photos cannot have .* views")
    huge = torch.zeros(1).expand(10**7, 10**7)  # four bytes in the file
    refused(whole | {"weights": {**whole["weights"], name: huge}}, "cannot be read as a file of tensors")


def test_a_checkpoint_that_is_packed_is_refused_before_it_is_unpacked(model: DualEncoder, tmp_path: Path) -> None:
    stored, packed = tmp_path / "stored.pt", tmp_path / "packed.pt"
    model.save(stored, 1, {}, {})
    with zipfile.ZipFile(stored) as whole, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in whole.infolist():
            archive.writestr(entry.filename, whole.read(entry))
        archive.writestr("stored/data/bomb", bytes(10**9))
    assert packed.stat().st_size < 5_000_000
    code = (
        "import sys, resource; from pathlib import Path; from crossmodal.files import load_tensors; import torch; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: load_tensors(Path(sys.argv[1]), advice='name another.')\n"
        "except Exception as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    told = subprocess.run([sys.executable, "-c", code, packed], capture_output=True, text=True, check=True)
    said, kilobytes = told.stdout.splitlines()
    assert said == f"{packed} cannot be read as a file of tensors; name another."
    assert int(kilobytes) < 100_000


def test_weights_that_cannot_be_had_name_what_was_tried(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"the folder .*the hub cache .*a Python package .*the hub .*--recipe compact"
    ):
        find_text_weights("nobody/nothing", tmp_path)


def test_the_table_of_recipes() -> None:
    compact = RECIPES[WITHOUT_DOWNLOAD]
    for name, epochs, rates in (
        (DEFAULT, 25, [5e-4]), ("convnext-minilm", 20, [5e-4]), ("efficientnet-minilm-original", 10, [1e-4, 5e-6]),
    ):  # fmt: skip
        recipe = RECIPES[name]
        assert (recipe.joint_size, recipe.batch_size, recipe.epochs) == (1024, 64, epochs)
        assert [stage.lr for stage in recipe.stages] == rates
    assert (compact.name, compact.joint_size) == ("compact", 1024)
    for recipe in RECIPES.values():
        check_recipe(recipe)
        assert Recipe.from_plain(recipe.plain()) == recipe


def test_epochs_and_learning_rate_scale_the_stages() -> None:
    recipe = Recipe("x", "i", "t", (Stage(6, 1e-4, 5e-6), Stage(4, 5e-6, 5e-6)))
    assert [stage.epochs for stage in recipe.with_epochs(5).stages] == [3, 2]
    assert recipe.with_epochs(1).epochs == 1
    assert [stage.lr for stage in recipe.with_lr(2e-4).stages] == pytest.approx([2e-4, 1e-5])


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("batch_size", 1),
        ("clip_norm", 0.0),
        ("resize", "stretch"),
        ("weight_decay", -1.0),
        ("image_lr_scale", float("nan")),
    ],
)
def test_impossible_values_are_refused(recipe: Recipe, knob: str, value: float | str) -> None:
    from dataclasses import replace

    with pytest.raises(CrossmodalError, match=knob.replace("_", "-")):
        check_recipe(replace(recipe, **{knob: value}))  # type: ignore[arg-type]
