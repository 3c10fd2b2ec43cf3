"""Whole runs of the trainer: its files, early stopping, interruptions, several processes."""

import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import training_script
from crossmodal import cli
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.embeddings import load_embeddings, model_path
from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.evaluation.evaluate import ImageChoice, evaluate
from crossmodal.evaluation.metrics import retrieval_metrics
from crossmodal.files import append_line, save_tensors
from crossmodal.recipe import Recipe
from crossmodal.runs.folder import best_epoch, make_room, results_of
from crossmodal.training import sources
from crossmodal.training.step import StepPlan
from crossmodal.training.trainer import Trainer
from tests.test_model import signed

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
    # The checkpoint, read again, gives the figures that the run wrote for it.
    captions, photos = collection
    result = evaluate(tmp_path / "model_epoch_2.pt", ImageChoice(captions, photos, split="val"), say=lambda text: None)[
        "cosine"
    ]
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
def test_prefixes_are_trained_and_evaluated_each(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert training_script.main(arguments(collection, weights, tmp_path, "--matryoshka", "4,16,32")) == 0
    captions, photos = collection
    given = [
        "evaluate",
        "--checkpoint",
        str(tmp_path),
        "--captions",
        str(captions),
        "--images",
        str(photos),
        "--split",
        "val",
    ]
    capsys.readouterr()
    assert cli.main([*given, "--json", str(tmp_path / "figures.json")]) == 0
    printed = capsys.readouterr().out
    assert "the first 4 of 32 dimensions" in printed
    assert "the first 16 of 32 dimensions" in printed
    figures = json.loads((tmp_path / "figures.json").read_text())
    epoch = best_epoch(tmp_path)
    assert epoch is not None
    model, content = DualEncoder.load(model_path(tmp_path, epoch))
    val = load_embeddings(tmp_path, epoch, content["fingerprint"], "embed").only("val")
    images, texts = (side.float()[:, :4] / side.float()[:, :4].norm(dim=1)[:, None] for side in (val.images, val.texts))
    expected = retrieval_metrics(images, texts, val.caption_to_image.tolist())
    assert figures["first_4"]["t2i_r5"] == pytest.approx(expected["t2i_r5"], abs=1e-3)
    assert model.prefixes == (4, 16, 32)


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
            arguments(collection, weights, tmp_path, "--epochs", "9", "--patience", "2", "--lr", "1e-9")
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
        (["--lr", "nan"], "--lr nan should be a number"),
        (["--lr", "inf"], "--lr inf should be a number"),
        (["--split", "nan", "0", "0"], "three numbers"),
        (["--lr", "1e300"], "from 1e-09 to 1000"),
        (["--lr", "1000", "--clip-norm", "1e30", "--warmup-epochs", "0"], "train again with a smaller --lr"),
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


def run_tiny(options: Sequence[str], stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.tiny", *options],
        cwd=ROOT,
        env=environment,
        stdout=stdout,
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


@pytest.mark.real
def test_a_signal_before_the_first_epoch_stops_at_once(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path
) -> None:
    process = run_tiny(arguments(collection, weights, tmp_path, "--head-start-epochs", "1000000"), subprocess.PIPE)
    assert process.stderr and process.stdout
    seen = b""
    while b"Head start" not in seen:
        seen += os.read(process.stderr.fileno(), 4096)
    process.send_signal(signal.SIGINT)
    said = b"".join((seen, *process.communicate(timeout=60))).decode()
    assert process.returncode == 130 and "Traceback" not in said
    assert "Stopped before the first epoch; nothing was lost. Start again with the same command." in said


def trained_by(processes: int, script: str, options: Sequence[str], folder: Path) -> dict[str, torch.Tensor]:
    """Run a script that trains, in some processes, and return the weights of its run in `folder`."""
    path = folder.with_name(f"run-{processes}.py")
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = ["torch.distributed.run", "--nproc-per-node", str(processes), "--standalone", str(path)]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *options],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    weights = torch.load(folder / "training_state.pt", weights_only=True)["model"]
    assert isinstance(weights, dict)
    return weights


# Dropout is drawn in each process for its own images.
WITHOUT_DROPOUT = """
import sys, torch, tests.tiny as tiny, training_script
import crossmodal.training.choice as choice
make = training_script.DualEncoder.from_recipe
def without_dropout(*a):
    m = make(*a)
    [setattr(x, "p", 0.0) for x in m.modules() if isinstance(x, torch.nn.Dropout)]
    return m
training_script.DualEncoder.from_recipe = staticmethod(without_dropout)
"""


def test_two_processes_that_cache_nothing_give_the_weights_of_one_that_does(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path
) -> None:
    def trained(processes: int, script: str) -> dict[str, torch.Tensor]:
        folder = tmp_path / str(processes)
        options = [*arguments(collection, weights, folder), "--epochs", "1", "--clip-norm", "1000"]
        return trained_by(processes, WITHOUT_DROPOUT + script + "tiny.main()\n", options, folder)

    one = trained(1, "")
    two = trained(2, "choice.CACHE_SHARE = 0\n")
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=1e-5, rtol=0, msg=key)


