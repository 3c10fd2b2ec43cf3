"""The uncertainty of figures: a bootstrap over images, for one model and for the difference of two."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from crossmodal.evaluation.geometry import Geometry
from crossmodal.evaluation.metrics import KS, Ranks

RESAMPLES = 1000
LEVEL = 0.95
DRAWS_AT_ONCE = 50


def resample(ranks: Ranks, geometry: Geometry, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Tensor]:
    """Return each metric over `resamples` draws of the images, with replacement; [resamples] each.

    An image is drawn with its captions, since captions of one image are not independent. Only the queries are
    resampled; the gallery stays whole. A uniformity is a mean over pairs and is resampled to first order (as if
    the other vectors were the same in every draw).
    """
    generator = torch.Generator().manual_seed(seed)
    draws = [_draws(ranks, geometry, weights) for weights in _weights(len(ranks.images), resamples, generator)]
    return {key: torch.cat([draw[key] for draw in draws]) for key in draws[0]}


def _weights(count: int, resamples: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield how often each image is drawn, [at most DRAWS_AT_ONCE, count]."""
    for start in range(0, resamples, DRAWS_AT_ONCE):
        drawn = torch.randint(count, (min(DRAWS_AT_ONCE, resamples - start), count), generator=generator)
        weights = torch.zeros(drawn.shape, dtype=torch.double)
        yield weights.scatter_add_(1, drawn, torch.ones_like(weights))


def _draws(ranks: Ranks, geometry: Geometry, weights: Tensor) -> dict[str, Tensor]:
    owner, count = ranks.image_of_text, len(ranks.images)
    everyone = torch.arange(count)

    def mean(values: Tensor, image_of: Tensor) -> Tensor:
        """Return the mean of observations, each drawn as often as its image."""
        values = values.double()
        sums = torch.zeros(count, dtype=torch.double).index_add_(0, image_of, values)
        here = torch.zeros(count, dtype=torch.double).index_add_(0, image_of, torch.ones_like(values))
        return (weights @ sums) / (weights @ here)

    found: dict[str, Tensor] = {}
    for way, own, image_of in (("i2t", ranks.images, everyone), ("t2i", ranks.texts, owner)):
        for k in KS:
            found[f"{way}_r{k}"] = 100 * mean(own <= k, image_of)
        found[f"{way}_medr"] = _medians(own, weights[:, image_of])
        found[f"{way}_meanr"] = mean(own, image_of)
        found[f"{way}_mrr"] = mean(1 / own.double(), image_of)
    for column, k in enumerate(KS):
        found[f"i2t_p{k}"] = 100 * mean(ranks.hits[:, column] / k, everyone)
        found[f"t2i_p{k}"] = found[f"t2i_r{k}"] / k
    found["rsum"] = torch.stack([found[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in KS]).sum(0)
    found["alignment"] = mean(geometry.distances, owner)
    sides = (
        ("image", geometry.image_nearness, everyone[geometry.image_rows]),
        ("text", geometry.text_nearness, owner[geometry.text_rows]),
    )
    for side, near, image_of in sides:
        found[f"{side}_uniformity"] = (2 * mean(near, image_of) - near.mean()).clamp(min=1e-30).log()
    return found


def _medians(ranks: Tensor, weights: Tensor) -> Tensor:
    """Return the median of ranks [K] in each draw, with weights [draws, K]; the mean of the middle two if even."""
    ordered, order = ranks.sort()
    below = weights[:, order].cumsum(1)
    half = below[:, -1:] / 2
    lower, upper = ((reached).to(torch.uint8).argmax(1) for reached in (below >= half, below > half))
    return (ordered[lower] + ordered[upper]).double() / 2


def intervals(resampled: Mapping[str, Tensor], level: float = LEVEL) -> dict[str, tuple[float, float]]:
    """Return the percentile interval of each figure."""
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    return {key: (low, high) for key, values in resampled.items() for low, high in [values.quantile(edges).tolist()]}


def paired_p(first: Tensor, second: Tensor) -> float:
    """Return the two-sided p-value of the difference of two models; at least 1 / resamples.

    Both were resampled with the same seed over the same images, so each draw has the same queries for both.
    """
    difference = first - second
    one_sided = min((difference <= 0).double().mean().item(), (difference >= 0).double().mean().item())
    return min(1.0, max(2 * one_sided, 1 / len(difference)))
