"""Searching photos by words, photos and both; filters, order, copies and the cut-off, in an index and in Milvus."""

import os
import random
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from crossmodal.data.prepared import look_of
from crossmodal.errors import CrossmodalError, UnknownPhotoError
from crossmodal.photos.gallery import FolderGallery
from crossmodal.photos.store import Store
from crossmodal.scale.milvus.connection import Milvus
from crossmodal.scale.milvus.gallery import MilvusGallery
from crossmodal.scale.milvus.loading import SourceInMemory, load
from crossmodal.search.copies import look_alike
from crossmodal.search.cutoff import Cutoff, Thresholds
from crossmodal.search.filters import NO_FILTERS, Filters
from crossmodal.search.record import Described
from crossmodal.search.search import Search
from tests.test_photo_index import ColourRuntime, run, save

COLOURS = {
    "red": (250, 5, 5),
    "green": (5, 250, 5),
    "blue": (5, 5, 250),
    "violet": (200, 5, 200),
    "white": (250, 250, 250),
}


Opener = Callable[[Path], Search]


def in_folder(root: Path) -> Search:
    return Search(FolderGallery(root / ".crossmodal"), ColourRuntime())


@pytest.fixture(params=["index", "file", pytest.param("server", marks=pytest.mark.real)])
def reopened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opener:
    """Opens an index where it lies, or loaded into Milvus: a file, or a server of the test's own."""
    if request.param == "index":
        return in_folder
    server = request.getfixturevalue("milvus_server").url if request.param == "server" else None
    url = server or str(tmp_path_factory.mktemp("milvus") / "photos.db")

    def loaded(root: Path) -> Search:
        milvus = Milvus(url, f"photos_{time.time_ns()}")
        load(milvus, SourceInMemory.of(FolderGallery(root / ".crossmodal")), rebuild=False)
        return Search(MilvusGallery(milvus), ColourRuntime())

    return loaded


@pytest.fixture
def search(tmp_path: Path, reopened: Opener) -> Search:
    for day, (name, colour) in enumerate(COLOURS.items(), start=1):
        size = {"red": (80, 40), "green": (40, 80)}.get(name, (60, 60))
        path = save(tmp_path / ("warm" if name in ("red", "violet") else "cold/deep") / f"{name}.png", colour, size)
        os.utime(path, (datetime(2020, 1, day, 12).timestamp(),) * 2)
    run(tmp_path)
    return reopened(tmp_path)


def names(search: Search, text: str, count: int = 10, **options: object) -> list[str]:
    return [Path(hit.name).stem for hit in search.photos(search.query(text), count, **options).hits]  # type: ignore[arg-type]


def test_words_signs_and_weights(search: Search) -> None:
    assert names(search, "red")[0] == "red"
    assert names(search, "red + blue")[0] == "violet"
    assert names(search, "red + green + blue")[0] == "white"
    assert names(search, "red + blue - red", count=1) == ["blue"]
    assert names(search, "9:green + red", count=1) == ["green"]


def test_photos_and_photos_of_the_gallery(search: Search, tmp_path: Path) -> None:
    photo = search.encode_photo(save(tmp_path / "elsewhere" / "q.jpg", (240, 10, 10)))
    assert Path(search.photos(search.query(image=photo)).hits[0].name).stem == "red"
    both = search.query("blue", photo, image_weight=0.05)
    assert Path(search.photos(both).hits[0].name).stem == "blue"
    like = search.gallery.id_at("warm/violet.png")
    hits = search.photos(search.query(like=like)).hits
    assert (hits[0].name, hits[0].id) == ("warm/violet.png", like)
    assert hits[0].score == pytest.approx(1, abs=1e-5)
    assert like not in [hit.id for hit in search.photos(search.query(like=like), without=like).hits]
    assert search.hit(like).path == search.gallery.about.root / "warm/violet.png"
    with pytest.raises(UnknownPhotoError, match=r"warm/violett.png is not among .* did you mean warm/violet.png"):
        search.gallery.id_at("warm/violett.png")
    with pytest.raises(UnknownPhotoError, match="no photo with this id"):
        search.query(like="0" * 24)
    for weight in (float("nan"), float("inf"), -1.0):
        with pytest.raises(CrossmodalError, match="The weight of 'the photo'"):
            search.query("blue", photo, weight)
    with pytest.raises(CrossmodalError, match="The query is empty"):
        search.query("  ")


