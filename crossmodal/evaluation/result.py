"""The figures of one system with their intervals, and how they are printed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from crossmodal.evaluation.geometry import geometry_of, space_metrics
from crossmodal.evaluation.metrics import Ranks, metrics_of, ranks_of
from crossmodal.evaluation.resampling import intervals, resample
from crossmodal.evaluation.vectors import Vectors

COLUMNS = (
    ("R@1", "r1", 1), ("R@5", "r5", 1), ("R@10", "r10", 1), ("P@1", "p1", 1), ("P@5", "p5", 1), ("P@10", "p10", 1),
    ("median rank", "medr", 1), ("mean rank", "meanr", 1), ("MRR", "mrr", 3),
)  # fmt: skip
SPACE = (("alignment", "alignment"), ("uniformity of images", "image_uniformity"), ("of texts", "text_uniformity"))
WAYS = (("text to image", "t2i"), ("image to text", "i2t"))
NOTE = "± is half of the 95 % bootstrap interval over images."


@dataclass(frozen=True)
class Result:
    """One system's figures, their intervals, the bootstrap draws, and the ranks that all are computed from."""

    name: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    resampled: Mapping[str, Tensor] = field(default_factory=dict)
    ranks: Ranks | None = None

    def cell(self, key: str, digits: int = 1) -> str:
        """Return a figure with half of its interval."""
        if key not in self.intervals:
            return f"{self.metrics[key]:.{digits}f}"
        low, high = self.intervals[key]
        return f"{self.metrics[key]:.{digits}f} ±{(high - low) / 2:.{digits}f}"

    def plain(self) -> dict[str, Any]:
        """Return figures and intervals as plain values."""
        edges = {key: list(pair) for key, pair in self.intervals.items()}
        return {"name": self.name, "metrics": dict(self.metrics), "intervals": edges}


def measure(
    name: str,
    images: Vectors,
    texts: Vectors,
    image_of_text: Tensor,
    biases: tuple[np.ndarray, np.ndarray] | None = None,
) -> Result:
    """Return all figures of unit vectors: images [N, D], texts [M, D], the image of each text [M]; `biases` as in ranks_of."""
    ranks = ranks_of(images, texts, image_of_text.tolist(), biases)
    geometry = geometry_of(images, texts, image_of_text)
    resampled = resample(ranks, geometry)
    return Result(name, metrics_of(ranks) | space_metrics(geometry), intervals(resampled), resampled, ranks)


def table(result: Result) -> str:
    """Return the figures of one system as a small table under its name."""
    lines = [result.name, f"{'':14}" + "".join(f"{title:>14}" for title, _, _ in COLUMNS)]
    for name, way in WAYS:
        cells = (result.cell(f"{way}_{key}", digits) for _, key, digits in COLUMNS)
        lines.append(f"{name:14}" + "".join(f"{cell:>14}" for cell in cells))
    space = "; ".join(f"{name} {result.cell(key, 3)}" for name, key in SPACE)
    return "\n".join([*lines, f"rsum {result.cell('rsum')}; {space}"])


def as_json(results: Sequence[Result], of: str) -> str:
    """Return systems with all their figures as JSON."""
    return json.dumps({"of": of, "systems": [result.plain() for result in results]}, indent=2) + "\n"
