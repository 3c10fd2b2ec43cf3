"""Searching one's own photos: terms, filters, order, copies, the cut-off."""

import os
import random
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from crossmodal.search.fast_index import HalfIndex, ListsIndex, choose_index
from PIL import Image, ImageDraw

from crossmodal.errors import CrossmodalError
from crossmodal.photos.reading import look_of
from crossmodal.photos.store import Store
from crossmodal.scale.milvus.connection import Milvus
from crossmodal.scale.milvus.gallery import MilvusSearch
from crossmodal.scale.milvus.loading import Source, load
from crossmodal.search.copies import look_alike
from crossmodal.search.cutoff import Cutoff, calibrate
from crossmodal.search.filters import Filters
from crossmodal.search.query import Term, combine, parse_terms
from crossmodal.search.record import Described
from crossmodal.search.search import PhotoSearch
from crossmodal.search.vector_index import PlainIndex, VectorIndex, best
from tests.test_photo_index import ColourRuntime, opened, run, save

COLOURS = {
    "red": (250, 5, 5),
    "green": (5, 250, 5),
    "blue": (5, 5, 250),
    "violet": (200, 5, 200),
    "white": (250, 250, 250),
}


Opener = Callable[[Path], PhotoSearch]


@pytest.fixture(params=["index", "file", pytest.param("server", marks=pytest.mark.real)])
def reopened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opener:
    """Opens an index where it lies, or loaded into an engine: one that is a file, or a server of the test's own."""
    if request.param == "index":
        return opened
    server = request.getfixturevalue("milvus_server").url if request.param == "server" else None
    url = server or str(tmp_path_factory.mktemp("engine") / "photos.db")

    def loaded(root: Path) -> PhotoSearch:
        milvus = Milvus(url, f"photos_{time.time_ns()}")
        load(milvus, Source.of_index(root / ".crossmodal"), rebuild=False)
        return MilvusSearch(milvus, runtime=ColourRuntime())

    return loaded


@pytest.fixture
def library(tmp_path: Path, reopened: Opener) -> PhotoSearch:
    for day, (name, colour) in enumerate(COLOURS.items(), start=1):
        size = {"red": (80, 40), "green": (40, 80)}.get(name, (60, 60))
        path = save(tmp_path / ("warm" if name in ("red", "violet") else "cold/deep") / f"{name}.png", colour, size)
        os.utime(path, (datetime(2020, 1, day, 12).timestamp(),) * 2)
    run(tmp_path)
    return reopened(tmp_path)


def names(library: PhotoSearch, text: str, **options: object) -> list[str]:
    return [Path(hit.name).stem for hit in library.search(library.query(text), **options)]  # type: ignore[arg-type]


def test_terms_by_hand() -> None:
    assert parse_terms("dog + beach - people") == [Term("dog"), Term("beach"), Term("people", -1)]
    assert parse_terms("2:dog + 0.5:cat") == [Term("dog", 2), Term("cat", 0.5)]
    assert parse_terms("- people") == [Term("people", -1)]
    assert parse_terms("a t-shirt with 3:2 format, a+b") == [Term("a t-shirt with 3:2 format, a+b")]
    for unfinished in ("dog +", "+", "dog + - cat", "- "):
        assert parse_terms(unfinished) == [Term(unfinished.strip())]
    for broken in ("  ", "0:dog"):
        with pytest.raises(CrossmodalError):
            parse_terms(broken)


def test_combined_by_hand() -> None:
    one, two = np.eye(2, dtype=np.float32)
    np.testing.assert_allclose(combine([(one, 3.0), (two, -4.0)]), [0.6, -0.8], atol=1e-6)
    with pytest.raises(CrossmodalError, match="cancel each other out"):
        combine([(one, 1.0), (one, -1.0)])


def test_words_signs_and_weights(library: PhotoSearch) -> None:
    assert names(library, "red")[0] == "red"
    assert names(library, "red + blue")[0] == "violet"
    assert names(library, "red + green + blue")[0] == "white"
    assert names(library, "red + blue - red", top_k=1) == ["blue"]
    assert names(library, "9:green + red", top_k=1) == ["green"]


def test_photos_and_photos_of_the_index(library: PhotoSearch, tmp_path: Path) -> None:
    photo = library.encode_photo(save(tmp_path / "elsewhere" / "q.jpg", (240, 10, 10)))
    hits = library.search(library.query(photo=photo))
    assert Path(hits[0].name).stem == "red"
    both = library.query("blue", photo, photo_weight=0.05)
    assert Path(library.search(both)[0].name).stem == "blue"
    like = library.search(library.query(like="warm/violet.png"))
    assert like[0].name == "warm/violet.png"
    assert like[0].score == pytest.approx(1, abs=1e-5)
    with pytest.raises(CrossmodalError, match=r"no.png is not in the index"):
        library.query(like="no.png")
    with pytest.raises(CrossmodalError, match="The query is empty"):
        library.query("  ")


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(folder="warm"), {"red", "violet"}),
        (Filters(folder="cold"), {"green", "blue", "white"}),
        (Filters(folder="col"), set()),
        (Filters(orientation="portrait"), {"green"}),
        (Filters(orientation="landscape", folder="warm"), {"red"}),
        (Filters(after=date(2020, 1, 4)), {"violet", "white"}),
        (Filters(after=date(2020, 1, 2), before=date(2020, 1, 3)), {"green", "blue"}),
        (Filters(megapixels=0.0034), {"blue", "violet", "white"}),
        (Filters(camera="nikon"), set()),
    ],
)
def test_filters(library: PhotoSearch, filters: Filters, found: set[str]) -> None:
    assert set(names(library, "red", filters=filters)) == found


