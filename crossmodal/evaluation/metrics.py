"""Retrieval metrics over a whole split, all captions, in both directions; ties count against the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossmodal.encoding.embeddings import Embeddings
from crossmodal.evaluation.vectors import Vectors, rows_of, similarities, single_precision

KS = (1, 5, 10)
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Ranks:
    """The ranks of all images and texts, from 1.

    images [N]: the rank of each image's best caption among all texts. texts [M]: the rank of each
    text's image among all images. hits [N, len(KS)]: how many of the first K texts are an image's
    own. image_of_text [M].
    """

    images: Tensor
    texts: Tensor
    hits: Tensor
    image_of_text: Tensor


def ranks_of(
    images: Vectors,
    texts: Vectors,
    caption_to_image: Sequence[int],
    biases: tuple[np.ndarray, np.ndarray] | None = None,
) -> Ranks:
    """Rank all texts for each image, and all images for each text.

    images [N, D] and texts [M, D] are unit vectors; caption_to_image [M] is the image of each text. `biases` of
    images [N] and texts [M] are taken from their scores (see crossmodal.hubs). Scores are fp32; an equal
    score of a wrong item ranks before the right one.
    """
    images, texts = single_precision(images), single_precision(texts)
    device = images.device if isinstance(images, Tensor) else None
    owner = torch.as_tensor(caption_to_image, device=device)
    all_images = torch.arange(images.shape[0], device=device)
    # Filled in place: small results that are kept between large blocks fragment the heap by gigabytes.
    image_ranks, text_ranks = torch.empty_like(all_images), torch.empty_like(owner)
    hits = torch.empty(len(all_images), len(KS), dtype=torch.long, device=device)
    of_images, of_texts = (torch.as_tensor(bias, device=device) for bias in biases) if biases else (0, 0)
    for rows in torch.arange(texts.shape[0], device=device).split(ROWS_AT_ONCE):
        scores = similarities(rows_of(texts, rows), images) - of_images
        text_ranks[rows] = _best_rank(scores, all_images == owner[rows, None])
    for rows in all_images.split(ROWS_AT_ONCE):
        scores, right = similarities(rows_of(images, rows), texts) - of_texts, owner == rows[:, None]
        image_ranks[rows] = _best_rank(scores, right)
        hits[rows] = _right_in_first(scores, right)
    return Ranks(image_ranks, text_ranks, hits, owner)


def _best_rank(scores: Tensor, right: Tensor) -> Tensor:
    """Return the rank of the best right item in each row: 1 + the wrong items that score as high or higher."""
    best = scores.masked_fill(~right, float("-inf")).amax(1, keepdim=True)
    # Not "scores >= best": that is false for NaN, and a model whose scores are NaN would be perfect.
    return 1 + (~(scores < best) & ~right).sum(1)


def _right_in_first(scores: Tensor, right: Tensor) -> Tensor:
    """Return the number of right items among the first K of each row, for each K; at a tie wrong ones come first."""
    # In fp64 the penalty is far smaller than the difference of two fp32 scores, so it only decides ties.
    order = scores.double() - 1e-12 * right
    first = order.topk(min(KS[-1], scores.shape[1]), dim=1).indices
    among = right.gather(1, first).cumsum(1)
    return torch.stack([among[:, min(k, among.shape[1]) - 1] for k in KS], dim=1)


def retrieval_metrics(images: Vectors, texts: Vectors, caption_to_image: Sequence[int]) -> dict[str, float]:
    """Return the metrics of unit vectors: images [N, D], texts [M, D], the image of each text [M]."""
    return metrics_of(ranks_of(images, texts, caption_to_image))


def metrics_of(ranks: Ranks) -> dict[str, float]:
    """Return recall and precision at K (per cent), median and mean rank, MRR, in both directions, and rsum.

    With fewer than K items in the gallery recall@K is 100 and precision@K still divides by K.
    """
    metrics: dict[str, float] = {}
    for way, own in (("i2t", ranks.images), ("t2i", ranks.texts)):
        own = own.double()
        for k in KS:
            metrics[f"{way}_r{k}"] = 100 * (own <= k).double().mean().item()
        metrics[f"{way}_medr"] = own.quantile(0.5).item()
        metrics[f"{way}_meanr"] = own.mean().item()
        metrics[f"{way}_mrr"] = (1 / own).mean().item()
    for column, k in enumerate(KS):
        metrics[f"i2t_p{k}"] = 100 * (ranks.hits[:, column].double() / k).mean().item()
        metrics[f"t2i_p{k}"] = metrics[f"t2i_r{k}"] / k  # only one image is right
    metrics["rsum"] = sum(metrics[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in KS)
    return metrics | {"images": len(ranks.images), "captions": len(ranks.texts)}


def metrics_of_split(embeddings: Embeddings, split: str) -> dict[str, float]:
    """Return the metrics of one split, ranked within that split ("all" for everything)."""
    chosen = embeddings.only(split)
    return retrieval_metrics(chosen.images, chosen.texts, chosen.caption_to_image.tolist())
