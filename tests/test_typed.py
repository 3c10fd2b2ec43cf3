"""Filters that stand in the words of a query, and the dates among them."""

import os
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crossmodal.errors import CrossmodalError
from crossmodal.photos.gallery import FolderGallery
from crossmodal.search.dates import days_of
from crossmodal.search.filters import NO_FILTERS, Filters
from crossmodal.search.query import Term
from crossmodal.search.search import Search
from crossmodal.search.typed import Understood, has_pieces, understood, without
from crossmodal.serving.api import create_app
from tests.test_photo_index import run, save
from tests.test_written import LISBON, WordyRuntime, exif_of, xmp

TODAY = date(2026, 11, 27)  # a Friday


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """Three photos: of 2019 in Lisbon, of 2021 by a Nikon, and of last summer."""
    root = tmp_path_factory.mktemp("photos")
    paths = (
        save(root / "summer trip/red.jpg", (250, 5, 5), xmp=xmp("Rex", "beach"), exif=exif_of(gps=LISBON)),
        save(root / "2021/Party/green.jpg", (5, 250, 5), exif=exif_of(t010F="Nikon", t0110="D70")),
        save(root / "blue.jpg", (5, 5, 250), exif=exif_of(t010F="Canon", t0110="R5")),
    )
    for path, day in zip(paths, (datetime(2019, 5, 1), datetime(2021, 1, 1), datetime(2026, 7, 1)), strict=True):
        os.utime(path, (day.timestamp(),) * 2)
    run(root)
    return Search(FolderGallery(root / ".crossmodal"), WordyRuntime())


@pytest.fixture
def read(search: Search) -> Callable[[str], Understood]:
    return lambda text: understood(text, search.gallery, TODAY)


PLAIN = [
    "a red dog",
    '"dog in:lisbon"',
    '"2013"',
    "3:15 on a clock",
    "+ dog",
    "dog - cat",
    "2:dog + 0.5:beach",
    "Álbum: x",
    "",
]


@pytest.mark.parametrize("text", PLAIN)
def test_words_alone_have_no_pieces(search: Search, text: str) -> None:
    assert not has_pieces(text)
    if text:
        read = understood(text, search.gallery, TODAY)
        assert not read.pieces and not read.filters.given()


