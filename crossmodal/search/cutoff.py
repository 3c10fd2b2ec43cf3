"""When to say that nothing looks like a query: thresholds on the scores of each kind of query."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from crossmodal.errors import CrossmodalError
from crossmodal.files import cache_folder, checked_fingerprint, read_bounded
from crossmodal.search.query import Calibration
from crossmodal.towers.published_names import is_published

FILE = "cutoff.json"

MOST_PHOTOS = 10**9  # of a gallery that thresholds are for


def cutoff_folder(checkpoint: Path, fingerprint: str) -> Path:
    """Return where a model's cut-off lies: beside a checkpoint; of a published model in the user's cache."""
    if not is_published(checkpoint):
        return checkpoint.parent
    return cache_folder() / "cutoffs" / checked_fingerprint(fingerprint, str(checkpoint))


@dataclass(frozen=True)
class Thresholds:
    """Cosine similarities for one kind of query.

    `nothing_below` has sizes of galleries with the score below which the best of so many photos means that
    nothing there looks like the query; photos below `left_out_below` are left out where something does.
    """

    nothing_below: tuple[tuple[int, float], ...]
    left_out_below: float

    def nothing(self, photos: int) -> float:
        """Return the least score of the best of so many photos; beyond the sizes measured, that of the nearest size."""
        sizes, values = zip(*self.nothing_below, strict=True)
        return float(np.interp(np.log(max(photos, 1)), np.log(sizes), values))


@dataclass(frozen=True)
class Cutoff:
    """The thresholds of each kind of query that could be calibrated, and what they were calibrated on."""

    kinds: Mapping[Calibration, Thresholds]
    calibrated_on: str

    def worth_showing(self, scores: Sequence[float], photos: int, kind: Calibration | None) -> int:
        """Return how many of the scores of the best photos, best first, are of photos that look like the query.

        All of them where this kind of query has no thresholds; `photos` is how many were searched.
        """
        limits = self.kinds.get(kind) if kind else None
        if limits is None:
            return len(scores)
        if not scores or scores[0] < limits.nothing(photos):
            return 0
        return sum(score >= limits.left_out_below for score in scores)

    def of_sentences(self) -> "Cutoff":
        """Return the thresholds of sentences alone: of a single word the score depends more on what kind of images they are."""
        return replace(self, kinds={kind: limits for kind, limits in self.kinds.items() if "words" not in kind})

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @staticmethod
    def from_plain(values: Any) -> "Cutoff | None":
        """Rebuild from plain values, None from None; raises CrossmodalError for anything else."""
        if values is None:
            return None
        try:
            kinds = {kind: _thresholds(limits) for kind, limits in values["kinds"].items()}
            if not set(kinds) <= set(get_args(Calibration)):
                raise ValueError("an unknown kind of query")
            return Cutoff(kinds, str(values["calibrated_on"])[:200])
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
            raise CrossmodalError(f"This is not a valid cut-off ({type(error).__name__}: {error}).") from error

    @staticmethod
    def read(folder: Path) -> "Cutoff | None":
        """Return what lies beside a run's checkpoints, or None; raises CrossmodalError where it is broken."""
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        try:
            return Cutoff.from_plain(json.loads(read_bounded(path)))
        except (ValueError, RecursionError, CrossmodalError) as error:
            raise CrossmodalError(f"{path} is broken ({error}); delete it, or calibrate it again.") from error


def _thresholds(limits: Any) -> Thresholds:
    """Rebuild thresholds from plain values; raises ValueError and others for anything else."""
    nothing = tuple((int(size), float(value)) for size, value in limits["nothing_below"])
    left_out = float(limits["left_out_below"])
    sizes = [size for size, _ in nothing]
    rising = sizes and sizes == sorted({*sizes}) and sizes[0] >= 1 and sizes[-1] <= MOST_PHOTOS
    if not rising or not all(map(math.isfinite, [left_out, *(value for _, value in nothing)])):
        raise ValueError("no threshold")
    return Thresholds(nothing, left_out)
