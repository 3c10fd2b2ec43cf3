"""The cut-off and its calibration, and the indexes below every search, against numbers worked out by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from crossmodal.errors import CrossmodalError
from crossmodal.search.calibration import Pairs, calibrate, sentence_queries, word_queries
from crossmodal.search.cutoff import Cutoff, Thresholds
from crossmodal.search.half_index import HalfIndex
from crossmodal.search.vector_index import PlainIndex, VectorIndex, best

IMAGES = np.eye(3, dtype=np.float32)
TEXTS = np.array([[1, 0, 0], [0, 1, 0], [0, 0.6, 0.8]], dtype=np.float32)


def test_calibrated_by_hand() -> None:
    cutoff = calibrate({"sentence": Pairs(IMAGES, TEXTS, np.array([0, 1, 1]))}, "by hand")
    limits = cutoff.kinds["sentence"]
    assert limits.nothing(3) == pytest.approx(0.8 + 0.1 * 0.2, abs=1e-3)  # of three; a tenth from 0.8 to 1
    assert limits.left_out_below == pytest.approx(0.6 + 0.2 * 0.4, abs=1e-3)
    between = Thresholds(((10, 0.2), (1000, 0.4)), 0)
    assert between.nothing(100) == pytest.approx(0.3)
    assert between.nothing(1_000_000) == pytest.approx(0.4)


def test_sums_and_differences_by_hand() -> None:
    queries = sentence_queries(Pairs(IMAGES, TEXTS, np.array([0, 1, 1])))
    both = TEXTS[1] + TEXTS[2]
    np.testing.assert_allclose(queries["sum"].queries, [both / np.linalg.norm(both)], atol=1e-6)
    assert queries["sum"].image_of_query.tolist() == [1]
    less = queries["difference"]
    for vector, owner in zip(less.queries, less.image_of_query, strict=True):
        assert (owner == 0) == (vector[0] > 0)  # the other sentence is of another image


def test_equal_captions_of_two_images_make_no_difference_and_end_nothing() -> None:
    queries = sentence_queries(Pairs(np.eye(2, dtype=np.float32), np.array([[1, 0], [1, 0]], np.float32), np.arange(2)))
    assert queries["difference"].queries.shape == (0, 2) and not len(queries["difference"].image_of_query)
    assert set(calibrate(queries, "two images").kinds) == {"sentence"}


def test_words_are_those_that_captions_agree_on() -> None:
    captions = [["a dog runs", "the dog", "a dog on sand"], ["a cat", "the cat sits", "one cat"]] * 5
    asked: list[str] = []

    def encode(sentences: Sequence[str]) -> np.ndarray:
        asked.extend(sentences)
        return np.eye(len(sentences), dtype=np.float32)

    images = np.eye(2, dtype=np.float32)[[1, 0] * 5]  # cat comes before dog
    queries = word_queries(images, captions, encode)
    assert asked == ["cat", "dog"]
    best_, own = queries["words"].scores()
    assert (own == 1).all() and (best_ == 1).all()
    assert not len(queries["sum of words"].queries)
    np.testing.assert_allclose(queries["difference of words"].scores()[1], 0.5**0.5, atol=1e-6)


def test_what_is_worth_showing() -> None:
    cutoff = Cutoff({"sentence": Thresholds(((5, 0.5),), 0.3)}, "made up")
    scores = [0.6, 0.4, 0.2]
    assert cutoff.worth_showing(scores, 5, "sentence") == 2
    assert cutoff.worth_showing([0.4, 0.35], 5, "sentence") == 0
    assert cutoff.worth_showing(scores, 5, "sum") == cutoff.worth_showing(scores, 5, None) == 3
    assert cutoff.worth_showing([], 0, "sentence") == 0
    assert Cutoff.from_plain(cutoff.plain()) == cutoff


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 5000,
        '{"kinds": 3}',
        '{"kinds": {"sum": {"nothing_below": [[1, NaN]], "left_out_below": 0}}}',
        '{"kinds": {"sum": {"nothing_below": [], "left_out_below": 0}}}',
        '{"kinds": {"sum": {"nothing_below": [[25, NaN], [25, 0.4]], "left_out_below": 0}}}',
        '{"kinds": {"sum": {"nothing_below": [[500, 0.3], [25, 0.4]], "left_out_below": 0}}}',
        '{"kinds": {"sum": {"nothing_below": [[25, 0.3], [1e30, 0.4]], "left_out_below": 0}}}',
    ],
)
def test_a_broken_cut_off_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "cutoff.json").write_text(text)
    with pytest.raises(CrossmodalError, match=r"cutoff.json is broken \(.*\); delete it"):
        Cutoff.read(tmp_path)


@pytest.mark.parametrize("make", [PlainIndex, HalfIndex])
def test_an_index_against_a_full_sort(make: Callable[[np.ndarray], VectorIndex]) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((500, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[100:140] = vectors[60]  # ties
    index = make(vectors)
    for among in (None, rng.random(500) < 0.3):
        rows = np.arange(500) if among is None else np.flatnonzero(among)
        scores = vectors @ vectors[60]
        expected = sorted(rows.tolist(), key=lambda row: (-scores[row], row))[:10]
        found_scores, found = index.search(vectors[60], 10, among)
        assert found.tolist() == expected
        np.testing.assert_allclose(found_scores, scores[expected], rtol=1e-5)
    assert index.search(vectors[0], 0)[1].tolist() == []
    assert len(index.search(vectors[0], 900)[1]) == 500
    assert best(np.array([1.0, 1.0, 1.0]), np.arange(3), 2)[1].tolist() == [0, 1]


def test_stored_half_precision_is_searched_in_place() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    scores, rows = HalfIndex(vectors).search(vectors[7].astype(np.float32), 3)
    exact = vectors.astype(np.float32) @ vectors[7].astype(np.float32)
    assert rows[0] == 7
    np.testing.assert_allclose(scores, np.sort(exact)[::-1][:3], rtol=1e-5)
