"""When to say that nothing looks like a sentence: scores calibrated on validation pairs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.errors import CrossmodalError

FILE = "cutoff.json"
WRONGLY_NOTHING = 5.0  # per cent of sentences about photos that are there, which may be told that nothing is
LEFT_OUT = 10.0  # per cent of true pairs that may be left out of what is shown
ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Cutoff:
    """Two thresholds on cosine similarity, and what they were calibrated on.

    Where the best photo scores below `nothing_below`, nothing looks like the sentence; else the photos
    below `left_out_below` are left out.
    """

    nothing_below: float
    left_out_below: float
    calibrated_on: str

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @staticmethod
    def from_plain(values: Mapping[str, Any] | None) -> "Cutoff | None":
        """Rebuild from plain values."""
        return Cutoff(**values) if values else None

    @staticmethod
    def read(folder: Path) -> "Cutoff | None":
        """Return what lies beside a run's checkpoints, or None; raises CrossmodalError where it is broken."""
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        try:
            return Cutoff.from_plain(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise CrossmodalError(f"{path} is broken ({error}); delete it, or calibrate anew.") from error


def calibrate(images: np.ndarray, texts: np.ndarray, image_of_text: np.ndarray, of: str) -> Cutoff:
    """Return the thresholds by validation pairs: unit vectors [N, D] and [M, D], the image of each text [M]."""
    best, own = scores_of(images, texts, image_of_text)
    low = (np.percentile(best, WRONGLY_NOTHING), np.percentile(own, LEFT_OUT))
    return Cutoff(round(float(low[0]), 4), round(float(low[1]), 4), of)


def scores_of(images: np.ndarray, texts: np.ndarray, image_of_text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each text the score of the image that scores best [M], and that of its own image [M]."""
    images, texts = images.astype(np.float32), texts.astype(np.float32)
    best, own = [], []
    for start in range(0, len(texts), ROWS_AT_ONCE):
        scores = texts[start : start + ROWS_AT_ONCE] @ images.T
        best.append(scores.max(1))
        own.append(scores[np.arange(len(scores)), image_of_text[start : start + ROWS_AT_ONCE]])
    return np.concatenate(best), np.concatenate(own)