def test_two_processes_draw_the_sample_once(weights: Path, tmp_path: Path) -> None:
    script = f"""
import os, time, tests.tiny as tiny
import crossmodal.training.sources as sources
from pathlib import Path
sources.CAPTIONS = Path({str(tmp_path / "none.txt")!r})
sources.SAMPLE = Path({str(tmp_path / "drawn")!r})
draw = sources.draw_sample
def slowly(folder, bars):
    if not (folder / "sample.json").exists():
        Path({str(tmp_path)!r}, f"drawn-by-{{os.environ['RANK']}}").touch()
    time.sleep(3)
    return draw(folder, 12, bars=bars)
sources.draw_sample = slowly
tiny.main()
"""
    options = [
        "--recipe",
        "tiny",
        "--weights",
        str(weights),
        "--output",
        str(tmp_path / "run"),
        "--workers",
        "0",
        "--epochs",
        "1",
    ]
    trained_by(2, script, options, tmp_path / "run")
    assert [path.name for path in tmp_path.glob("drawn-by-*")] == ["drawn-by-0"]


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


@pytest.mark.usefixtures("tiny")
def test_drawn_scenes_go_with_hard_negatives(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SAMPLE", tmp_path / "drawn-sample")
    options = ("--with-sample", "6", "--hard-negatives", "2", "--epochs", "1")
    assert training_script.main(arguments(collection, weights, tmp_path / "run", *options)) == 0


@pytest.mark.usefixtures("tiny")
def test_several_data_sets_train_together_and_the_first_is_written(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for number in range(6):
        Image.new("RGB", (40, 40), (40 * number, 90, 200)).save(other / f"{number}.png")
    listed = tmp_path / "other.csv"
    listed.write_text(
        "image,caption,split\n" + "".join(f"{n}.png,colour {n},{'val' if n == 5 else 'train'}\n" for n in range(6))
    )
    options = ("--also", str(listed), str(other), "2", "--epochs", "1", "--precision", "bf16", "--depthwise", "0")
    assert training_script.main(arguments(collection, weights, tmp_path / "run", *options)) == 0
    said = capsys.readouterr().out
    assert "6 images (5 train, 1 val, 0 test)" in said
    written = torch.load(tmp_path / "run" / "img_embeds_epoch_1.pt", weights_only=True)
    assert not any(name.endswith(".png") and name[0].isdigit() and len(name) == 5 for name in written["image_names"])
    for weight in ("0", "-1", "nan", "much", "1e9"):
        wrong = arguments(collection, weights, tmp_path / "none", "--also", str(listed), str(other), weight)
        assert training_script.main(wrong) == 1
    assert not (tmp_path / "none").exists()
    assert capsys.readouterr().err.count("the weight should be greater than 0") == 5


def few(tmp_path: Path, collection: tuple[Path, Path], count: int) -> tuple[Path, Path]:
    """The first images of a collection."""
    captions, images = collection
    rows = captions.read_text().splitlines()
    (tmp_path / "few.txt").write_text("\n".join(rows[: 1 + 5 * count]))
    return tmp_path / "few.txt", images


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("head_start", ["0", "1"])
def test_a_single_step_trains(head_start: str, collection: tuple[Path, Path], weights: Path, tmp_path: Path) -> None:
    options = ("--epochs", "1", "--head-start-epochs", head_start, "--warmup-epochs", "2", "--split", "1", "0", "0")
    data = few(tmp_path, collection, 6)
    assert training_script.main(arguments(data, weights, tmp_path / "run", *options)) == 0
    after = torch.load(tmp_path / "run" / "training_state.pt", weights_only=True)["model"]
    torch.manual_seed(0)
    recipe = training_script.overridden(training_script.RECIPES["tiny"], training_script.parse(options))
    before = DualEncoder.from_recipe(recipe, weights)
    assert not torch.equal(after["image_projection.weight"], before.state_dict()["image_projection.weight"])
    trained = [name for name, parameter in before.named_parameters() if parameter.requires_grad]
    same = [name for name in trained if torch.equal(after[name], before.state_dict()[name])]
    assert not [name for name in same if "projection" not in name and "logit" not in name]


@pytest.mark.usefixtures("tiny")
def test_seven_images_in_pairs_where_batch_norm_learns(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path
) -> None:
    options = ("--projection", "mlp", "--head-start-epochs", "0", "--batch-size", "2", "--epochs", "1")
    data = few(tmp_path, collection, 7)
    split = ("--split", "1", "0", "0")
    assert training_script.main(arguments(data, weights, tmp_path / "run", *options, *split)) == 0


@pytest.mark.usefixtures("tiny")
def test_bad_rows_are_listed_in_the_output(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BAD_ROWS_SHOWN", 1)
    monkeypatch.setattr(training_script, "OUTPUT", tmp_path / "elsewhere" / "default")
    captions, images = collection
    (tmp_path / "captions.txt").write_text(captions.read_text() + "lost-1.jpg,A car.\nlost-2.jpg,A car.\n")
    options = arguments((tmp_path / "captions.txt", images), weights, tmp_path / "run", "--epochs", "1", "--skip-bad")
    assert training_script.main(options) == 0
    assert (tmp_path / "run" / "bad-rows.txt").read_text().count("lost-") == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.usefixtures("tiny")
def test_half_written_files_of_a_killed_run_are_removed(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "features").mkdir()
    ours = [
        ".model_epoch_1.pt.ab12cd34ef56.part",
        ".training_state.pt.0123456789ab.part",
        f"features/.{'a' * 24}.pt.0123456789ab.part",
    ]
    for name in (*ours, ".mine.txt.part"):
        (tmp_path / name).write_bytes(b"half")
    assert training_script.main(arguments(collection, weights, tmp_path, "--epochs", "1")) == 0
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.part")] == [".mine.txt.part"]


@pytest.mark.usefixtures("tiny")
def test_a_damaged_training_state_is_one_sentence(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = arguments(collection, weights, tmp_path)
    assert training_script.main([*options, "--epochs", "1"]) == 0
    path = tmp_path / "training_state.pt"
    whole = torch.load(path, weights_only=True)
    nan = {key: value * math.nan if value.is_floating_point() else value for key, value in whole["model"].items()}
    damaged: list[dict[str, Any]] = [
        {"recipe": {}}, {"recipe": {**whole["recipe"], "stages": 5}}, {"image_tower": {"name": 7}}, {"text_tower": {}},
        {"model": {}}, {"model": {"logit_scale": "x"}}, {"model": nan}, {"optimizer": {}},
        {"progress": {**whole["progress"], "epoch": "1"}}, {"progress": {**whole["progress"], "losses": [None]}},
        {"progress": {**whole["progress"], "step": -3}}, {"recipe": {**whole["recipe"], "batch_size": 0}},
    ]  # fmt: skip
    for change in damaged:
        torch.save({**whole, **change}, path)
        capsys.readouterr()
        assert training_script.main([*options, "--resume"]) == 1, change.keys()
        error = capsys.readouterr().err.strip()
        assert error.endswith("start a run without --resume.") and "\n" not in error


@pytest.mark.usefixtures("tiny")
def test_the_time_before_an_interruption_counts(
    collection: tuple[Path, Path], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Trainer.train_step

    def slow(trainer: Trainer, plan: StepPlan, inputs: torch.Tensor, step: int, steps: int) -> None:
        whole(trainer, plan, inputs, step, steps)
        time.sleep(0.3)
        trainer._stop.wished = resumed is False and step == 1

    monkeypatch.setattr(Trainer, "train_step", slow)
    options = arguments(collection, weights, tmp_path)
    resumed = False
    assert training_script.main([*options, "--epochs", "1"]) == 130
    resumed = True
    assert training_script.main([*options, "--resume"]) == 0
    assert results_of(tmp_path)[-1]["seconds"] >= 0.9  # three steps, of which two came before


@pytest.mark.parametrize("program", [training_script.main, cli.main])
def test_a_terminal_that_is_not_utf8_is_printed_to(
    program: Callable[[Sequence[str]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(SystemExit):
        program(["--help"])
    print("\u5199")
    terminal.flush()
    assert terminal.buffer.getvalue().endswith(b"\\u5199" + os.linesep.encode())  # type: ignore[attr-defined]


def test_a_full_disk_is_said_in_plain_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(CrossmodalError, match="free some space") as raised:
        save_tensors(tmp_path / "x.pt", {})
    assert "enforce" not in str(raised.value)


def test_a_checkpoint_of_other_weights_is_said_in_plain_words(model: DualEncoder, tmp_path: Path) -> None:
    path = tmp_path / "model_epoch_1.pt"
    model.save(path, 1, {}, {})
    content = torch.load(path, weights_only=True)
    content["weights"].popitem()
    save_tensors(path, signed(content))
    with pytest.raises(CheckpointError, match="its weights and its towers do not fit") as raised:
        DualEncoder.load(path)
    assert "state_dict" not in str(raised.value)


def test_what_a_checkpoint_says_of_an_unknown_training_is_passed_over(model: DualEncoder, tmp_path: Path) -> None:
    path = tmp_path / "model_epoch_1.pt"
    model.save(path, 1, {}, {})
    content = torch.load(path, weights_only=True)
    content["recipe"]["of_another_version"] = 3
    content["recipe"]["stages"][0]["of_another_version"] = 3
    save_tensors(path, content)
    assert DualEncoder.load(path)[0].recipe == model.recipe
