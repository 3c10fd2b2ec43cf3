"""The folder of a run: its epochs, its results, its state, and making room for a new run."""

import os
import re
import time
from pathlib import Path
from types import NoneType
from typing import Any

from crossmodal.errors import CheckpointError
from crossmodal.files import append_line, load_tensors, read_lines, save_tensors

STATE_FORMAT, STATE_VERSION = "crossmodal-training-state", 2
STATE, RESULTS = "training_state.pt", "results.jsonl"
OWN_FILES = re.compile(r"^((model|img_embeds|txt_embeds)_epoch_\d+\.pt|training_state\.pt|results\.jsonl|tensorboard)$")

FEATURES = "features"  # the folder, inside that of a run, of what frozen towers and teachers give


def epochs_in(folder: Path) -> list[int]:
    """Return the epochs that have a checkpoint in the folder, in order."""
    found = (re.match(r"model_epoch_(\d+)\.pt$", path.name) for path in Path(folder).glob("model_epoch_*.pt"))
    return sorted(int(match[1]) for match in found if match)


def runs_in(folder: Path) -> list[Path]:
    """Return the run folders: `folder` itself and those inside it that hold a checkpoint, newest first."""
    folder = Path(folder)
    candidates = [folder, *(path for path in folder.iterdir() if path.is_dir())] if folder.is_dir() else []
    runs = [path for path in candidates if epochs_in(path)]
    return sorted(runs, key=lambda run: max(p.stat().st_mtime for p in run.glob("model_epoch_*.pt")), reverse=True)


def results_of(folder: Path) -> list[dict[str, Any]]:
    """Return one record an epoch, in order; of an epoch that was done again after a resume, the later one."""
    records = read_lines(Path(folder) / RESULTS, keep=_is_result)
    return [record for _, record in sorted({record["epoch"]: record for record in records}.items())]


def _is_result(record: Any) -> bool:
    """Say whether a record is that of an epoch; its figures are numbers, or None."""
    if not isinstance(record, dict) or type(record.get("epoch")) is not int:
        return False
    plain = all(isinstance(value, (int, float, str, NoneType)) for value in record.values())
    return plain and isinstance(record.get("rsum", 0.0), (int, float))


def add_result(folder: Path, record: dict[str, Any]) -> None:
    """Append one epoch's record."""
    append_line(Path(folder) / RESULTS, record)


def summary(record: dict[str, Any]) -> str:
    """Return an epoch's record in one line."""
    name = f"Epoch {record['epoch']}" if record["epoch"] else "Before the first epoch"
    loss = "" if record["loss"] is None else f"loss {record['loss']:.3f}, "
    t2i, i2t = ("/".join(f"{record[f'{way}_r{k}']:.1f}" for k in (1, 5, 10)) for way in ("t2i", "i2t"))
    return (
        f"{name}: {loss}{record['split']} rsum {record['rsum']:.1f}, text to image R@1/5/10 {t2i}, image to text {i2t}"
    )


def best_epoch(folder: Path) -> int | None:
    """Return the epoch with the highest validation rsum that has a checkpoint, else the last one."""
    epochs = epochs_in(folder)
    rated = [record for record in results_of(folder) if record["epoch"] in epochs and "rsum" in record]
    return max(rated, key=lambda record: record["rsum"])["epoch"] if rated else max(epochs, default=None)


def make_room(folder: Path) -> Path | None:
    """Move an earlier run's files into a folder of their own, so that a new run overwrites nothing.

    Returns that folder, or None when there was no run.
    """
    folder = Path(folder)
    files = [path for path in folder.iterdir() if OWN_FILES.match(path.name)] if folder.is_dir() else []
    if not files:
        return None
    newest = time.localtime(max(path.stat().st_mtime for path in files))
    name = base = time.strftime("run-%Y-%m-%d-%H%M%S", newest)
    number = 2
    while (folder / name).exists():
        name, number = f"{base}-{number}", number + 1
    (folder / name).mkdir()
    for path in files:
        os.replace(path, folder / name / path.name)
    return folder / name


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write what resume needs, whole or not at all."""
    save_tensors(Path(folder) / STATE, {"format": STATE_FORMAT, "version": STATE_VERSION, **state})


def load_state(folder: Path) -> dict[str, Any]:
    """Read what resume needs; raises CheckpointError when there is nothing to resume."""
    path = Path(folder) / STATE
    state = load_tensors(path, advice="start a run without --resume.")
    if state.get("format") != STATE_FORMAT or state.get("version") != STATE_VERSION:
        raise CheckpointError(f"{path} is not a training state of this version; start a run without --resume.")
    parts = ("recipe", "image_tower", "text_tower", "model", "optimizer", "data", "progress")
    if not all(isinstance(state.get(part), dict) for part in parts):
        raise CheckpointError(f"{path} is not a whole training state; start a run without --resume.")
    return state
