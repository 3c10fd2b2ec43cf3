"""Query-bank normalisation: biases by hand, banks, and galleries that rank by them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from crossmodal import hubs
from crossmodal.encoding.embeddings import Embeddings
from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.evaluation.metrics import ranks_of
from crossmodal.hubs import Bank, Banks, as_query, with_bias
from crossmodal.search.gallery import About
from crossmodal.search.run_gallery import RunGallery
from crossmodal.training.banks import make_banks


def units(count: int, size: int, seed: int) -> np.ndarray:
    return F.normalize(torch.randn(count, size, generator=torch.Generator().manual_seed(seed)), dim=1).numpy()


def test_the_bias_by_hand() -> None:
    items = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)
    bank = Bank(np.eye(2, dtype=np.float32), np.array([0.75, 0.25], np.float32), beta=2.0)
    by_hand = [
        math.log(0.75 * math.exp(2) + 0.25) / 2,
        math.log(0.75 * math.exp(1.2) + 0.25 * math.exp(1.6)) / 2,
    ]
    np.testing.assert_allclose(bank.bias(items), by_hand, rtol=1e-6)
    half = Bank(bank.vectors, bank.weights, 2.0, share=0.5, usual=0.1)
    np.testing.assert_allclose(half.bias(items), [(value - 0.1) / 2 for value in by_hand], rtol=1e-5)


def test_a_large_beta_overflows_nothing_and_parts_give_what_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = Bank.of(units(20, 6, 0), units(7, 6, 1), beta=1000.0)
    items = units(9, 6, 2)
    whole = bank.bias(items)
    assert np.isfinite(whole).all()
    monkeypatch.setattr(hubs, "ROWS_AT_ONCE", 2)
    np.testing.assert_allclose(bank.bias(items), whole, atol=1e-6)
    assert bank.bias(items[:0]).shape == (0,)


def test_the_usual_item_has_no_bias() -> None:
    items = units(30, 8, 1)
    assert Bank.of(units(50, 8, 0), items, beta=12.0).bias(items).mean() == pytest.approx(0, abs=1e-6)


def test_a_distilled_bank_says_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = torch.from_numpy(units(5, 16, 0)).repeat_interleave(torch.tensor([40, 10, 10, 10, 10]), 0)
    queries = F.normalize(topics + 0.02 * torch.from_numpy(units(80, 16, 1)), dim=1).numpy()
    items = units(30, 16, 2)
    whole = Bank.of(queries, items, beta=12.0)
    monkeypatch.setattr(hubs, "CENTRES", 5)
    small = Bank.of(queries, items, beta=12.0)
    assert small.vectors.shape == (5, 16)
    np.testing.assert_allclose(sorted(small.weights), [0.125, 0.125, 0.125, 0.125, 0.5], rtol=1e-6)
    np.testing.assert_allclose(small.bias(items), whole.bias(items), atol=0.01)


def test_banks_travel_and_broken_ones_are_refused() -> None:
    bank = Bank.of(units(6, 4, 0), units(3, 4, 1), beta=9.0).with_share(0.5)
    again = Banks.of({"banks": Banks(bank, bank).plain()})
    assert again is not None and Banks.of({}) is None
    np.testing.assert_array_equal(again.photos.bias(units(3, 4, 2)), bank.bias(units(3, 4, 2)))
    plain: dict[str, Any] = bank.plain()
    for broken in (
        None, {}, {**plain, "vectors": "?"}, {**plain, "vectors": plain["vectors"][:-8]}, {**plain, "weights": []},
        {**plain, "weights": [-1.0] * 6}, {**plain, "beta": 0}, {**plain, "usual": math.nan}, {**plain, "share": "much"},
        {**plain, "beta": 1e-300}, {**plain, "share": 1e300}, {**plain, "usual": -1e300}, {**plain, "weights": [1e38] * 6},
    ):  # fmt: skip
        with pytest.raises(CrossmodalError, match="not a valid query bank"):
            Bank.from_plain(broken)
        with pytest.raises(CheckpointError, match="banks of this checkpoint are broken"):
            Banks.of({"banks": {"captions": plain, "photos": broken or {}}})


def with_a_hub() -> tuple[Embeddings, np.ndarray]:
    """Item 0 is fairly near to every query; each other item is nearest to its own query but for the hub."""
    queries = F.normalize(torch.eye(4) + 0.5, dim=1)
    items = torch.cat([F.normalize(torch.ones(1, 4), dim=1), F.normalize(torch.eye(4) - 0.1, dim=1)])
    names = [f"{row}.jpg" for row in range(5)]
    captions = ["none", *(f"query {row}" for row in range(4))]
    texts = torch.cat([items[:1], queries])
    found = Embeddings(items.half(), texts.half(), names, ["train"] * 5, captions, torch.arange(5), {})
    return found, queries.numpy()


def gallery_of(embeddings: Embeddings) -> RunGallery:
    return RunGallery(embeddings, About("made up", Path("."), "0" * 32, Path("model.pt"), "none", frozenset()))


def test_a_gallery_ranks_without_biases_and_shows_cosines() -> None:
    embeddings, queries = with_a_hub()
    plain = [gallery_of(embeddings).nearest(query, 5, corrected=True)[0].photo.name for query in queries]
    assert plain == ["0.jpg"] * 4  # without banks there is nothing to correct
    bank = Bank.of(queries, embeddings.images.numpy(), beta=10.0)
    gallery = gallery_of(embeddings.with_banks(Banks(bank, bank)))
    for row, query in enumerate(queries, start=1):
        found = gallery.nearest(query, 5, corrected=True)
        assert found[0].photo.name == f"{row}.jpg"
        assert [match.ranked_by for match in found] == sorted((match.ranked_by for match in found), reverse=True)
        for match in found:
            cosine = float(embeddings.images[int(match.photo.name[0])].float().numpy() @ query)
            assert match.score == pytest.approx(cosine, abs=1e-3)
        uncorrected = gallery.nearest(query, 5)
        assert uncorrected[0].photo.name == "0.jpg" and uncorrected[0].score == uncorrected[0].ranked_by
    assert gallery.captions(gallery.vector(gallery.id_of(gallery.photos[1])), 5)[0].caption == "query 0"
    assert gallery.vector(gallery.id_of(gallery.photos[1])).shape == (4,)


def test_ranks_take_both_biases() -> None:
    images, texts = torch.eye(3), torch.eye(3)
    none = np.zeros(3, np.float32)
    away = np.array([2.0, 0, 0], np.float32)
    assert ranks_of(images, texts, [0, 1, 2], (none, none)).texts.tolist() == [1, 1, 1]
    assert ranks_of(images, texts, [0, 1, 2], (away, none)).texts.tolist() == [3, 1, 1]
    assert ranks_of(images, texts, [0, 1, 2], (away, none)).images.tolist() == [1, 1, 1]
    assert ranks_of(images, texts, [0, 1, 2], (none, away)).images.tolist() == [3, 1, 1]


def test_one_more_dimension_is_the_bias() -> None:
    items, bias, query = units(4, 3, 0), np.arange(4, dtype=np.float32), units(1, 3, 1)[0]
    np.testing.assert_allclose(with_bias(items, bias) @ as_query(query, True), items @ query - bias, atol=1e-6)
    np.testing.assert_allclose(with_bias(items, bias) @ as_query(query, False), items @ query, atol=1e-6)


def test_banks_that_do_not_help_are_left_out() -> None:
    """A perfect space has no hub; one with a hub in its validation split has."""
    names = [f"{row}.jpg" for row in range(120)]
    vectors = torch.eye(120)[:, :]
    splits = ["train"] * 60 + ["val"] * 60
    perfect = Embeddings(vectors.half(), vectors.half(), names, splits, names, torch.arange(120), {})
    assert make_banks(perfect, 0.07) is None
    hub = F.normalize(vectors + 0.9 * (torch.arange(120) % 60 == 0)[:, None], dim=1)
    texts = F.normalize(vectors + 0.35, dim=1)
    spoiled = Embeddings(hub.half(), texts.half(), names, splits, names, torch.arange(120), {})
    found = make_banks(spoiled, 0.07)
    assert found is not None and found.captions.share > 0


@pytest.mark.parametrize(
    ("rsums", "share"),
    [
        ((100.0, 108.0, 112.0, 105.0, 90.0), 0.25),  # two thirds of the gain, exactly
        ((100.0, 107.9, 112.0, 105.0, 90.0), 0.5),
        ((100.0, 99.0, 98.0, 97.0, 96.0), None),
    ],
)
def test_the_least_share_that_brings_most_of_the_gain_is_taken(
    rsums: Sequence[float], share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter(rsums)
    monkeypatch.setattr("crossmodal.training.banks._rsum", lambda *_: next(found))
    images, names = torch.eye(60), [f"{row}.jpg" for row in range(60)]
    splits = ["train"] * 10 + ["val"] * 50
    embeddings = Embeddings(images, images, names, splits, names, torch.arange(60), {})
    banks = make_banks(embeddings, 0.07)
    assert (banks.photos.share if banks else None) == share
