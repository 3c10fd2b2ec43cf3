"""Alignment of pairs and uniformity of each modality (Wang and Isola 2020)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from crossmodal.evaluation.vectors import Vectors, rows_of, similarities, single_precision, squared_distances

# Uniformity is a mean over all pairs of vectors; of more vectors, this many evenly spaced ones are used.
VECTORS = 10_000
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Geometry:
    """The terms whose means are alignment and uniformity.

    distances [M]: squared distance of each text and its image. image_nearness [n] and text_nearness
    [m]: the mean of exp(-2 d^2) over the others of its kind, for the rows image_rows and text_rows.
    """

    distances: Tensor
    image_nearness: Tensor
    text_nearness: Tensor
    image_rows: Tensor
    text_rows: Tensor


def geometry_of(images: Vectors, texts: Vectors, image_of_text: Tensor) -> Geometry:
    """Measure unit vectors: images [N, D], texts [M, D], the image of each text [M]."""
    distances = squared_distances(rows_of(images, image_of_text), texts)
    image_rows, text_rows = _spaced(images.shape[0]), _spaced(texts.shape[0])
    return Geometry(
        distances,
        nearness(rows_of(images, image_rows)),
        nearness(rows_of(texts, text_rows)),
        image_rows,
        text_rows,
    )


def _spaced(count: int) -> Tensor:
    return torch.linspace(0, count - 1, min(count, VECTORS)).round().long()


def nearness(vectors: Vectors) -> Tensor:
    """Return the mean of exp(-2 d^2) over all other vectors for each unit vector [N, D]; nan for a single one."""
    vectors = single_precision(vectors)
    count = vectors.shape[0]
    sums = torch.cat([
        torch.exp(-2 * (2 - 2 * similarities(rows_of(vectors, rows), vectors)).clamp(min=0)).double().sum(1)
        for rows in torch.arange(count).split(ROWS_AT_ONCE)
    ])  # fmt: skip
    return (sums - 1) / (count - 1)  # without each vector's pair with itself


def space_metrics(geometry: Geometry) -> dict[str, float]:
    """Return alignment (lower is closer) and both uniformities (lower is more evenly spread)."""
    nearness = (geometry.image_nearness, geometry.text_nearness)
    images, texts = (math.log(values.mean().item()) if len(values) > 1 else math.nan for values in nearness)
    return {
        "alignment": geometry.distances.mean().item(),
        "image_uniformity": images,
        "text_uniformity": texts,
    }
