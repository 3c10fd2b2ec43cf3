"""Batches, learning rates, gradient caching, the head start, and whole runs of the trainer."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import training_script
from crossmodal.data.dataset import CaptionedImage, Dataset, read_dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.evaluation.evaluate import evaluate
from crossmodal.files import append_line
from crossmodal.progress import silent
from crossmodal.recipe import Recipe, Stage
from crossmodal.training.batches import plan_epoch
from crossmodal.training.head_start import train_projections
from crossmodal.training.optimizer import learning_rate, make_optimizer
from crossmodal.training.photos import DecodedPhotos, StemPhotos, augmented, mirrors
from crossmodal.training.run_folder import best_epoch, make_room, results_of
from crossmodal.training.step import StepPlan, compute_gradient

ROOT = Path(__file__).resolve().parent.parent


def made_up(count: int) -> Dataset:
    return Dataset(
        tuple(CaptionedImage(f"{n}.jpg", Path(f"{n}.jpg"), tuple(f"{n} {k}" for k in range(5))) for n in range(count))
    )


def test_an_epoch_has_every_image_once_and_its_captions_in_turn() -> None:
    dataset = made_up(23)
    seen: dict[int, list[str]] = {}
    for epoch in range(1, 4):
        batches = plan_epoch(dataset, 5, 2, seed=1, epoch=epoch)
        assert sorted(index for batch in batches for index in batch.images) == list(range(23))
        assert {len(batch.images) for batch in batches} <= {4, 5}
        for batch in batches:
            for row, caption in zip(batch.image_of_caption, batch.captions, strict=True):
                assert caption.split()[0] == str(batch.images[row])
                seen.setdefault(batch.images[row], []).append(caption)
    # 2 of 5 in each epoch: after three epochs all five were used, and one of them twice.
    assert all(len(set(captions)) == 5 and len(captions) == 6 for captions in seen.values())
    assert plan_epoch(dataset, 5, 2, 1, 1) == plan_epoch(dataset, 5, 2, 1, 1)
    assert plan_epoch(dataset, 5, 2, 1, 1) != plan_epoch(dataset, 5, 2, 1, 2)


def test_shares_of_a_batch_are_whole_images() -> None:
    (batch,) = plan_epoch(made_up(7), 7, 0, 0, 1)
    shares = [batch.share(part, 3) for part in range(3)]
    assert tuple(index for share in shares for index in share.images) == batch.images
    assert tuple(caption for share in shares for caption in share.captions) == batch.captions
    for share in shares:
        assert [caption.split()[0] for caption in share.captions] == [
            str(share.images[row]) for row in share.image_of_caption
        ]


def test_learning_rate_by_hand() -> None:
    recipe = Recipe("x", "i", "t", (Stage(4, 1.0, 0.0), Stage(2, 0.5, 0.5)), warmup_epochs=1.0)
    assert learning_rate(recipe, 0.5) == pytest.approx(0.5 * 0.961939, rel=1e-5)  # half warm, cos(pi/8)
    assert learning_rate(recipe, 2.0) == pytest.approx(0.5)
    assert learning_rate(recipe, 5.0) == pytest.approx(0.5)
    assert learning_rate(replace(recipe, stages=(Stage(4, 1.0),)), 4.0) == pytest.approx(0.0)


def test_parts_have_their_own_learning_rates_and_only_matrices_decay(model: DualEncoder, recipe: Recipe) -> None:
    optimizer = make_optimizer(model, replace(recipe, image_lr_scale=0.0, text_lr_scale=0.1))
    assert not any(p.requires_grad for p in model.image_tower.parameters())
    for group in optimizer.param_groups:
        assert all((p.dim() > 1) == (group["weight_decay"] > 0) for p in group["params"])
    assert {group["scale"] for group in optimizer.param_groups} == {0.1, 1.0}
    assert sum(p is model.logit_scale for group in optimizer.param_groups for p in group["params"]) == 1


def gradients(model: DualEncoder) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_gradient_caching_gives_the_gradient_of_the_whole_batch(model: DualEncoder) -> None:
    (batch,) = plan_epoch(made_up(7), 7, 2, 0, 1)
    pixels = torch.randint(0, 256, (7, 3, 160, 160), dtype=torch.uint8)
    without_dropout(model)
    plan = StepPlan.of(batch, 0, 1)
    whole = compute_gradient(model, plan, pixels, False, 0, False, 1)
    expected = gradients(model)
    model.zero_grad(set_to_none=True)
    cached = compute_gradient(model, plan, pixels, False, 3, False, 1)
    assert cached == pytest.approx(whole, rel=1e-5)
    found = gradients(model)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3, msg=name)


def without_dropout(model: DualEncoder) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def test_the_head_start_learns_and_reads_features_as_they_are(model: DualEncoder) -> None:
    dataset = made_up(40)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(40, model.image_tower.features, generator=generator) * 3 + 5
    texts = torch.randn(40, model.text_tower.features, generator=generator).repeat_interleave(5, 0)
    train_projections(model, dataset, images, texts, 40, 0, silent)
    with torch.no_grad():
        projected = (
            model.project_image(images) @ torch.nn.functional.normalize(model.text_projection(texts[::5]), dim=1).T
        )
    assert (projected.argmax(1) == torch.arange(40)).float().mean() > 0.9


def test_views_are_fixed_by_their_key_and_flip_no_left_or_right(model: DualEncoder, photo: object) -> None:
    from PIL import Image

    assert isinstance(photo, Image.Image)
    prepare = model.image_tower.preprocessing
    assert torch.equal(augmented(photo, prepare, True, "a"), augmented(photo, prepare, True, "a"))
    assert not torch.equal(augmented(photo, prepare, True, "a"), augmented(photo, prepare, True, "b"))
    assert not mirrors(CaptionedImage("a", Path("a"), ("A dog on the LEFT.",)))
    assert mirrors(CaptionedImage("a", Path("a"), ("Leftovers on a bright plate.",)))


def test_cached_stages_equal_decoded_pictures(
    weights: Path, recipe: Recipe, collection: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset = read_dataset(*collection).dataset
    tower = DualEncoder.from_recipe(replace(recipe, frozen_stages=2), weights).eval().image_tower
    decoded = DecodedPhotos(dataset, tower.preprocessing, augment=True, seed=0, workers=0, pin=False)
    cached = StemPhotos(dataset, tower, decoded, 2, 0, silent, tmp_path)
    direct = torch.cat([tower.stem(pixels) for pixels in decoded.clean([3, 1], 8)])
    torch.testing.assert_close(torch.cat(list(cached.clean([3, 1], 8))).float(), direct, atol=2e-2, rtol=2e-2)
    train = [index for index, image in enumerate(dataset.images) if image.split == "train"][:2]
    views = [next(iter(cached.epoch([train], epoch))) for epoch in (1, 2, 3)]
    assert torch.equal(views[0], views[2])
    assert not torch.equal(views[0], views[1])


# --- whole runs ---


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> None:
    monkeypatch.setitem(training_script.RECIPES, "tiny", recipe)


def arguments(collection: tuple[Path, Path], weights: Path, output: Path, *more: str) -> list[str]:
    captions, images = map(str, collection)
    return [
        "--recipe",
        "tiny",
        "--weights",
        str(weights),
        "--captions",
        captions,
        "--images",
        images,
        "--output",
        str(output),
        "--workers",
        "0",
        *more,
    ]


@pytest.mark.usefixtures("tiny")
def test_a_run_writes_its_files_and_says_how_to_go_on(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert training_script.main(arguments(collection, weights, tmp_path, "--tensorboard")) == 0
    for epoch in (0, 1, 2):
        for name in ("model", "img_embeds", "txt_embeds"):
            assert (tmp_path / f"{name}_epoch_{epoch}.pt").is_file()
    images = torch.load(tmp_path / "img_embeds_epoch_2.pt", weights_only=True)
    texts = torch.load(tmp_path / "txt_embeds_epoch_2.pt", weights_only=True)
    assert images["embeds"].shape == (30, 32)
    assert texts["embeds"].shape == (150, 32)
    assert (images["embeds"].float().norm(dim=1) - 1).abs().max() < 1e-3
    assert (
        images["fingerprint"]
        == texts["fingerprint"]
        == DualEncoder.load(tmp_path / "model_epoch_2.pt")[1]["fingerprint"]
    )
    assert [record["epoch"] for record in results_of(tmp_path)] == [0, 1, 2]
    # The checkpoint, read anew, gives the figures that the run wrote for it.
    captions, pictures = collection
    figures, _ = evaluate(tmp_path / "model_epoch_2.pt", captions, pictures, split="val", say=lambda text: None)
    assert figures == pytest.approx({key: results_of(tmp_path)[-1][key] for key in figures}, abs=1e-3)
    printed = capsys.readouterr().out
    assert "best" in printed
    assert "streamlit run app.py" in printed
    assert any((tmp_path / "tensorboard").iterdir())
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.usefixtures("tiny")
def test_a_new_run_keeps_the_earlier_one(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training_script.main(arguments(collection, weights, tmp_path, "--epochs", "1"))
    before = (tmp_path / "model_epoch_1.pt").read_bytes()
    training_script.main(arguments(collection, weights, tmp_path, "--epochs", "1", "--seed", "5"))
    (kept,) = tmp_path.glob("run-*")
    assert (kept / "model_epoch_1.pt").read_bytes() == before
    assert str(kept) in capsys.readouterr().out


@pytest.mark.usefixtures("tiny")
def test_early_stopping(collection: tuple[Path, Path], weights: Path, tmp_path: Path) -> None:
    # A learning rate of almost nothing: no epoch is better than the first.
    assert (
        training_script.main(
            arguments(collection, weights, tmp_path, "--epochs", "9", "--patience", "2", "--lr", "1e-12")
        )
        == 0
    )
    assert len(results_of(tmp_path)) <= 5


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--batch-size", "1"], "--batch-size 1 cannot be trained with"),
        (["--resize", "stretch"], "there is crop, squash"),
        (["--device", "abacus"], "The device abacus is not there; this machine has"),
        (["--split", "0.5", "0.5", "0.5"], "add up to 1"),
        (["--resume"], "start a run without --resume"),
        (["--epochs", "0"], "greater than 0"),
        (["--lr", "1e30", "--clip-norm", "1e30"], "train again with a smaller --lr"),
    ],
)
def test_bad_options_are_one_sentence(
    collection: tuple[Path, Path],
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    words: str,
) -> None:
    assert training_script.main(arguments(collection, weights, tmp_path, *more)) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_a_named_recipe_is_never_swapped(
    collection: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captions, images = map(str, collection)
    options = ["--recipe", "efficientnet-minilm", "--captions", captions, "--images", images, "--output", str(tmp_path)]
    assert training_script.main(options) == 1
    error = capsys.readouterr().err
    assert "--recipe compact" in error
    assert error.count("\n") == 1


def weights_of(folder: Path, epoch: int) -> dict[str, torch.Tensor]:
    content = torch.load(folder / f"model_epoch_{epoch}.pt", weights_only=True)["weights"]
    assert isinstance(content, dict)
    return content


def run_tiny(options: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.tiny", *options],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.real
def test_resume_after_kill_9_gives_the_same_weights(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path
) -> None:
    whole = arguments(collection, weights, tmp_path / "whole")
    assert run_tiny(whole).wait(300) == 0
    rng = random.Random(0)
    cut = arguments(collection, weights, tmp_path / "cut")
    kills = 0
    for _ in range(12):
        resume = (tmp_path / "cut" / "training_state.pt").exists()
        process = run_tiny([*cut, "--resume"] if resume else cut)
        if resume:
            cut = [option for option in cut if option not in ("--recipe", "tiny")]
        try:
            code = process.wait(rng.uniform(8, 16))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        assert code == 0, process.stderr and process.stderr.read()
        break
    else:
        assert run_tiny([*cut, "--resume"]).wait(300) == 0
    assert kills
    for epoch in (1, 2, 3):
        expected, found = weights_of(tmp_path / "whole", epoch), weights_of(tmp_path / "cut", epoch)
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert [record["epoch"] for record in results_of(tmp_path / "cut")] == [0, 1, 2, 3]


@pytest.mark.real
def test_sigterm_finishes_the_step_and_saves(collection: tuple[Path, Path], weights: Path, tmp_path: Path) -> None:
    process = run_tiny(arguments(collection, weights, tmp_path, "--epochs", "500", "--patience", "500"))
    deadline = time.monotonic() + 120
    while not (tmp_path / "training_state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert (tmp_path / "training_state.pt").is_file()


def test_two_processes_give_the_weights_of_one(collection: tuple[Path, Path], weights: Path, tmp_path: Path) -> None:
    code = (
        "import sys, torch, tests.tiny as tiny, training_script\n"
        "import crossmodal.dual_encoder as d\n"
        "make = d.DualEncoder.from_recipe\n"
        "def without_dropout(*a):\n"
        "    m = make(*a)\n"
        "    [setattr(x, 'p', 0.0) for x in m.modules() if isinstance(x, torch.nn.Dropout)]\n"
        "    return m\n"
        "training_script.DualEncoder.from_recipe = staticmethod(without_dropout)\n"
        "tiny.main()\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for processes in (1, 2):
        options = [*arguments(collection, weights, tmp_path / str(processes)), "--epochs", "1", "--clip-norm", "1000"]
        launcher = ["torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", "29517", str(script)]
        done = subprocess.run(
            [sys.executable, "-m", *launcher, *options],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / str(n) / "training_state.pt", weights_only=True)["model"] for n in (1, 2))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=1e-5, rtol=0, msg=key)


def test_results_survive_a_torn_line_and_the_best_is_by_rsum(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps({"epoch": 1, "rsum": 30.0}) + "\n" + '{"epoch": 2, "rs')
    append_line(path, {"epoch": 2, "rsum": 40.0})
    append_line(path, {"epoch": 3, "rsum": 35.0})
    append_line(path, {"epoch": 2, "rsum": 20.0})  # done again after a resume: the later one counts
    assert [(r["epoch"], r["rsum"]) for r in results_of(tmp_path)] == [(1, 30.0), (2, 20.0), (3, 35.0)]
    for epoch in (1, 2, 3):
        (tmp_path / f"model_epoch_{epoch}.pt").touch()
    assert best_epoch(tmp_path) == 3
    (tmp_path / "mine.txt").touch()
    moved = make_room(tmp_path)
    assert moved is not None
    assert sorted(p.name for p in moved.iterdir()) == [
        "model_epoch_1.pt",
        "model_epoch_2.pt",
        "model_epoch_3.pt",
        "results.jsonl",
    ]
    assert (tmp_path / "mine.txt").exists()