def test_filters_that_nothing_can_pass_are_said(library: PhotoSearch) -> None:
    for filters, words in (
        (Filters(orientation="round"), "there is landscape, portrait, square"),
        (Filters(after=date(2021, 1, 1), before=date(2020, 1, 1)), "Nothing was taken after 2021-01-01"),
    ):
        with pytest.raises(CrossmodalError, match=words):
            names(library, "red", filters=filters)


def test_the_newest_of_the_best_first(library: PhotoSearch) -> None:
    assert names(library, "red", top_k=3, by_date=True) == sorted(
        names(library, "red", top_k=3), key=list(COLOURS).index, reverse=True
    )


def scene(path: Path, seed: int, size: tuple[int, int] = (300, 200)) -> Image.Image:
    rng = random.Random(seed)
    photo = Image.new("RGB", (300, 200), (90, 120, 150))
    draw = ImageDraw.Draw(photo)
    for _ in range(25):
        x, y = rng.randrange(300), rng.randrange(200)
        draw.ellipse(
            (x, y, x + rng.randrange(10, 90), y + rng.randrange(10, 90)), fill=tuple(rng.choices(range(256), k=3))
        )
    photo = photo.resize(size)
    path.parent.mkdir(parents=True, exist_ok=True)
    photo.save(path)
    return photo


def described(photo: Image.Image) -> Described:
    return Described(b"", *photo.size, None, "", look_of(photo))


def test_copies_are_told_by_their_looks(tmp_path: Path) -> None:
    scenes = [scene(tmp_path / f"{seed}.png", seed) for seed in range(60)]
    for seed, photo in enumerate(scenes):
        small = photo.resize((120, 80))
        small.save(tmp_path / "small.jpg", quality=60)
        with Image.open(tmp_path / "small.jpg") as copy:
            assert look_alike(described(photo), described(copy.convert("RGB"))), seed
    alike = sum(look_alike(described(a), described(b)) for a in scenes for b in scenes if a is not b)
    assert alike == 0
    plain = [Image.new("RGB", (50, 50), colour) for colour in ("white", "black")]
    assert not look_alike(described(plain[0]), described(plain[1]))


def test_copies_stand_under_the_best_of_them(tmp_path: Path, reopened: Opener) -> None:
    scene(tmp_path / "a.png", 1)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    scene(tmp_path / "c.jpg", 1, (150, 100))
    scene(tmp_path / "d.png", 2)
    run(tmp_path)
    library = reopened(tmp_path)
    query = library.query("red")
    grouped = library.search(query, 2)
    assert len(grouped) == 2
    (of_one,) = (hit for hit in grouped if hit.exact_copies or hit.similar_copies)
    members = {of_one.name, *of_one.exact_copies, *of_one.similar_copies}
    assert members == {"a.png", "b.png", "c.jpg"}
    assert len(library.search(query, 10, group=False)) == 4


def test_the_cut_off(tmp_path: Path, library: PhotoSearch, reopened: Opener) -> None:
    store = Store(tmp_path / ".crossmodal", writable=True)
    store.set_meta("cutoff", Cutoff(((5, 0.9),), 0.6, "made up").plain())
    store.close()
    cut = reopened(tmp_path)
    assert names(cut, "red") == ["red", "violet"]  # white, at 0.58, is left out
    assert len(names(cut, "red", cut_off=False)) == 5
    assert len(names(cut, "red + blue")) == 5  # it says nothing of several terms
    assert names(cut, "red", filters=Filters(folder="cold")) == []  # the best of these is white


def test_calibrated_by_hand() -> None:
    images = np.eye(3, dtype=np.float32)
    texts = np.array([[1, 0, 0], [0, 1, 0], [0, 0.6, 0.8]], dtype=np.float32)
    cutoff = calibrate(images, texts, np.array([0, 1, 1]), "by hand")
    assert cutoff.threshold(3) == pytest.approx(0.8 + 0.1 * 0.2, abs=1e-3)  # of three; a tenth from 0.8 to 1
    assert Cutoff(((10, 0.2), (1000, 0.4)), 0, "").threshold(100) == pytest.approx(0.3)
    assert Cutoff(((10, 0.2), (1000, 0.4)), 0, "").threshold(1_000_000) == pytest.approx(0.4)
    assert cutoff.left_out_below == pytest.approx(0.6 + 0.2 * 0.4, abs=1e-3)


def everywhere(vectors: np.ndarray) -> ListsIndex:
    """Lists of which all are looked at."""
    index = ListsIndex(vectors, vectors[:20])
    index.looked_at = 1000
    return index


@pytest.mark.parametrize("make", [PlainIndex, HalfIndex, everywhere])
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


def clustered(count: int, clusters: int = 50) -> np.ndarray:
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((clusters, 32))
    vectors = centres[rng.integers(clusters, size=count)] + 0.4 * rng.standard_normal((count, 32))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_which_index_is_chosen() -> None:
    vectors = clustered(5000)
    assert choose_index(vectors, lambda: vectors[:30]).kind == "exact"
    lists = choose_index(vectors, lambda: vectors[:30], exact_up_to=1000)
    assert isinstance(lists, ListsIndex)
    assert lists.recall >= 0.95
    assert "of the exact first ten of 30 sentences" in lists.kind
    among = np.arange(5000) % 7 == 0
    found = lists.search(vectors[3], 5, among)[1]
    assert len(found) == 5
    assert among[found].all()
    # Where lists tell nothing apart, they would have to be looked at all: the scan stays.
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((3000, 32)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    strangers = rng.standard_normal((30, 32)).astype(np.float32)
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    chosen = choose_index(noise, lambda: strangers, exact_up_to=1000)
    assert chosen.kind == "exact" or chosen.recall >= 0.95  # type: ignore[attr-defined]
