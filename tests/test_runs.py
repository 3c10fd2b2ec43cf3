"""Whole runs of the trainer: its files, early stopping, interruptions, several processes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import training_script
from crossmodal.dual_encoder import DualEncoder
from crossmodal.evaluation.evaluate import ImageChoice, evaluate
from crossmodal.files import append_line
from crossmodal.recipe import Recipe
from crossmodal.runs.folder import best_epoch, make_room, results_of

ROOT = Path(__file__).resolve().parent.parent


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
    captions, photos = collection
    (result,) = evaluate(
        tmp_path / "model_epoch_2.pt", ImageChoice(captions, photos, split="val"), say=lambda text: None
    )
    recorded = results_of(tmp_path)[-1]
    assert result.metrics == pytest.approx(
        {key: recorded.get(key, value) for key, value in result.metrics.items()}, abs=1e-3
    )
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


@pytest.mark.usefixtures("tiny")
def test_an_output_that_is_a_file_is_one_sentence(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "output").write_text("mine")
    assert training_script.main(arguments(collection, weights, tmp_path / "output")) == 1
    assert "output cannot be used" in capsys.readouterr().err
    assert (tmp_path / "output").read_text() == "mine"


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
    longer = ("--epochs", "6", "--patience", "9")
    whole = arguments(collection, weights, tmp_path / "whole", *longer)
    assert run_tiny(whole).wait(300) == 0
    rng = random.Random(0)
    cut = arguments(collection, weights, tmp_path / "cut")
    first = ("--recipe", "tiny", *longer)
    state = tmp_path / "cut" / "training_state.pt"
    kills = 0
    for _ in range(20):
        before = state.stat().st_mtime_ns if state.exists() else None
        resumed = [option for option in cut if option not in first]
        process = run_tiny([*resumed, "--resume"] if before else [*cut, *first])
        # Each try gets past one more state, and is killed at some moment after: in a step, validating or writing.
        while process.poll() is None and (state.stat().st_mtime_ns if state.exists() else None) == before:
            time.sleep(0.01)
        try:
            code = process.wait(rng.uniform(0, 0.4))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        assert code == 0, process.stderr and process.stderr.read()
        break
    assert kills >= 2
    for epoch in range(1, 7):
        expected, found = weights_of(tmp_path / "whole", epoch), weights_of(tmp_path / "cut", epoch)
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert [record["epoch"] for record in results_of(tmp_path / "cut")] == list(range(7))


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
        launcher = ["torch.distributed.run", "--nproc-per-node", str(processes), "--standalone", str(script)]
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
