"""Soft targets and mined negatives, by hand and in whole runs."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import training_script
from crossmodal.data.dataset import CaptionedImage, Dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.recipe import Recipe
from crossmodal.runs.folder import results_of
from crossmodal.training.batches import Batch, plan_epoch
from crossmodal.training.losses import LossParameters, clip, clip_soft
from crossmodal.training.mining import confused
from crossmodal.training.soft_targets import Judge, SoftTargets
from tests.test_recipes import interrupted_in
from tests.test_runs import arguments


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> None:
    monkeypatch.setitem(training_script.RECIPES, "tiny", recipe)


def test_without_a_share_it_is_the_clip_loss() -> None:
    torch.manual_seed(0)
    images, texts = F.normalize(torch.randn(3, 4), dim=1), F.normalize(torch.randn(7, 4), dim=1)
    owner, scale = torch.tensor([0, 0, 1, 1, 1, 2, 2]), torch.tensor(1.5)
    found = clip_soft(images, texts, owner, LossParameters(scale, soft_logits=torch.randn(7, 3), soft_share=0.0))
    torch.testing.assert_close(found, clip(images, texts, owner, LossParameters(scale)))


def test_two_pairs_by_hand() -> None:
    # Scores are the identity; the teacher gives each side's own item three quarters, the other one quarter.
    soft_logits = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)]])
    own, other = -math.log(1 / (1 + math.exp(-1))), -math.log(math.exp(-1) / (1 + math.exp(-1)))
    parameters = LossParameters(torch.tensor(0.0), soft_logits=soft_logits, soft_share=0.4)
    loss = clip_soft(torch.eye(2), torch.eye(2), torch.arange(2), parameters)
    assert math.isclose(loss.item(), 0.6 * own + 0.4 * (0.75 * own + 0.25 * other), rel_tol=1e-6)


def test_other_captions_of_an_image_are_in_no_side_by_hand() -> None:
    # Image 0 has captions a and b, image 1 has c; nothing scores, and the teacher prefers nothing.
    images, texts = torch.eye(4)[:2], torch.eye(4)[[2, 3, 2]]
    parameters = LossParameters(torch.tensor(0.0), soft_logits=torch.zeros(3, 2), soft_share=0.5)
    loss = clip_soft(images, texts, torch.tensor([0, 0, 1]), parameters)
    # Image side: the pairs of image 0 choose of two (their own and c), that of image 1 of three.
    image_side = (math.log(2) + math.log(2) + math.log(3)) / 3
    assert math.isclose(loss.item(), (image_side + math.log(2)) / 2, rel_tol=1e-6)
    assert torch.isfinite(loss)


def test_soft_targets_are_of_the_batch() -> None:
    texts, images = torch.eye(3), torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5]])
    judge = Judge(texts, images, 0.5)
    batch = Batch(images=(1, 0), captions=("c", "a"), image_of_caption=(0, 1))
    assert SoftTargets(["a", "b", "c"], [judge]).logits(batch).tolist() == [[1.0, 0.0], [0.0, 2.0]]
    # Of two teachers, whose spaces may differ in size, the mean of the logits is taken.
    other = Judge(torch.tensor([[1.0], [1.0], [-1.0]]), torch.tensor([[1.0], [0.5]]), 1.0)
    both = SoftTargets(["a", "b", "c"], [judge, other]).logits(batch)
    assert both.tolist() == [[0.25, -0.5], [0.25, 1.5]]


def test_the_confused_are_found_by_hand() -> None:
    images = F.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.2]]), dim=1)
    assert confused(images, images, torch.arange(4), 1) == [[1], [0], [3], [2]]
    assert confused(images, images, torch.arange(4), 9)[0] == [1, 2, 3]  # there are no more


def test_hard_negatives_share_a_batch_and_each_image_stands_once() -> None:
    dataset = Dataset(tuple(CaptionedImage(f"{n}.jpg", Path(f"{n}.jpg"), (f"{n}",)) for n in range(40)))
    negatives = [[index ^ 1] for index in range(40)]  # 0 with 1, 2 with 3 and so on
    batches = plan_epoch(dataset, 8, 1, 0, 1, negatives)
    assert sorted(image for batch in batches for image in batch.images) == list(range(40))
    assert all(image ^ 1 in batch.images for batch in batches for image in batch.images)
    without = plan_epoch(dataset, 8, 1, 0, 1)
    assert not all(image ^ 1 in batch.images for batch in without for image in batch.images)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    "options", [("--soft-targets", "captions"), ("--hard-negatives", "2"), ("--frozen-text", "1"), ("--ema", "0.9")]
)
def test_a_run_ends_the_same_after_an_interruption(
    options: tuple[str, str],
    collection: tuple[Path, Path],
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, plain, broken = (arguments(collection, weights, tmp_path / name) for name in ("whole", "plain", "broken"))
    assert training_script.main([*whole, *options]) == 0
    assert training_script.main(plain) == 0
    with interrupted_in(2, monkeypatch):
        assert training_script.main([*broken, *options]) == 130
    assert training_script.main([*broken, "--resume"]) == 0
    losses = {name: [r["loss"] for r in results_of(tmp_path / name)[1:]] for name in ("whole", "plain", "broken")}
    assert losses["broken"] == pytest.approx(losses["whole"], rel=1e-5)
    # An average changes what is written, and nothing of the training.
    assert (losses["whole"] == pytest.approx(losses["plain"], rel=1e-5)) == (options[0] == "--ema")
    stored = [DualEncoder.load(tmp_path / name / "model_epoch_2.pt")[0].state_dict() for name in ("whole", "broken")]
    for key, value in stored[0].items():
        torch.testing.assert_close(stored[1][key], value, atol=1e-3, rtol=1e-3, msg=key)


@pytest.mark.usefixtures("tiny")
def test_a_checkpoint_teaches(collection: tuple[Path, Path], weights: Path, tmp_path: Path) -> None:
    assert training_script.main(arguments(collection, weights, tmp_path / "teacher", "--epochs", "1")) == 0
    taught = ["--soft-targets", "teacher", "--teacher", str(tmp_path / "teacher"), "--soft-share", "0.5"]
    assert training_script.main(arguments(collection, weights, tmp_path / "taught", *taught)) == 0
    assert len(results_of(tmp_path / "taught")) == 3


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--soft-targets", "captions", "--loss", "triplet"], "--soft-targets go with --loss clip"),
        (["--soft-targets", "teacher"], "give both or neither"),
        (["--teacher", "clip-ViT-B-32"], "give both or neither"),
        (["--soft-targets", "everything"], "there is none, captions, teacher"),
        (["--soft-targets", "teacher", "--teacher", "clip-ViT-B-32"], "The pretrained weights of clip-ViT-B-32 cannot"),
        (["--soft-targets", "teacher", "--teacher", "nowhere.pt"], "nowhere.pt is not there"),
        (["--image-tower", "test_efficientnot"], "Names like it: test_efficientnet"),
        (["--text-tower", "scratch:gru"], "there is bilstm, transformer"),
        (["--crop-area", "2"], "it should be 0.01 to 1"),
        (["--soft-share", "nan"], "it should be 0 to 1"),
        (["--text-lr-scale", "0"], "--frozen-text -1 freezes the whole text tower"),
        (["--frozen-image", "9"], "give --frozen-image 0 to"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    collection: tuple[Path, Path],
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    assert training_script.main(arguments(collection, weights, tmp_path, *options)) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
