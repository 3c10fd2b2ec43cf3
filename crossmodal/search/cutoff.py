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
GALLERIES = (25, 50, 100, 250, 500, 1000, 2500, 5000)  # of more photos the best one scores higher by chance
DRAWN = 2000  # photos, at the least, that galleries of each size are drawn of
ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Cutoff:
    """Thresholds on cosine similarity, and what they were calibrated on.

    Where the best of so many photos scores below `threshold`, nothing looks like the sentence; else the
    photos below `left_out_below` are left out. `nothing_below` holds sizes of galleries and their thresholds.
    """

    nothing_below: tuple[tuple[int, float], ...]
    left_out_below: float
    calibrated_on: str

    def threshold(self, photos: int) -> float:
        """Return what the best of so many photos has to score; beyond the sizes measured, that of the nearest."""
        sizes, values = zip(*self.nothing_below, strict=True)
        return float(np.interp(np.log(max(photos, 1)), np.log(sizes), values))

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @staticmethod
    def from_plain(values: Mapping[str, Any] | None) -> "Cutoff | None":
        """Rebuild from plain values."""
        if not values:
            return None
        sizes = tuple((int(size), float(value)) for size, value in values["nothing_below"])
        return Cutoff(sizes, float(values["left_out_below"]), str(values["calibrated_on"]))

    @staticmethod
    def read(folder: Path) -> "Cutoff | None":
        """Return what lies beside a run's checkpoints, or None; raises CrossmodalError where it is broken."""
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        try:
            return Cutoff.from_plain(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CrossmodalError(f"{path} is broken ({error}); delete it, or calibrate anew.") from error


def calibrate(images: np.ndarray, texts: np.ndarray, image_of_text: np.ndarray, of: str) -> Cutoff:
    """Return the thresholds by validation pairs: unit vectors [N, D] and [M, D], the image of each text [M]."""
    rng = np.random.default_rng(0)
    sizes = [*(size for size in GALLERIES if size < len(images)), len(images)]
    thresholds = []
    for size in sizes:
        draws = -(-DRAWN // size) if size < len(images) else 1
        best = [
            scores_of(*some_images(images, texts, image_of_text, rng.permutation(len(images))[:size]))[0]
            for _ in range(draws)
        ]
        thresholds.append((size, round(float(np.percentile(np.concatenate(best), WRONGLY_NOTHING)), 4)))
    own = scores_of(images, texts, image_of_text)[1]
    return Cutoff(tuple(thresholds), round(float(np.percentile(own, LEFT_OUT)), 4), of)


def some_images(
    images: np.ndarray, texts: np.ndarray, image_of_text: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the vectors of some images with their texts, and the texts' images counted anew."""
    new_row = np.full(len(images), -1)
    new_row[rows] = np.arange(len(rows))
    kept = new_row[image_of_text] >= 0
    return images[rows], texts[kept], new_row[image_of_text[kept]]


def scores_of(images: np.ndarray, texts: np.ndarray, image_of_text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each text the score of the image that scores best [M], and that of its own image [M]."""
    images, texts = images.astype(np.float32), texts.astype(np.float32)
    best, own = [], []
    for start in range(0, len(texts), ROWS_AT_ONCE):
        scores = texts[start : start + ROWS_AT_ONCE] @ images.T
        best.append(scores.max(1))
        own.append(scores[np.arange(len(scores)), image_of_text[start : start + ROWS_AT_ONCE]])
    return np.concatenate(best), np.concatenate(own)
