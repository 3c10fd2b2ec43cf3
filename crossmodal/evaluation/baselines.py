"""The baselines of every comparison: random ranking, and bags of words."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crossmodal.data.dataset import Dataset
from crossmodal.evaluation.metrics import KS
from crossmodal.evaluation.vectors import SparseMatrix


def random_ranking(captions_of: Sequence[int]) -> dict[str, float]:
    """Return the expected metrics of a random order, in closed form.

    captions_of[i] is how many captions image i has. Of M captions with c right ones, the best is at
    rank r with probability C(M - r, c - 1) / C(M, c); the medians are those of the ranks' distribution.
    """
    images, texts = len(captions_of), sum(captions_of)
    best_at = torch.zeros(texts, dtype=torch.double)  # the probability of the best caption at each rank, from 1
    for count in set(captions_of):
        whole = math.log(math.comb(texts, count))
        share = captions_of.count(count) / images
        best_at += share * torch.tensor(
            [
                math.exp(math.log(math.comb(texts - rank, count - 1)) - whole) if texts - rank >= count - 1 else 0.0
                for rank in range(1, texts + 1)
            ],
            dtype=torch.double,
        )
    at = {"i2t": best_at, "t2i": torch.full((images,), 1 / images, dtype=torch.double)}
    metrics: dict[str, float] = {}
    for way, probability in at.items():
        ranks = torch.arange(1, len(probability) + 1, dtype=torch.double)
        for k in KS:
            metrics[f"{way}_r{k}"] = 100 * probability[:k].sum().item()
        metrics[f"{way}_medr"] = float((probability.cumsum(0) >= 0.5 - 1e-12).nonzero()[0].item() + 1)
        metrics[f"{way}_meanr"] = (probability * ranks).sum().item()
        metrics[f"{way}_mrr"] = (probability / ranks).sum().item()
    for k in KS:
        metrics[f"i2t_p{k}"] = 100 * min(k, texts) / k * sum(captions_of) / images / texts
        metrics[f"t2i_p{k}"] = metrics[f"t2i_r{k}"] / k
    metrics["rsum"] = sum(metrics[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in KS)
    return metrics | {"images": images, "captions": texts}


def bag_of_words(dataset: Dataset, fitted_on: Sequence[str]) -> tuple[SparseMatrix, SparseMatrix, Tensor]:
    """Return TF-IDF vectors of images [N, V] and of texts [M, V], sparse and of unit length, and each text's image [M].

    `fitted_on` are captions of other images. An image has no words, so its first caption stands for it and
    is taken out of the texts: the baseline sees what a person wrote about the photo, which no image tower does.
    Images with a single caption are left out.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    described = [image for image in dataset.images if len(image.captions) > 1]
    vectorizer: Any = TfidfVectorizer(sublinear_tf=True).fit(fitted_on)
    texts = [caption for image in described for caption in image.captions[1:]]
    owner = [row for row, image in enumerate(described) for _ in image.captions[1:]]
    stand_ins = [image.captions[0] for image in described]
    return vectorizer.transform(stand_ins), vectorizer.transform(texts), torch.tensor(owner)
