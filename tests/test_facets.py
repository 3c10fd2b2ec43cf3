"""Photos counted by month and by place, in a folder, through the API, and in the words of a query."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime

import pytest
from fastapi.testclient import TestClient

from crossmodal.photos.gallery import FolderGallery
from crossmodal.search.facets import MOST_PLACES, Coded, names_of_places
from crossmodal.search.filters import NO_FILTERS, Filters
from crossmodal.search.record import Described, Found, Photo
from crossmodal.search.search import Search
from crossmodal.search.typed import Piece, facet_typed, understood, without
from crossmodal.serving.api import create_app
from tests.test_photo_index import run, save
from tests.test_written import LISBON, WordyRuntime, exif_of

PARIS = {1: "N", 2: (48.0, 51.0, 24.0), 3: "E", 4: (2.0, 21.0, 8.0)}
DAYS = {
    "lisbon/1": datetime(2019, 5, 1), "lisbon/2": datetime(2019, 5, 31, 23, 59, 59), "paris": datetime(2019, 6, 1),
    "nowhere": datetime(2021, 12, 31, 23, 59),
}  # fmt: skip


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """Four photos: two of Lisbon, one of Paris, and one of no place."""
    root = tmp_path_factory.mktemp("photos")
    for name, day in DAYS.items():
        gps = {"l": LISBON, "p": PARIS}.get(name[0])
        path = save(root / f"{name}.jpg", exif=exif_of(gps=gps))
        os.utime(path, (day.timestamp(),) * 2)
    run(root)
    return Search(FolderGallery(root / ".crossmodal"), WordyRuntime())


def photo(day: datetime | float, place: str = "") -> Photo:
    seconds = day if isinstance(day, float) else day.timestamp()
    return Photo(Found("a.jpg", 1, 0), 0, Described(b"", 1, 1, seconds, "", 0, place=place))


def test_months_are_counted_in_order_under_the_filters(search: Search) -> None:
    assert search.facet("month") == {"2019-05": 2, "2019-06": 1, "2021-12": 1}
    assert list(search.facet("month")) == ["2019-05", "2019-06", "2021-12"]
    assert search.facet("month", Filters(after=date(2019, 6, 1))) == {"2019-06": 1, "2021-12": 1}
    assert search.facet("month", Filters(place="paris", folder="lisbon")) == {}


def test_places_are_counted_by_each_of_their_names(search: Search) -> None:
    places = search.facet("place")
    assert (places["Portugal"], places["Lisbon"], places["France"]) == (2, 2, 1)
    assert list(places.values()) == sorted(places.values(), reverse=True)
    assert "Portugal" not in search.facet("place", Filters(after=date(2019, 6, 1)))


@pytest.mark.parametrize("facet", ["month", "place"])
def test_what_a_facet_counts_is_what_its_filter_finds(search: Search, facet: str) -> None:
    for filters in (NO_FILTERS, Filters(folder="lisbon")):
        for value, many in search.facet(facet, filters).items():  # type: ignore[arg-type]
            read = understood(f"red {facet_typed(facet, value)}", search.gallery)  # type: ignore[arg-type]
            assert [term.text for term in read.terms] == ["red"]
            assert search.count(None, read.within(filters)) == many > 0


def test_a_name_counts_what_holds_it_too() -> None:
    counts = {"Porto, Portugal": 3, "Porto Alegre, Brazil": 2, "PORTO": 1, 'The "Old" Town, Peru': 1, "": 5}
    assert names_of_places({place: many for place, many in counts.items() if place}) == {
        "Porto": 6, "Portugal": 3, "Brazil": 2, "Porto Alegre": 2, "Peru": 1,
    }  # fmt: skip
    many = names_of_places({f"Town {number:05}": 1 for number in range(MOST_PLACES + 9)})
    assert len(many) == MOST_PLACES


def test_dates_that_no_filter_can_ask_for_are_not_counted() -> None:
    coded = Coded.of([photo(-62e9), photo(datetime(1900, 1, 1)), photo(200e9)], "month")
    assert coded.counts(None) == {"1900-01": 1}
    assert Coded.of([], "place").counts(None) == {}


@pytest.mark.parametrize(
    ("text", "piece", "left"),
    [
        ("beach 2019 dog", "2019", "beach dog"), ("folder:/2019 2019", "2019", "folder:/2019"), ("2019", "2019", ""),
        ("in:lisbon in:lisbon", "in:lisbon", "in:lisbon"), ("a  b", "c", "a b"), ('red in:"new york"', 'in:"new york"', "red"),
    ],
)  # fmt: skip
def test_a_piece_is_taken_out_of_the_words(text: str, piece: str, left: str) -> None:
    assert without(text, [Piece(piece, "", "")]) == left


# --- the API ---


@pytest.fixture
def client(search: Search) -> Iterator[TestClient]:
    with TestClient(create_app(lambda: search)) as client:
        yield client


def test_the_api_counts(client: TestClient) -> None:
    counted = client.get("/api/facets").json()
    assert counted["passing"] == 4
    assert counted["months"][0] == {"value": "2019-05", "photos": 2, "typed": "2019-05"}
    assert {"value": "Portugal", "photos": 2, "typed": "in:Portugal"} in counted["places"]
    narrowed = client.get(
        "/api/facets", params={"query": "a dog 2019", "before": "2019-05-30", "place": "lisbon"}
    ).json()
    assert (narrowed["passing"], [one["value"] for one in narrowed["months"]]) == (1, ["2019-05"])


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"after": "yesterday"}, 422), ({"moon": "1"}, 422), ({"query": "after:someday"}, 400), ({"query": "album:none"}, 404),
        ({"after": "2020-01-01", "before": "2019-01-01"}, 400), ({"query": "  "}, 200), ({"megapixels": "0.0001"}, 200),
    ],
)  # fmt: skip
def test_the_api_says_what_it_cannot_count(client: TestClient, asked: dict[str, str], status: int) -> None:
    assert client.get("/api/facets", params=asked).status_code == status


def test_a_gallery_without_dates_counts_none(search: Search) -> None:
    gallery = FolderGallery(search.gallery.about.root / ".crossmodal")
    gallery.about = replace(gallery.about, fields=frozenset())
    other = Search(gallery, WordyRuntime())
    assert other.facet("month") == other.facet("place") == {}
