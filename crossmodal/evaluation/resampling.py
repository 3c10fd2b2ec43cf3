"""How sure a figure is: bootstrap over images, for one model and for the difference of two."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from crossmodal.evaluation.metrics import KS, PRECISION_AT

RESAMPLES = 1000
LEVEL = 0.95
RESAMPLED = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "i2t_p10", "t2i_p10", "i2t_meanr",
             "t2i_meanr", "i2t_mrr", "t2i_mrr", "rsum")  # fmt: skip


@dataclass(frozen=True)
class Ranks:
    """What `ranks_of` returns: [N] of the images, [M] of the texts, hits [N]; and the texts' images [M]."""

    images: Tensor
    texts: Tensor
    hits: Tensor
    image_of_text: Tensor


def resample(ranks: Ranks, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Tensor]:
    """Return each of RESAMPLED over `resamples` draws of the images, with replacement; [resamples] each.

    An image is drawn with its captions, since captions of one image are not independent. The gallery
    stays whole: what is resampled is who asks.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(ranks.images)
    drawn = torch.randint(count, (resamples, count), generator=generator)
    weights = torch.zeros(resamples, count, dtype=torch.double)
    weights.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.double))
    texts_of = torch.bincount(ranks.image_of_text, minlength=count).double()

    def over_images(values: Tensor) -> Tensor:
        return weights @ values.double() / count

    def over_texts(values: Tensor) -> Tensor:
        sums = torch.zeros(count, dtype=torch.double).index_add_(0, ranks.image_of_text, values.double())
        return (weights @ sums) / (weights @ texts_of)

    found: dict[str, Tensor] = {}
    for way, own, mean in (("i2t", ranks.images, over_images), ("t2i", ranks.texts, over_texts)):
        for k in KS:
            found[f"{way}_r{k}"] = 100 * mean(own <= k)
        found[f"{way}_meanr"] = mean(own)
        found[f"{way}_mrr"] = mean(1 / own.double())
    found["i2t_p10"] = 100 * over_images(ranks.hits / PRECISION_AT)
    found["t2i_p10"] = found["t2i_r10"] / PRECISION_AT
    found["rsum"] = torch.stack([found[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in KS]).sum(0)
    return found


def intervals(resampled: Mapping[str, Tensor], level: float = LEVEL) -> dict[str, tuple[float, float]]:
    """Return the percentile interval of each figure."""
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    return {key: (low, high) for key, values in resampled.items() for low, high in [values.quantile(edges).tolist()]}


def paired_p(first: Tensor, second: Tensor) -> float:
    """Return how surprising the difference of two models is if there is none, two-sided; at least 1 / resamples.

    Both were resampled with the same seed over the same images, so each draw asks both the same.
    """
    difference = first - second
    one_sided = min((difference <= 0).double().mean().item(), (difference >= 0).double().mean().item())
    return min(1.0, max(2 * one_sided, 1 / len(difference)))
