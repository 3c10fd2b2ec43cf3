"""Retrieval metrics over a whole split, all captions, both ways; ties count against the model."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

KS = (1, 5, 10)
PRECISION_AT = 10
ROWS_AT_ONCE = 256


def ranks_of(images: Tensor, texts: Tensor, caption_to_image: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Rank everything against everything.

    images [N, D] and texts [M, D] are unit vectors; caption_to_image [M] is the image of each text.
    Returns, with 1 the best rank: image to text [N], the rank of the image's best caption; text to
    image [M], the rank of the caption's image; and [N], how many of the first PRECISION_AT texts
    are the image's own. Scores are fp32; an equal score of a wrong item ranks before the right one.
    """
    images, texts = images.float(), texts.float()
    owner = torch.as_tensor(caption_to_image, device=texts.device)
    text_to_image = torch.cat([
        _best_rank(rows @ images.T, torch.arange(len(images), device=images.device) == own[:, None])
        for rows, own in zip(texts.split(ROWS_AT_ONCE), owner.split(ROWS_AT_ONCE), strict=True)
    ])  # fmt: skip
    image_ranks, hits = [], []
    for start in range(0, len(images), ROWS_AT_ONCE):
        own = torch.arange(start, min(start + ROWS_AT_ONCE, len(images)), device=images.device)
        scores, right = images[own] @ texts.T, owner == own[:, None]
        image_ranks.append(_best_rank(scores, right))
        hits.append(_right_in_first(scores, right, PRECISION_AT))
    return torch.cat(image_ranks), text_to_image, torch.cat(hits)


def _best_rank(scores: Tensor, right: Tensor) -> Tensor:
    """Return 1 + how many wrong items score as high as the best right one or higher, a row each."""
    best = scores.masked_fill(~right, float("-inf")).amax(1, keepdim=True)
    # Not "scores >= best": a NaN is neither, and a model that gives NaN would be perfect.
    return 1 + (~(scores < best) & ~right).sum(1)


def _right_in_first(scores: Tensor, right: Tensor, k: int) -> Tensor:
    """Return how many right items are among the first k of each row, wrong ones first at a tie."""
    # In fp64 the penalty is far below the distance of two fp32 scores, so it decides only ties.
    order = scores.double() - 1e-12 * right
    first = order.topk(min(k, scores.shape[1]), dim=1).indices
    return right.gather(1, first).sum(1)


def retrieval_metrics(images: Tensor, texts: Tensor, caption_to_image: Sequence[int]) -> dict[str, float]:
    """Return recalls (per cent), precision@10 (per cent), median and mean rank, MRR, both ways, and rsum.

    With fewer than K items in the gallery recall@K is 100 and precision@K still divides by K.
    """
    image_ranks, text_ranks, hits = ranks_of(images, texts, caption_to_image)
    metrics: dict[str, float] = {}
    for way, ranks in (("i2t", image_ranks), ("t2i", text_ranks)):
        ranks = ranks.double()
        for k in KS:
            metrics[f"{way}_r{k}"] = 100 * (ranks <= k).double().mean().item()
        metrics[f"{way}_medr"] = ranks.quantile(0.5).item()
        metrics[f"{way}_meanr"] = ranks.mean().item()
        metrics[f"{way}_mrr"] = (1 / ranks).mean().item()
    metrics["i2t_p10"] = 100 * (hits.double() / PRECISION_AT).mean().item()
    metrics["t2i_p10"] = metrics["t2i_r10"] / PRECISION_AT  # one image is right, so 1 of 10 at the most
    metrics["rsum"] = sum(metrics[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in KS)
    return metrics | {"images": len(images), "captions": len(texts)}


def alignment(images: Tensor, texts: Tensor, image_of_text: Tensor) -> float:
    """Mean squared distance of an image and its caption; lower is closer (Wang and Isola 2020)."""
    return (images.float()[image_of_text] - texts.float()).square().sum(1).mean().item()


def uniformity(vectors: Tensor, rows_at_once: int = 1024) -> float:
    """Log of the mean of exp(-2 d^2) over pairs; lower is more evenly spread (Wang and Isola 2020); nan of one vector."""
    if len(vectors) < 2:
        return math.nan
    vectors = vectors.float()
    total = torch.zeros((), dtype=torch.double)
    for rows in vectors.split(rows_at_once):
        total += torch.exp(-2 * (2 - 2 * rows @ vectors.T).clamp(min=0)).double().sum()
    pairs = len(vectors) * (len(vectors) - 1)
    return math.log((total.item() - len(vectors)) / pairs)  # less each vector with itself
