"""Every recipe end to end on tiny towers: trains, resumes, evaluates, and is searched."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import training_script
from crossmodal.data.captions import read_captions
from crossmodal.data.dataset import Dataset, read_dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.collection import encode_dataset
from crossmodal.encoding.decoding_ahead import DecodedPhotos
from crossmodal.encoding.embeddings import load_embeddings
from crossmodal.errors import CrossmodalError
from crossmodal.evaluation.evaluate import ImageChoice, evaluate
from crossmodal.galleries import Place, open_search
from crossmodal.progress import silent
from crossmodal.recipe import WHOLE, Recipe, Stage
from crossmodal.recipe_checks import check_recipe
from crossmodal.runs.folder import results_of
from crossmodal.runs.opening import open_encoder
from crossmodal.towers.image import TimmTower, image_tower
from crossmodal.towers.text import PretrainedTextTower
from crossmodal.training.augmentation import Augmentation
from crossmodal.training.cached_photos import CachedPhotos
from crossmodal.training.distributed import share_statistics
from crossmodal.training.trainer import Trainer
from model import RECIPES
from tests.test_page import Page
from tests.test_runs import arguments
from tests.tiny import TINY_IMAGE, TINY_TEXT


def tiny(recipe: Recipe) -> Recipe:
    """The recipe with towers small enough for a test; a text tower from scratch stays what it is."""
    text = recipe.text_tower if recipe.text_tower.startswith("scratch:") else TINY_TEXT
    return replace(
        recipe,
        image_tower="+".join(TINY_IMAGE for _ in recipe.image_tower.split("+")),
        text_tower=text,
        image_size=0,
        image_stages="2,3" if recipe.image_stages else "",
        text_layers="0,2" if recipe.text_layers else "",
        stages=tuple(
            replace(stage, frozen_image=min(stage.frozen_image, 1), frozen_text=min(stage.frozen_text, 1))
            for stage in recipe.stages
        ),
        batch_size=8,
        head_start_epochs=min(recipe.head_start_epochs, 1),
    )


@contextmanager
def interrupted_in(epoch: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if Ctrl-C came during the first step of an epoch."""
    whole = Trainer.train_step

    def step(trainer: Trainer, *arguments: Any) -> None:
        whole(trainer, *arguments)
        trainer._stop.wished = trainer.progress.epoch == epoch

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", step)
        yield


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_trains_resumes_and_is_searched(
    name: str, collection: tuple[Path, Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions, images = collection
    monkeypatch.setitem(training_script.RECIPES, name, tiny(RECIPES[name]))
    data = ["--captions", str(captions), "--images", str(images), "--output", str(tmp_path), "--workers", "0"]
    with interrupted_in(2, monkeypatch):
        assert training_script.main([*data, "--recipe", name, "--weights", str(weights), "--epochs", "2"]) == 130
    assert results_of(tmp_path)[-1]["epoch"] == 1
    assert training_script.main([*data, "--resume"]) == 0
    first = [record["epoch"] for record in results_of(tmp_path)]
    assert first[-2:] == [1, 2]
    assert training_script.main([*data, "--resume"]) == 0  # nothing is left to do, and that is no error
    assert [record["epoch"] for record in results_of(tmp_path)] == first
    checkpoint = tmp_path / "model_epoch_2.pt"
    result = evaluate(checkpoint, ImageChoice(captions, images, split="val"), say=lambda text: None)["cosine"]
    assert name in result.name
    model, content, _ = open_encoder(checkpoint)
    written = load_embeddings(tmp_path, 2, content["fingerprint"], "embed")
    again = encode_dataset(model, read_dataset(captions, images).dataset, {}, workers=0)
    for ours, theirs in ((written.images, again.images), (written.texts, again.texts)):
        assert (ours.float() * theirs.float()).sum(1).min() > 0.99  # the run and the runtime may compute in bf16
    assert (result.metrics["images"], result.metrics["captions"]) == (
        len(written.only("val").images),
        len(written.only("val").texts),
    )
    search = open_search(Place(checkpoint=checkpoint))
    assert len(search.photos(search.query("a red car"), 5).hits) == 5
    page = Page(monkeypatch, "--checkpoints", str(tmp_path), words="a red car", gallery="all")
    assert len(page.hits) == 20


@pytest.mark.real
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_in_full_shape(name: str, flickr8k: Path, tmp_path: Path) -> None:
    """An epoch on 24 real photos, with random weights where none are at hand."""
    rows = read_captions(flickr8k / "captions.txt").rows
    names = list(dict.fromkeys(row.image for row in rows))[:24]
    listed = [{"file_name": row.image, "caption": row.caption} for row in rows if row.image in names]
    (tmp_path / "captions.json").write_text(json.dumps(listed))
    run = tmp_path / "run"
    data = ["--captions", str(tmp_path / "captions.json"), "--images", str(flickr8k / "images"), "--output", str(run)]
    options = ["--recipe", name, "--epochs", "1", "--batch-size", "8"]
    if not set(RECIPES[name].image_tower.split("+")) <= {f"tf_efficientnet_lite{number}.in1k" for number in (0, 2)}:
        options += ["--image-weights", "random"]
    if "all-MiniLM-L6-v2" not in RECIPES[name].text_tower and not RECIPES[name].text_tower.startswith("scratch:"):
        options += ["--text-weights", "random"]
    assert training_script.main([*data, *options]) == 0
    assert [record["epoch"] for record in results_of(run)][-1] == 1
    result = evaluate(run / "model_epoch_1.pt", ImageChoice(split="all"), say=lambda text: None)["cosine"]
    assert (result.metrics["images"], result.metrics["captions"]) == (24, len(listed))


@pytest.mark.parametrize("loss", ["infonce", "nt-xent", "triplet", "triplet-hard", "sigmoid"])
def test_every_loss_lowers_itself(
    loss: str, collection: tuple[Path, Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions, images = collection
    monkeypatch.setitem(training_script.RECIPES, "tiny", replace(tiny(RECIPES["vit-minilm"]), loss=loss))
    data = ["--captions", str(captions), "--images", str(images), "--output", str(tmp_path), "--workers", "0"]
    options = ["--recipe", "tiny", "--weights", str(weights), "--epochs", "8", "--lr", "1e-3", "--dropout", "0"]
    assert training_script.main([*data, *options]) == 0
    losses = [record["loss"] for record in results_of(tmp_path)]
    assert losses[-1] < losses[0]


def test_a_stage_freezes_the_first_parts_of_a_tower_or_all_of_it(weights: Path) -> None:
    recipe = replace(
        tiny(RECIPES["efficientnet-bert"]),
        stages=(Stage(1, 1e-2, frozen_image=WHOLE, frozen_text=WHOLE), Stage(1, 1e-5, frozen_image=1, frozen_text=1)),
    )
    model = DualEncoder.from_recipe(recipe, weights)
    image, text = model.image_tower, model.text_tower
    assert isinstance(image, TimmTower)
    assert isinstance(text, PretrainedTextTower)
    for tower in (image, text):
        tower.freeze(WHOLE)
        model.train()
        assert not any(p.requires_grad for p in tower.parameters())
        assert not any(module.training for child in tower.children() for module in child.modules())
        tower.freeze(1)
    model.train()
    frozen = [image.net.conv_stem, image.net.bn1, image.net.blocks[0], text.net.embeddings, text.net.encoder.layer[0]]
    trained = [*image.net.blocks[1:], text.net.encoder.layer[1]]
    assert not any(p.requires_grad for part in frozen for p in part.parameters())
    assert not any(module.training for part in frozen for module in part.modules())
    assert all(p.requires_grad for part in trained for p in part.parameters())
    assert text.net.encoder.layer[1].attention.training  # its dropout is on
    image.freeze(0)
    assert all(p.requires_grad for p in image.parameters())


def test_the_least_that_is_frozen_is_frozen_always(recipe: Recipe) -> None:
    stages = [
        Stage(2, 1.0, frozen_image=image, frozen_text=text) for image, text in ((WHOLE, WHOLE), (3, WHOLE), (5, 0))
    ]
    changed = replace(recipe, stages=tuple(stages))
    assert (changed.always_frozen("image"), changed.always_frozen("text")) == (3, 0)
    assert replace(recipe, stages=tuple(stages[:1])).always_frozen("image") == WHOLE
    assert [changed.stage(epoch) for epoch in (1, 2, 3, 6, 7)] == [stages[n] for n in (0, 0, 1, 2, 2)]


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "test_efficientnet"])
def test_the_stem_and_the_trunk_of_a_family_are_the_whole_tower(name: str, recipe: Recipe) -> None:
    changed = replace(recipe, image_tower=name, image_weights="random", head_start_epochs=0).with_stages(frozen_image=2)
    tower = image_tower(changed).eval()
    pixels = torch.randint(0, 256, (2, 3, tower.preprocessing.size, tower.preprocessing.size), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(tower(pixels), tower.pooled(tower.grid(pixels)))
        assert tower.stem(pixels).shape[1] != 3


@pytest.mark.parametrize(
    ("changed", "frozen", "words"),
    [
        ({"image_tower": "vit_tiny_patch16_224", "image_weights": "random"}, {"frozen_image": 3}, "give --frozen-image 0 or -1"),
        ({"image_tower": "resnet18", "image_weights": "random"}, {"frozen_image": 4}, "give --frozen-image 0 to 3, or -1"),
        ({"text_tower": "scratch:bilstm"}, {"frozen_text": 1}, "give --frozen-text 0 or -1"),
        ({"text_tower": "scratch:transformer"}, {"frozen_text": 3}, "give --frozen-text 0 to 2, or -1"),
        ({}, {"frozen_text": 3}, "bert has 2 layers that can be frozen, not 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_frozen_names_the_option(
    changed: dict[str, Any], frozen: dict[str, int], words: str, recipe: Recipe, weights: Path
) -> None:
    with pytest.raises(CrossmodalError, match=words):
        DualEncoder.from_recipe(replace(recipe, **changed).with_stages(**frozen), weights, ["A red car."])


@pytest.mark.parametrize("pooling", ["own", "mean", "gpo"])
def test_poolings(pooling: str, weights: Path) -> None:
    recipe = replace(tiny(RECIPES["efficientnet-minilm"]), image_pooling=pooling)
    model = DualEncoder.from_recipe(recipe, weights).eval()
    pixels = torch.randint(0, 256, (3, 3, 160, 160), dtype=torch.uint8)
    features = model.image_tower(pixels)
    assert features.shape == (3, model.image_tower.features)
    if pooling == "mean":  # an EfficientNet's own pooling is the mean
        torch.testing.assert_close(
            features, DualEncoder.from_recipe(replace(recipe, image_pooling="own"), weights).eval().image_tower(pixels)
        )


def test_what_cannot_be_trained_together_is_said(recipe: Recipe) -> None:
    for changed, words in (
        ({"loss": "hinge"}, "clip, infonce, nt-xent"),
        ({"projection": "mlp"}, "--head-start-epochs"),
        ({"projection": "mlp", "head_start_epochs": 0, "chunk_size": 4}, "--chunk-size cannot be used"),
        ({"temperature": 0.0}, "0.01 or more"),
        ({"image_lr_scale": 0.0}, "--frozen-image -1 freezes the whole image tower"),
        ({"text_lr_scale": 0.0}, "--frozen-text -1 freezes the whole text tower"),
        ({"projection_lr_scale": 0.0}, "should be greater than 0"),
        ({"stages": (Stage(1, math.nan),)}, "--lr should be a number"),
        ({"stages": (Stage(1, 1.0, math.inf),)}, "--lr should be a number"),
        ({"stages": (Stage(1, 1e-30),)}, "--lr should be a number from 1e-09"),
        (
            {"stages": (Stage(1, 1e-5),), "image_lr_scale": 1e-6},
            "--image-lr-scale should be greater than 0, and so large",
        ),
        ({"stages": (Stage(1, 1.0, frozen_text=-2),)}, "0 or more, or -1"),
        ({"stages": (Stage(1, 1.0, frozen_image=WHOLE),), "image_pooling": "gpo"}, "gpo is learned"),
        ({"hue": math.nan}, "--hue nan"),
        ({"seed": 2**64}, "--seed 18446744073709551616 cannot be trained with; it should be 0 to 4294967295"),
        ({"joint_size": 10**9}, "--joint-size 1000000000 .* 1 to 65536"),
        ({"hidden_size": 10**12}, "--hidden-size 1000000000000 .* 1 to 65536"),
        ({"matryoshka": "16,8,32"}, "ascending"),
        ({"matryoshka": "8,8,32"}, "ascending"),
        ({"matryoshka": "0,32"}, "1 or more"),
        ({"matryoshka": "8,64"}, "--joint-size, 32"),
        ({"matryoshka": "8,16"}, "--joint-size, 32"),
        ({"matryoshka": ","}, "--matryoshka , cannot be read"),
    ):
        with pytest.raises(CrossmodalError, match=words):
            check_recipe(replace(recipe, **changed))


@pytest.mark.parametrize("on_disk", [False, True])
def test_cached_photos_are_the_decoded_ones(
    on_disk: bool, collection: tuple[Path, Path], weights: Path, tmp_path: Path
) -> None:
    dataset = read_dataset(*collection).dataset
    prepare = DualEncoder.from_recipe(tiny(RECIPES["compact"]), weights).image_tower.preprocessing
    decoded = DecodedPhotos(dataset, prepare)
    folder = tmp_path if on_disk else None
    cached = CachedPhotos(dataset, prepare, decoded, None, 0, silent, folder)
    batches = [[3, 1], [7]]
    for found, expected in zip(cached.epoch(batches, 1), decoded.epoch(batches, 1), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(torch.cat(list(cached.clean(range(30), 7))), torch.cat(list(decoded.clean(range(30), 30))))
    views = CachedPhotos(dataset, prepare, decoded, Augmentation(prepare), 0, silent, folder)
    first, second = (next(iter(views.epoch([[3]], epoch))) for epoch in (1, 2))
    assert first.shape == second.shape == (1, 3, prepare.size, prepare.size)
    assert not torch.equal(first, second)
    if on_disk:
        (file,) = tmp_path.glob("photos-*.u8")
        assert file.stat().st_size == CachedPhotos.bytes_needed(dataset, prepare)
        nothing = DecodedPhotos(Dataset(()), prepare)
        again = CachedPhotos(dataset, prepare, nothing, None, 0, silent, folder)  # decodes nothing
        assert torch.equal(next(iter(again.clean([5], 1))), next(iter(decoded.clean([5], 1))))


def test_a_run_with_an_average_stores_the_average(
    recipe: Recipe, collection: tuple[Path, Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(training_script.RECIPES, "tiny", recipe)
    for name, ema in (("with", "0.9"), ("without", "0")):
        assert training_script.main(arguments(collection, weights, tmp_path / name, "--ema", ema)) == 0
    stored = {
        name: DualEncoder.load(tmp_path / name / "model_epoch_2.pt")[0].state_dict() for name in ("with", "without")
    }
    start = {
        name: DualEncoder.load(tmp_path / name / "model_epoch_0.pt")[0].state_dict() for name in ("with", "without")
    }
    key = "text_projection.weight"
    assert torch.equal(start["with"][key], start["without"][key])
    assert not torch.equal(stored["with"][key], stored["without"][key])
    moved = {name: (stored[name][key] - start[name][key]).norm() for name in stored}
    assert 0 < moved["with"] < moved["without"]  # an average lags behind


def test_statistics_are_not_shared_by_processes_on_a_cpu(recipe: Recipe, weights: Path) -> None:
    model = DualEncoder.from_recipe(replace(recipe, projection="mlp", head_start_epochs=0), weights)
    assert model.recipe.learns_statistics
    with pytest.raises(CrossmodalError, match="in one process"):
        share_statistics(model, torch.device("cpu"))