def test_what_is_shown_before_anything_is_asked(search: Search) -> None:
    assert {Path(hit.name).stem for hit in search.newest(9)} == set(COLOURS)
    assert [Path(hit.name).stem for hit in search.newest(9, Filters(folder="warm"))] == ["violet", "red"]
    assert len(search.newest(2)) == 2


def test_what_can_be_chosen_from(search: Search) -> None:
    assert list(search.gallery.values("folder")) == ["cold/deep", "warm"]
    assert list(search.gallery.values("camera")) == []


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(folder="warm"), {"red", "violet"}),
        (Filters(folder="cold"), {"green", "blue", "white"}),
        (Filters(folder="elsewhere"), set()),
        (Filters(folder="Cold/"), {"green", "blue", "white"}),
        (Filters(folder="warm/../cold"), {"green", "blue", "white"}),
        (Filters(orientation="portrait"), {"green"}),
        (Filters(orientation="landscape", folder="warm"), {"red"}),
        (Filters(after=date(2020, 1, 4)), {"violet", "white"}),
        (Filters(after=date(2020, 1, 2), before=date(2020, 1, 3)), {"green", "blue"}),
        (Filters(megapixels=0.0034), {"blue", "violet", "white"}),
        (Filters(camera="nikon"), set()),
        (Filters(after=date(1, 1, 1), before=date(9999, 12, 31)), set(COLOURS)),
        (Filters(after=date(9999, 12, 31)), set()),
    ],
)
def test_filters(search: Search, filters: Filters, found: set[str]) -> None:
    assert set(names(search, "red", filters=filters)) == found


def test_filters_that_nothing_can_pass_are_said(search: Search) -> None:
    for filters, words in (
        (Filters(orientation="round"), "there is landscape, portrait, square"),
        (Filters(folder="col"), "no photo in the folder col; did you mean cold?"),
        (Filters(after=date(2021, 1, 1), before=date(2020, 1, 1)), "Nothing was taken after 2021-01-01"),
    ):
        with pytest.raises(CrossmodalError, match=words):
            names(search, "red", filters=filters)


def test_the_newest_of_the_best_first(search: Search) -> None:
    assert names(search, "red", count=3, by_date=True) == sorted(
        names(search, "red", count=3), key=list(COLOURS).index, reverse=True
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
    search = reopened(tmp_path)
    query = search.query("red")
    grouped = search.photos(query, 2).hits
    assert len(grouped) == 2
    (of_one,) = (hit for hit in grouped if hit.copies)
    assert {of_one.name, *(copy.photo.name for copy in of_one.copies)} == {"a.png", "b.png", "c.jpg"}
    assert sum(len(of_one.plain()[kind]) for kind in ("exact_copies", "similar_copies")) == 2
    assert len(search.photos(query, 10, group=False).hits) == 4


def test_the_cut_off(tmp_path: Path, search: Search, reopened: Opener) -> None:
    made_up = Cutoff({"words": Thresholds(((5, 0.9),), 0.6), "sum of words": Thresholds(((5, 0.1),), 0.9)}, "made up")
    with Store(tmp_path / ".crossmodal", writable=True) as store:
        store.set_meta("cutoff", made_up.plain())
    cut = reopened(tmp_path)
    assert names(cut, "red") == ["red", "violet"]  # white, at 0.58, is left out
    answer = cut.photos(cut.query("red"))
    assert (answer.cut_off, answer.passing) == (True, 5)
    assert len(names(cut, "red", cut_off=False)) == 5
    assert names(cut, "red + blue") == ["violet"]
    assert len(names(cut, "red - blue")) == 5  # this kind is not calibrated
    assert names(cut, "red", filters=Filters(folder="cold")) == []  # the best of these is white
    like = cut.query(like=cut.gallery.id_at("warm/red.png"))
    assert len(cut.photos(like).hits) == 5


def test_hits_have_one_form(search: Search) -> None:
    hit = search.photos(search.query("red"), 1).hits[0]
    plain = hit.plain()
    form = ["id", "image", "path", "score", "captions", "words", "date", "width", "height", "orientation", "camera", "title",
            "keywords", "description", "place", "text", "bytes", "exact_copies", "similar_copies"]  # fmt: skip
    not_in_milvus = () if isinstance(search.gallery, FolderGallery) else ("words", "keywords")
    assert list(plain) == [name for name in form if name not in not_in_milvus]
    assert (plain["image"], plain["date"], plain["orientation"]) == ("warm/red.png", "2020-01-01T12:00:00", "landscape")
    assert search.gallery.count(NO_FILTERS) == 5
