"""Metrics against a brute-force oracle and against values worked out by hand."""

import statistics

import pytest
import torch
import torch.nn.functional as F

from crossmodal.evaluation.metrics import retrieval_metrics


def oracle(images: torch.Tensor, texts: torch.Tensor, owner: list[int]) -> dict[str, float]:
    """Sort every list, wrong items first at a tie."""
    image_ranks, right, text_ranks = [], [], []
    for image in range(len(images)):
        order = sorted(range(len(texts)), key=lambda t: (-float(images[image] @ texts[t]), owner[t] == image))
        image_ranks.append(1 + next(rank for rank, t in enumerate(order) if owner[t] == image))
        right.append([sum(owner[t] == image for t in order[:k]) / k for k in (1, 5, 10)])
    for text in range(len(texts)):
        order = sorted(range(len(images)), key=lambda i: (-float(images[i] @ texts[text]), i == owner[text]))
        text_ranks.append(1 + order.index(owner[text]))
    found = {f"i2t_p{k}": 100 * statistics.mean(row[n] for row in right) for n, k in enumerate((1, 5, 10))}
    for way, ranks in (("i2t", image_ranks), ("t2i", text_ranks)):
        for k in (1, 5, 10):
            found[f"{way}_r{k}"] = 100 * statistics.mean(rank <= k for rank in ranks)
        found[f"{way}_medr"] = statistics.median(ranks)
        found[f"{way}_meanr"] = statistics.mean(ranks)
        found[f"{way}_mrr"] = statistics.mean(1 / rank for rank in ranks)
    found |= {f"t2i_p{k}": found[f"t2i_r{k}"] / k for k in (1, 5, 10)}
    found["rsum"] = sum(found[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in (1, 5, 10))
    return found | {"images": len(images), "captions": len(texts)}


@pytest.mark.parametrize("levels", [2, 5, None])
def test_against_the_oracle_with_and_without_ties(levels: int | None) -> None:
    generator = torch.Generator().manual_seed(levels or 0)
    images, texts = torch.randn(30, 4, generator=generator), torch.randn(90, 4, generator=generator)
    owner = (list(range(30)) + torch.randint(30, (60,), generator=generator).tolist())[:90]
    if levels:  # few distinct values, so that many scores are equal, and exactly so
        images, texts = (torch.randint(levels, x.shape, generator=generator).float() for x in (images, texts))
    else:
        images, texts = F.normalize(images, dim=1), F.normalize(texts, dim=1)
    assert retrieval_metrics(images, texts, owner) == pytest.approx(oracle(images, texts, owner), rel=1e-6)


def test_a_perfect_model_with_five_captions_scores_100() -> None:
    images = torch.eye(20)
    owner = [image for image in range(20) for _ in range(5)]
    metrics = retrieval_metrics(images, images[owner], owner)
    assert metrics["i2t_r1"] == metrics["t2i_r1"] == 100
    assert metrics["rsum"] == 600
    assert metrics["i2t_p10"] == 50  # five of the first ten
    assert metrics["t2i_p10"] == 10
    assert metrics["i2t_mrr"] == metrics["t2i_meanr"] == 1


def test_fewer_than_k_items_by_hand() -> None:
    images, texts = torch.eye(2), torch.eye(2)[[0, 0, 1]]  # image 0 has two captions, image 1 has one
    metrics = retrieval_metrics(images, texts, [0, 0, 1])
    assert metrics["t2i_r5"] == metrics["i2t_r10"] == 100
    assert metrics["t2i_p5"] == 20 and metrics["t2i_p10"] == 10
    assert metrics["i2t_p5"] == pytest.approx(100 * (2 / 5 + 1 / 5) / 2)  # all of them found, of five places
    assert metrics["i2t_p10"] == pytest.approx(15)


def test_ties_count_against_the_model() -> None:
    same = torch.ones(4, 3)
    metrics = retrieval_metrics(same, same, [0, 1, 2, 3])
    assert metrics["t2i_r1"] == 0 and metrics["i2t_medr"] == 4


def test_a_model_that_gives_no_numbers_is_last() -> None:
    broken = torch.full((4, 3), float("nan"))
    metrics = retrieval_metrics(broken, broken, [0, 1, 2, 3])
    assert metrics["t2i_medr"] == metrics["i2t_medr"] == 4
    assert metrics["t2i_r1"] == 0
