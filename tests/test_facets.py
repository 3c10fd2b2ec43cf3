"""Photos counted by month and by place, in a folder, through the API, and in the words of a query."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime

import numpy as np
import pytest
from fastapi.testclient import TestClient

from crossmodal.page.charts import TOWNS, _frame, clicked, place_chart
from crossmodal.page.narrowing import spans
from crossmodal.photos.gallery import FolderGallery
from crossmodal.search.facets import MOST_PLACES, Coded, Spot, names_of_places, positions_of, spots_of
from crossmodal.search.filters import NO_FILTERS, Filters
from crossmodal.search.record import Described, Found, Photo
from crossmodal.search.search import Search
from crossmodal.search.typed import Piece, facet_typed, understood, without
from crossmodal.serving.api import create_app
from tests.test_photo_index import run, save
from tests.test_written import LISBON, PARIS, WordyRuntime, exif_of

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


def test_places_have_a_position_where_cameras_wrote_one(search: Search) -> None:
    lisbon, paris = search.spots()
    assert (lisbon.latitude, lisbon.longitude, lisbon.photos) == (38.72, -9.14, 2)
    assert (paris.latitude, paris.longitude, paris.photos) == (48.86, 2.35, 1)
    assert search.count(None, Filters(place=lisbon.name)) == 2
    assert search.spots(Filters(place="france")) == [paris]
    assert search.spots(Filters(before=date(2000, 1, 1))) == []


def test_positions_are_means_by_place() -> None:
    photos = [
        photo(0.0, "A, B"),
        photo(0.0, "A, B"),
        photo(0.0, "A, C"),
        photo(0.0, 'A "x", B'),
        photo(0.0, ""),
        photo(0.0, "D"),
    ]
    at = np.array([[10, 20], [10.5, 21.111], [0, 0], [1, 1], [2, 2], [np.nan, np.nan]])
    places = Coded.of(photos, "place")
    assert spots_of(places, at, None) == [Spot("A", 10.25, 20.56, 2), Spot("A", 0.0, 0.0, 1)]
    assert spots_of(places, at, np.arange(6) == 1) == [Spot("A", 10.5, 21.11, 1)]
    assert spots_of(Coded.of([], "place"), positions_of([]), None) == []


def test_a_map_shows_where_there_is_land(search: Search) -> None:
    spots = search.spots()
    chart = place_chart(spots).to_dict()
    land, places = (chart["datasets"][layer["data"]["name"]] for layer in chart["layer"])
    assert [(row["place"], row["photos"]) for row in places] == [(spot.name, spot.photos) for spot in spots]
    south, west, north, east = _frame(spots)
    assert len(land) == TOWNS and all(
        south <= one["latitude"] <= north and west <= one["longitude"] <= east for one in land
    )
    assert all(south < spot.latitude < north and west < spot.longitude < east for spot in spots)
    chart = place_chart([Spot("Nowhere", -48.9, -123.4, 1)]).to_dict()  # in the middle of an ocean
    assert chart["layer"]


def test_a_click_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def chart(chart: object, key: str, **options: object) -> dict[str, dict[str, list[dict[str, str]]]]:
        shown.append(key)
        return {"selection": {"when": [{"when": "2019"}] if len(shown) == 1 else []}}

    monkeypatch.setattr("streamlit.altair_chart", chart)
    monkeypatch.setattr("streamlit.session_state", {})
    assert clicked(None, "months", "when") == {"when": "2019"}
    assert clicked(None, "months", "when") is None
    assert shown == ["months 0", "months 1"]


@pytest.mark.parametrize(
    ("months", "shown"),
    [
        ({}, {}), ({"2019-05": 2}, {"2019-05": 2}), ({"2019-11": 1, "2020-02": 3}, {"2019-11": 1, "2019-12": 0, "2020-01": 0, "2020-02": 3}),
        ({"2016-12": 4, "2019-12": 1, "2019-01": 2}, {"2016": 4, "2017": 0, "2018": 0, "2019": 3}),
    ],
)  # fmt: skip
def test_many_months_are_shown_as_years(months: dict[str, int], shown: dict[str, int]) -> None:
    assert spans(months) == shown
    assert len(spans({"2017-01": 1, "2019-12": 1})) == 36


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
