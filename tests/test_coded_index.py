"""The index of large galleries against exact search, in sizes that a test has time for."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from crossmodal.errors import CrossmodalError
from crossmodal.galleries import open_run
from crossmodal.hubs import as_query, with_bias
from crossmodal.photos.gallery import FolderGallery
from crossmodal.search import coded_index
from crossmodal.search.coded_index import CodedIndex, index_to_stay
from crossmodal.search.filters import Filters
from crossmodal.search.half_index import HalfIndex
from crossmodal.search.vector_index import PlainIndex
from tests.test_serving import cache as cache  # a fixture

COUNT, SIZE, TOP = 6000, 512, 10


@pytest.fixture
def vectors() -> np.ndarray:
    """Unit vectors around 200 centres, and a bias: what lies together is hard to tell apart by codes."""
    rng = np.random.default_rng(0)
    found = rng.standard_normal((200, SIZE))[rng.integers(200, size=COUNT)] + rng.standard_normal((COUNT, SIZE))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return with_bias(found.astype(np.float32), rng.normal(0, 0.02, COUNT).astype(np.float32))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers in proportion to a small gallery."""
    monkeypatch.setattr(coded_index, "CELLS", 8)
    monkeypatch.setattr(coded_index, "CANDIDATES", 400)
    monkeypatch.setattr(coded_index, "FEW", 300)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("type_", [np.float32, np.float16])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.02])
def test_the_best_are_found_with_their_exact_scores(share: float, type_: type, vectors: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    vectors = vectors.astype(type_)
    index, exact = CodedIndex(vectors), PlainIndex(vectors.astype(np.float32))
    among = None if share == 1 else rng.random(COUNT) < share
    right = 0
    for row in rng.integers(COUNT, size=50):
        # As far from what it asks for as a caption is from its photo.
        asked = vectors[row, :-1].astype(np.float32) + 0.08 * rng.standard_normal(SIZE, dtype=np.float32)
        query = as_query(asked / np.linalg.norm(asked), corrected=bool(row % 2))
        scores, rows = index.search(query, TOP, among)
        assert among is None or among[rows].all()
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
        np.testing.assert_allclose(scores, vectors[rows].astype(np.float32) @ query, atol=1e-6)
        right += len(set(rows.tolist()) & set(exact.search(query, TOP, among)[1].tolist()))
    assert right >= 0.98 * 50 * TOP
    if share < 0.05:
        assert right == 50 * TOP  # so few are all scored


@pytest.mark.usefixtures("few")
def test_a_filter_is_no_afterthought(vectors: np.ndarray) -> None:
    exact, query, among = PlainIndex(vectors), vectors[3], np.ones(COUNT, bool)
    among[exact.search(query, 3000)[1]] = False  # the nearer half does not pass
    found = CodedIndex(vectors).search(query, TOP, among)[1]
    assert len(found) == TOP
    assert among[found].all()


@pytest.mark.usefixtures("few")
def test_equal_scores_come_in_the_order_of_rows_and_more_than_there_are_are_all(vectors: np.ndarray) -> None:
    vectors[100:140] = vectors[60]
    index = CodedIndex(vectors)
    assert index.search(vectors[60], 20)[1].tolist() == [60, *range(100, 119)]
    assert len(index.search(vectors[0], COUNT + 5)[1]) == COUNT
    assert len(index.search(vectors[0], 5, np.arange(COUNT) < 3)[1]) == 3
    assert index.search(vectors[0], 0)[1].tolist() == []


def test_what_is_damaged_is_one_sentence(vectors: np.ndarray) -> None:
    with pytest.raises(CrossmodalError, match="they are damaged"):
        CodedIndex(vectors).search(vectors[0, :5], TOP)
    vectors[5999, 2] = np.nan
    with pytest.raises(CrossmodalError, match=r"are not numbers.*--rebuild"):
        CodedIndex(vectors)


def test_galleries_of_a_process_that_stays_choose_it_by_their_size(
    photos: Path, runs: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    index = photos / ".crossmodal"
    assert isinstance(index_to_stay(np.eye(30)), PlainIndex)
    monkeypatch.setattr("crossmodal.photos.gallery.WORTH_A_COPY", 1)
    monkeypatch.setattr(coded_index, "WORTH_A_COPY", 1)
    assert FolderGallery(index, to_stay=True).kind == "exact"
    monkeypatch.setattr(coded_index, "LARGE", 30)  # as many as there are
    monkeypatch.setattr(coded_index, "CELLS", 2)
    folder, run = FolderGallery(index, to_stay=True), open_run(runs)
    assert folder.kind == run.kind == CodedIndex.kind
    assert FolderGallery(index).kind == "exact"  # one search is not worth the codes
    plain = FolderGallery(index)
    for filters in (Filters(), Filters(orientation="landscape")):
        asked = plain.vectors[4], 5, filters
        assert [one.photo.path for one in folder.nearest(*asked)] == [one.photo.path for one in plain.nearest(*asked)]
    assert len(run.captions(run.vectors[0], 3)) == 3
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert isinstance(index_to_stay(plain.vectors), HalfIndex)
