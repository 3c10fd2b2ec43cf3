"""Where a run is trained, and how far it is."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crossmodal.progress import Bars, silent
from crossmodal.runs.folder import FEATURES


class Interrupted(Exception):
    """Training was stopped by a signal; the state is saved."""


@dataclass(frozen=True)
class Setting:
    """Where a run is trained: its folder, its place among the processes, how much it says."""

    folder: Path
    weights: Path | None = None  # a folder looked into first for pretrained weights
    rank: int = 0
    processes: int = 1
    workers: int = 0
    bars: Bars = silent
    log: Callable[[Mapping[str, float], int], None] | None = None
    trained: bool = False  # the model was trained before; epoch 0 says how good it is on these data

    @property
    def features(self) -> Path:
        """The folder of what frozen towers and teachers give."""
        return self.folder / FEATURES


@dataclass
class Progress:
    """How far a run is: the epoch and step to do next, the best epoch so far."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = -1
    best_rsum: float = -1.0
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    fingerprint: str = ""  # of the last checkpoint, which its embeddings carry too
    updates: int = 0  # of the average of the weights

    def is_stuck(self, patience: int) -> bool:
        """Say whether so many epochs have passed since the best one."""
        return self.best_epoch >= 0 and self.epoch - 1 - self.best_epoch >= patience

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "Progress":
        """Return what a training state says; raises TypeError or ValueError for what no run writes."""
        read, first = Progress(**values), asdict(Progress())
        for name, value in asdict(read).items():
            kind = (int, float) if isinstance(first[name], float) else type(first[name])
            if not isinstance(value, kind) or (name in ("epoch", "step", "updates") and value < 0):
                raise ValueError(name)
        if not all(isinstance(loss, float) for loss in read.losses):
            raise ValueError("losses")
        return read

    def next_epoch(self) -> "Progress":
        """Return the progress at the start of the epoch after this one."""
        return Progress(
            self.epoch + 1, 0, self.best_epoch, self.best_rsum, fingerprint=self.fingerprint, updates=self.updates
        )

    def record(self, epoch: int, photos: int, split: str, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Return what is noted of an epoch that trained on so many photos, and of its metrics on a split."""
        return {
            "epoch": epoch,
            "loss": sum(self.losses) / len(self.losses) if self.losses else None,
            "split": split,
            **{key: round(value, 4) for key, value in metrics.items()},
            "seconds": round(self.seconds, 1),
            "photos_per_second": round(photos / self.seconds, 1) if self.seconds else None,
        }
