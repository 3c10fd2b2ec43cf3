"""Bootstrap, baselines, alignment and uniformity against simulation and against values by hand."""

import math
import random
import tracemalloc
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from crossmodal.data.dataset import CaptionedImage, Dataset
from crossmodal.encoding.embeddings import Embeddings
from crossmodal.evaluation.baselines import bag_of_words, random_ranking
from crossmodal.evaluation.evaluate import average_of_captions
from crossmodal.evaluation.geometry import geometry_of, space_metrics
from crossmodal.evaluation.metrics import ranks_of, retrieval_metrics
from crossmodal.evaluation.resampling import paired_p
from crossmodal.evaluation.result import Result, measure


def some_result(seed: int, noise: float = 1.0) -> Result:
    generator = torch.Generator().manual_seed(seed)
    owner = torch.arange(60).repeat_interleave(3)
    images = F.normalize(torch.randn(60, 16, generator=generator), dim=1)
    texts = F.normalize(images[owner] + noise * torch.randn(180, 16, generator=generator), dim=1)
    return measure("made up", images, texts, owner)


def test_intervals_hold_the_figure_and_have_the_expected_width() -> None:
    result = some_result(0)
    metrics = result.metrics
    assert metrics.keys() - {"images", "captions"} == result.intervals.keys()
    for key, (low, high) in result.intervals.items():
        assert low <= metrics[key] <= high
        assert result.resampled[key].mean().item() == pytest.approx(metrics[key], rel=0.08)
    # For a share p of n images the interval is near 1.96 standard errors to either side.
    low, high = result.intervals["i2t_r5"]
    share = metrics["i2t_r5"] / 100
    assert (high - low) / 2 == pytest.approx(196 * math.sqrt(share * (1 - share) / 60), rel=0.25)


def test_paired_difference() -> None:
    good, bad = some_result(0, 0.5).resampled["rsum"], some_result(0, 2.0).resampled["rsum"]
    assert paired_p(good, bad) == 1 / 1000
    assert paired_p(good, good) == 1


def test_random_ranking_against_shuffles() -> None:
    captions_of = [5, 5, 3, 1, 5, 2]
    owner = [image for image, count in enumerate(captions_of) for _ in range(count)]
    rng = random.Random(0)
    image_ranks, hits = [], []
    for _ in range(4000):
        order = rng.sample(owner, len(owner))
        for image in range(len(captions_of)):
            image_ranks.append(1 + order.index(image))
            hits.append(order[:10].count(image))
    expected = random_ranking(captions_of)
    for k in (1, 5, 10):
        assert expected[f"i2t_r{k}"] == pytest.approx(
            100 * sum(r <= k for r in image_ranks) / len(image_ranks), abs=1.0
        )
    assert expected["i2t_meanr"] == pytest.approx(sum(image_ranks) / len(image_ranks), rel=0.02)
    assert expected["i2t_mrr"] == pytest.approx(sum(1 / r for r in image_ranks) / len(image_ranks), rel=0.02)
    assert expected["i2t_p10"] == pytest.approx(10 * sum(hits) / len(hits), rel=0.03)
    assert expected["i2t_medr"] == sorted(image_ranks)[len(image_ranks) // 2]
    assert expected["t2i_r1"] == pytest.approx(100 / 6)
    assert expected["t2i_r10"] == pytest.approx(100)
    assert expected["t2i_meanr"] == pytest.approx(3.5)


def test_words_find_the_photo_that_shares_them() -> None:
    things = ("red dog", "blue boat", "green house")
    told = [CaptionedImage(f"{t}.jpg", Path(t), (f"a {t}", f"one {t} here", f"the {t}")) for t in things]
    dataset = Dataset((*told, CaptionedImage("alone.jpg", Path("alone.jpg"), ("a single caption",))))
    images, texts, owner = bag_of_words(dataset, dataset.captions)
    assert (images.shape[0], owner.tolist()) == (3, [0, 0, 1, 1, 2, 2])
    assert retrieval_metrics(images, texts, owner.tolist())["t2i_r1"] == 100
    dense_images, dense_texts = (torch.from_numpy(vectors.toarray()) for vectors in (images, texts))
    torch.testing.assert_close(dense_texts.norm(dim=1), torch.ones(6).double())
    assert measure("sparse", images, texts, owner).metrics == pytest.approx(
        measure("dense", dense_images, dense_texts, owner).metrics, rel=1e-5
    )


def test_the_words_of_a_large_set_stay_sparse() -> None:
    """Dense vectors of these captions would take 3,000 x 9,000 x 8 bytes, more than 200 MB."""
    words = [f"word{number}" for number in range(9000)]
    rng = random.Random(0)
    captioned = [
        CaptionedImage(f"{n}.jpg", Path(f"{n}.jpg"), tuple(" ".join(rng.choices(words, k=9)) for _ in range(3)))
        for n in range(1000)
    ]
    dataset = Dataset(tuple(captioned))
    tracemalloc.start()
    try:
        images, texts, owner = bag_of_words(dataset, [*words, *dataset.captions])
        ranks_of(images, texts, owner.tolist())
        geometry_of(images, texts, owner)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


def test_draws_against_images_written_out_twice() -> None:
    """Each draw, by repeating the drawn images and their captions and asking for the plain metric."""
    result = some_result(3)
    ranks = result.ranks
    assert ranks is not None
    generator = torch.Generator().manual_seed(0)
    for number, drawn in enumerate(torch.randint(60, (3, 60), generator=generator)):
        texts = torch.cat([ranks.texts[ranks.image_of_text == image] for image in drawn]).double()
        images = ranks.images[drawn].double()
        expected = {
            "t2i_r1": 100 * (texts <= 1).double().mean(), "t2i_medr": texts.quantile(0.5), "t2i_mrr": (1 / texts).mean(),
            "i2t_r5": 100 * (images <= 5).double().mean(), "i2t_medr": images.quantile(0.5), "i2t_meanr": images.mean(),
            "i2t_p5": 20 * ranks.hits[drawn, 1].double().mean(),
        }  # fmt: skip
        for key, value in expected.items():
            assert result.resampled[key][number].item() == pytest.approx(value.item()), key


def space(images: torch.Tensor, texts: torch.Tensor) -> dict[str, float]:
    return space_metrics(geometry_of(images, texts, torch.arange(len(images))))


def test_alignment_and_uniformity_by_hand() -> None:
    images = torch.eye(2)
    assert space(images, images)["alignment"] == 0
    assert space(images, images.flip(0))["alignment"] == pytest.approx(2)
    assert math.isnan(space(images[:1], images[:1])["image_uniformity"])
    assert space(images, images)["text_uniformity"] == pytest.approx(-4)  # one distance, squared 2
    three = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    expected = math.log((math.exp(-8) + 2 * math.exp(-4)) / 3)
    assert space(three, three)["image_uniformity"] == pytest.approx(expected, rel=1e-5)


def test_captions_averaged_by_hand() -> None:
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    of = Embeddings(torch.eye(2), texts, ["a", "b"], ["val"] * 2, ["x", "y", "z"], torch.tensor([0, 0, 1]), {})
    averaged = average_of_captions(of)
    half = math.sqrt(0.5)
    torch.testing.assert_close(averaged.texts, torch.tensor([[half, half], [0.6, 0.8]]))
    assert averaged.caption_to_image.tolist() == [0, 1]