@pytest.mark.parametrize("text", ["in:lisbon", "dog -cat", "album:x", "dog 2013", "last summer", 'dog -"red car"'])
def test_what_may_be_more_than_words_has_pieces(text: str) -> None:
    assert has_pieces(text)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2023", "2023-01-01", "2023-12-31"), ("January 2017", "2017-01-01", "2017-01-31"), ("feb 2020", "2020-02-01", "2020-02-29"),
        ("24 December 2019", "2019-12-24", "2019-12-24"), ("December 24, 2019", "2019-12-24", "2019-12-24"),
        ("2019-12-24", "2019-12-24", "2019-12-24"), ("2019-12", "2019-12-01", "2019-12-31"),
        ("last summer", "2026-06-01", "2026-08-31"), ("last winter", "2025-12-01", "2026-02-28"), ("this autumn", "2026-09-01", "2026-11-30"),
        ("summer 2019", "2019-06-01", "2019-08-31"), ("winter 2019", "2019-12-01", "2020-02-29"), ("yesterday", "2026-11-26", "2026-11-26"),
        ("last year", "2025-01-01", "2025-12-31"), ("last month", "2026-10-01", "2026-10-31"), ("last week", "2026-11-16", "2026-11-22"),
        ("last May", "2026-05-01", "2026-05-31"), ("3 days ago", "2026-11-24", "2026-11-24"), ("2 years ago", "2024-01-01", "2024-12-31"),
    ],
)  # fmt: skip
def test_dates_in_words(text: str, first: str, last: str) -> None:
    assert days_of(text, TODAY) == (date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize("text", ["2019-13", "2019-02-31", "31 February 2019", "someday", ""])
def test_what_no_calendar_has_is_no_date(text: str) -> None:
    assert days_of(text, TODAY) is None


@pytest.mark.parametrize(
    "text",
    [
        "2001: a space odyssey poster", "3:15 on a clock", "16:9 picture", "2019: the year", "2020 runners", "1990 balloons", "a 2:dog",
        "in the park", "in: lisbon", "may I march", "http://a.b/2019", '"2019" poster', "2,019 sheep", "a t-shirt", "2019's best", "-",
    ],
)  # fmt: skip
def test_numbers_titles_and_times_stay_words(read: Callable[[str], Understood], text: str) -> None:
    assert read(text) == Understood((Term(text.replace('"', "")),))


YEAR_2019: dict[str, Any] = {"after": date(2019, 1, 1), "before": date(2019, 12, 31)}


@pytest.mark.parametrize(
    ("text", "words", "filters"),
    [
        ("beach in 2019 in:lisbon -people camera:nikon", ["beach", "people"], Filters(place=("lisbon",), camera=("nikon",), **YEAR_2019)),
        ("In:lisbon,porto", [], Filters(place=("lisbon", "porto"))), ('in:"new york",oslo', [], Filters(place=("new york", "oslo"))),
        ("a dog keyword:Rex keyword:Tom", ["a dog"], Filters(keywords=("Rex", "Tom"))),
        ("folder:SUMMER", [], Filters(folder=("summer trip",))), ("folder:party", [], Filters(folder=("2021/Party",))),
        ("folder:none", [], Filters(folder=("none",))), ("orientation:Portrait megapixels:8", [], Filters(orientation=("portrait",), megapixels=8.0)),
        ("after:2020 dog", ["dog"], Filters(after=date(2020, 1, 1))), ("before:2020 dog", ["dog"], Filters(before=date(2019, 12, 31))),
        ("before:2020-05-01", [], Filters(before=date(2020, 5, 1))), ('after:"last summer"', [], Filters(after=date(2026, 6, 1))),
        ("dogs last summer", ["dogs"], Filters(after=date(2026, 6, 1), before=date(2026, 8, 31))),
        ("dog + in:lisbon + beach", ["dog", "beach"], Filters(place=("lisbon",))), ("in:lisbon + beach", ["beach"], Filters(place=("lisbon",))),
        ("beach + in:lisbon", ["beach"], Filters(place=("lisbon",))), ('-"a red car" house', ["house", "a red car"], NO_FILTERS),
    ],
)  # fmt: skip
def test_what_is_understood(read: Callable[[str], Understood], text: str, words: list[str], filters: Filters) -> None:
    found = read(text)
    assert ([term.text for term in found.terms], found.filters) == (words, filters)
    for piece in found.pieces:
        assert piece.text in text and piece.meaning


def test_a_word_that_is_taken_away_is_a_piece_that_can_be_taken_away(read: Callable[[str], Understood]) -> None:
    text = 'beach 2019 in:lisbon -people -"a red car" camera:nikon'
    found = read(text)
    assert [piece.text for piece in found.pieces] == ["2019", "in:lisbon", "-people", '-"a red car"', "camera:nikon"]
    assert [term.text for term in read(without(text, found.pieces[2:4])).terms] == ["beach"]
    assert [(term.text, term.weight) for term in read("-people").terms] == [("people", -1.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("after:someday", "is no date"), ("megapixels:many", "give one number"), ("-in:lisbon", "none can be taken away"),
        ("orientation:round", "there is landscape, portrait, square"), ("  ", "The query is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(search: Search, text: str, said: str) -> None:
    with pytest.raises(CrossmodalError, match=said):
        search.answer(search.understood(text))


def test_one_answer_lists_what_only_filters_ask_for_and_searches_for_the_rest(search: Search) -> None:
    listed = search.answer(search.understood("2021"), filters=Filters(folder="2021"))
    assert [hit.photo.name for hit in listed.hits] == [
        photo.name for photo in search.gallery.newest(9, Filters(folder="2021"))
    ]
    assert listed.query is None and listed.passing == len(listed.hits) and listed.alike is None
    searched = search.answer(search.understood("red 2021"), count=1, cut_off=False)
    assert searched.query and [term.text for term in searched.query.terms] == ["red"] and len(searched.hits) == 1
    for answer in (listed, searched):
        assert [piece.text for piece in answer.understood] == ["2021"]
        assert answer.all_notes[0].startswith("Understood: 2021 (") and not answer.notes
    like = search.query(image=search.gallery.vector(listed.hits[0].id))
    assert search.answer(search.understood("2021"), like).hits[0].id == listed.hits[0].id


def test_filters_in_the_words_and_others_narrow_together() -> None:
    mine = Understood(filters=Filters(camera=("nikon",), after=date(2020, 1, 1), before=date(2021, 1, 1)))
    others = Filters(camera="canon", folder="a", after=date(2019, 1, 1), before=date(2020, 6, 1))
    assert mine.within(others) == Filters(
        camera=("nikon",), folder="a", after=date(2020, 1, 1), before=date(2020, 6, 1)
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("in:lisbon", ["red"]), ("camera:nikon,canon", ["blue", "green"]), ("keyword:rex", ["red"]), ("keyword:re", []),
        ("in:porto,oslo keyword:BEACH", ["red"]), ("2021", ["green"]), ("before:2021 red", ["red"]), ("before:0001-01 red", []), ('before:"january 0001"', []), ("folder:party,summer", ["green", "red"]),
    ],
)  # fmt: skip
def test_the_api_filters_by_words(search: Search, text: str, names: list[str]) -> None:
    with TestClient(create_app(lambda: search)) as client:
        answer = client.post("/api/search/text", json={"query": text, "cut_off": False}).json()
    assert [photo["name"].removesuffix(".jpg") for photo in answer["photos"]] == names
    assert answer["passing"] == len(names) and answer["understood"][0]["text"] in text
