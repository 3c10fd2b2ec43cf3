"""Saved searches: kept, counted, opened, renamed and forgotten, by Python, the command line and the API."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from crossmodal.cli import main
from crossmodal.errors import CrossmodalError, UnknownNameError
from crossmodal.photos.gallery import FolderGallery
from crossmodal.photos.store import Store
from crossmodal.search.albums import ALBUMS, Album, AlbumFile, save_album
from crossmodal.search.cutoff import Cutoff, Thresholds
from crossmodal.search.filters import Filters
from crossmodal.search.query import Term
from crossmodal.search.search import Search
from crossmodal.search.typed import spelled
from crossmodal.serving.api import create_app
from tests.test_photo_index import META, run, save
from tests.test_written import WordyRuntime

COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of three colours, in two folders of one name, taken in two years."""
    root = tmp_path / "photos"
    for place, year in (("2019", 2019), ("trips/2019", 2020)):
        for name, colour in COLOURS.items():
            path = save(root / place / f"{name}.png", colour)
            os.utime(path, (datetime(year, 5, 1).timestamp(),) * 2)
    run(root)
    return root


def opened(root: Path) -> Search:
    return Search(FolderGallery(root / ".crossmodal"), WordyRuntime())


def names(search: Search, text: str) -> list[str]:
    answer = search.answer(search.understood(text), count=9, group=False)
    return [hit.name for hit in answer.hits]


def test_an_album_is_its_search(folder: Path) -> None:
    search = opened(folder)
    album = save_album(search, "  Old   days ", "  red - blue   before:2020 ")
    assert album == Album("Old days", "red - blue before:2020")
    understood = search.understood(album.typed)
    assert (understood.terms, understood.filters) == (
        (Term("red"), Term("blue", -1.0)), Filters(before=date(2019, 12, 31)),
    )  # fmt: skip
    assert [(piece.text, piece.meaning) for piece in understood.pieces] == [
        ('album:"Old days"', "Album: red - blue before:2020")
    ]
    assert names(search, album.typed) == names(search, album.query) != names(search, "red - blue")
    assert names(opened(folder), 'ALBUM:"old days"') == names(search, album.query)  # which reads what was kept


def test_an_album_stands_beside_other_words_and_filters(folder: Path) -> None:
    search = opened(folder)
    save_album(search, "Old", "red 2019")
    save_album(search, "Trips", "folder:trips/2019")
    mixed = search.understood("green album:old megapixels:0 after:2019-04-01")
    assert [term.text for term in mixed.terms] == ["red", "green"]
    assert mixed.filters == Filters(after=date(2019, 4, 1), before=date(2019, 12, 31), megapixels=0.0)
    assert names(search, "album:trips album:old") == []  # what is in both
    assert [Path(name).parent.as_posix() for name in names(search, "album:trips")] == ["trips/2019"] * 3
    assert search.understood('"album:old"').terms == (Term("album:old"),)  # quotation marks make it words


def test_filters_that_were_chosen_are_typed_and_mean_the_same(folder: Path) -> None:
    search = opened(folder)
    chosen = Filters(folder="2019", after=date(2019, 5, 1), megapixels=0.001, orientation="landscape", camera="a, b")
    album = save_album(search, "All", "red", chosen)
    assert album.query == 'red folder:/2019 after:2019-05-01 megapixels:0.001 orientation:landscape camera:"a, b"'
    read = search.understood(album.query).filters.given()
    assert read == {name: (value,) if isinstance(value, str) else value for name, value in chosen.given().items()}
    assert save_album(search, "Top", "", Filters(folder="2019")).query == "folder:/2019"
    assert {Path(name).parent.as_posix() for name in names(search, "album:top")} == {"2019"}  # not trips/2019
    typed = save_album(search, "Typed", "folder:trips 2020", Filters(folder="2019", after=date(2019, 1, 1)))
    assert typed.query == "folder:trips 2020"  # what stands in the words counts
    narrower = save_album(search, "Narrower", "2020", Filters(after=date(2020, 6, 1)))
    assert search.understood(narrower.query).filters == Filters(after=date(2020, 6, 1), before=date(2020, 12, 31))


def test_how_many_an_album_holds_now(folder: Path) -> None:
    search = opened(folder)
    red, old = save_album(search, "Red", "red"), save_album(search, "Old", "before:2020")
    assert (search.albums.count(red, search), search.albums.count(old, search)) == (6, 3)  # no cut-off: all pass
    limits = Thresholds(((1, 0.5),), 0.8)
    with Store(folder / ".crossmodal", writable=True) as store:
        store.set_meta("cutoff", Cutoff({"words": limits, "sentence": limits}, "made up").plain())
    os.utime(save(folder / "new.png", COLOURS["red"]), (datetime(2019, 1, 1).timestamp(),) * 2)
    run(folder)
    again = opened(folder)
    assert (again.albums.count(red, again), again.albums.count(old, again)) == (3, 4)
    assert len(names(again, "album:red")) == 3
    nothing = save_album(again, "Nothing", "red before:2001")
    assert again.albums.count(nothing, again) == 0


def test_counting_is_done_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = opened(folder)
    album = save_album(search, "Red", "red")
    assert search.albums.count(album, search) == 6
    monkeypatch.setattr(search, "count", lambda *_: pytest.fail("it was counted already"))
    assert search.albums.count(album, search) == 6


@pytest.mark.parametrize(
    ("name", "query", "said"),
    [
        ("Red", "green", "There is an album 'Red' already"), ("RED", "green", "There is an album 'RED' already"),
        ("New", "", "The query is empty"), ("New", "  ", "The query is empty"), ("New", "0:red", "All weights"),
        ("New", "after:someday", "is no date"), ("New", "orientation:round", "there is landscape"), ("New", "-in:lisbon", "none can be taken away"),
        ("New", "green album:red", "not made of another"), ("New", "album:gone", "There is no album 'gone'; the albums here are: Red"),
        ("New", "album:red,green", "name one album"), ("New", "x" * 1001, "shorten it to 1,000"), ("New", "a\0b", "on one line"),
        ("", "green", "A name has 1 to 60"), ("x" * 61, "green", "A name has 1 to 60"), ('a"b', "green", "quotation mark"),
    ],
)  # fmt: skip
def test_what_cannot_be_saved(folder: Path, name: str, query: str, said: str) -> None:
    search = opened(folder)
    save_album(search, "Red", "red")
    with pytest.raises(CrossmodalError, match=said):
        save_album(search, name, query)
    assert [album.name for album in search.albums.entries().values()] == ["Red"]


@pytest.mark.parametrize(
    "name",
    ["Mum & Dad's 50th!", "a, b", "\U0001f469\u200d\U0001f467 trip", "- no sign", "2:1", "été 😀", "in:lisbon", "a/b"],
)
def test_any_other_name_can_be_typed(folder: Path, name: str) -> None:
    search = opened(folder)
    album = save_album(search, name, "red")
    assert search.understood(f"green {album.typed}").terms == (Term("red"), Term("green"))
    assert spelled("album", name) == album.typed


def test_albums_are_renamed_and_forgotten(folder: Path) -> None:
    search = opened(folder)
    save_album(search, "Red", "red"), save_album(search, "Green", "green")
    assert search.albums.rename("red", "Warm days").typed == 'album:"Warm days"'
    with pytest.raises(CrossmodalError, match="There is an album 'green' already"):
        search.albums.rename("warm days", "green")
    with pytest.raises(CrossmodalError, match="quotation mark"):
        search.albums.rename("green", 'a"b')
    search.albums.forget("GREEN")
    for forgotten in ("green", "red"):
        with pytest.raises(UnknownNameError, match="the albums here are: Warm days"):
            search.understood(f"album:{forgotten}")


def test_albums_cost_nothing_and_outlive_what_happens_to_the_index(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, file = opened(folder), folder / ".crossmodal" / ALBUMS
    names(search, "red")
    assert search.albums.entries() == {} and not file.exists()
    save_album(search, "Red", "red")
    save(folder / "new.png")
    run(folder)
    Store.create(folder / ".crossmodal", META)  # as --rebuild does
    run(folder)
    shutil.move(folder, tmp_path / "moved")
    assert list(opened(tmp_path / "moved").albums.entries()) == ["red"]


@pytest.mark.parametrize(
    "damage",
    [
        {"name": 'a"b'},
        {"name": ""},
        {"name": 3},
        {"query": ""},
        {"query": "a\nb"},
        {"query": None},
        {"query": "x" * 2000},
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, damage: dict[str, object]) -> None:
    file = AlbumFile(tmp_path / ALBUMS)
    file.add(Album("Red", "red"))
    content = json.loads(file.path.read_text())
    content["albums"][0] |= damage
    file.path.write_text(json.dumps(content))
    with pytest.raises(CrossmodalError, match=r"^albums.json is broken .*; delete it, and save the albums again.$"):
        AlbumFile(file.path).entries()


def test_a_file_that_names_an_album_in_an_album_is_refused(folder: Path) -> None:
    search = opened(folder)
    search.albums.add(Album("Round", "album:round"))
    with pytest.raises(CrossmodalError, match="hold no others"):
        search.understood("album:round")


def test_other_galleries_keep_no_albums(folder: Path) -> None:
    gallery = FolderGallery(folder / ".crossmodal")
    gallery.about = replace(gallery.about, albums=False)
    search = Search(gallery, WordyRuntime())
    with pytest.raises(CrossmodalError, match="kept with an indexed folder of photos"):
        search.understood("album:red")
    with pytest.raises(CrossmodalError, match="kept with .*an indexed folder of photos"):
        save_album(search, "Red", "red")
    with TestClient(create_app(lambda: search)) as client:
        assert client.get("/api/albums").json() == []
        assert client.get("/api/album", params={"name": "red"}).status_code == 404


# --- the command line ---


def test_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("runtime", "text_alone"):
        monkeypatch.setattr(f"crossmodal.runs.models.Maker.{part}", lambda *_: WordyRuntime())
    there = ["--photos", str(folder)]

    def said(*arguments: str, code: int = 0) -> str:
        assert main([*arguments, *there]) == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    assert said("albums") == "No search was saved yet.\n"
    assert said("albums", "--save", "Old days", "red before:2020").startswith(
        "Old days: red before:2020 (3 photos). Open it: python -m crossmodal search 'album:\"Old days\"' --photos "
    )
    assert said("search", 'album:"old days"', "--top-k", "1").count("2019/red.png") == 1
    assert said("albums", "--save", "old days", "green", code=1).startswith("There is an album 'old days' already")
    assert said("albums", "--rename", "old days", "Then") == "old days is Then from now on.\n"
    assert said("albums", "--save", "Torn", "red - red").startswith("Torn: red - red (The parts of this query cancel")
    assert said("albums").splitlines()[0] == "Then: red before:2020 (3 photos)"
    assert said("albums", "--forget", "then") == "Forgot then.\n"
    assert "the albums here are: Torn" in said("albums", "--forget", "then", code=1)


# --- the API ---


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    search = opened(folder)
    save_album(search, "Old days", "before:2020 red")
    save_album(search, "Torn", "red - red")
    with TestClient(create_app(lambda: search)) as client:
        yield client


def test_the_api_lists_and_opens_albums(client: TestClient) -> None:
    old, torn = client.get("/api/albums").json()
    assert old == {
        "name": "Old days", "query": "before:2020 red", "typed": 'album:"Old days"', "photos": 3, "note": "",
    }  # fmt: skip
    assert torn["photos"] is None and "cancel each other out" in torn["note"]
    answer = client.get("/api/album", params={"name": "old days", "top_k": 2}).json()
    assert answer["photos"][0]["name"] == "red.png" and (len(answer["photos"]), answer["passing"]) == (2, 3)
    assert [piece["kind"] for piece in answer["understood"]] == ["album"]
    asked = client.post("/api/search/text", json={"query": 'album:"old days"', "top_k": 2}).json()
    assert asked["photos"] == answer["photos"]


def test_the_api_saves_albums_where_it_may_write(folder: Path) -> None:
    search = opened(folder)
    asked = {"name": "Old  reds", "query": "red", "filters": {"before": "2019-12-31"}}
    with TestClient(create_app(lambda: search)) as client:
        refused = client.post("/api/albums/save", json=asked)
        assert (refused.status_code, client.get("/api/stats").json()["saves_albums"]) == (403, False)
        assert "--allow-writes" in refused.json()["error"]["message"]
    search = opened(folder)
    with TestClient(create_app(lambda: search, writes=True)) as client:
        assert client.get("/api/stats").json()["saves_albums"]
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "",
        ):  # as a form of another web site would send it
            foreign = client.post("/api/albums/save", content=json.dumps(asked), headers={"content-type": kind})
            assert foreign.status_code in (415, 422)
        assert client.get("/api/albums").json() == []
        answer = client.post("/api/albums/save", json=asked)
        assert (answer.status_code, answer.json()["name"], answer.json()["photos"]) == (201, "Old reds", 3)
        assert client.get("/api/albums").json() == [answer.json()]
        again = client.post("/api/albums/save", json={**asked, "name": "old reds"})
        assert (again.status_code, "already" in again.json()["error"]["message"]) == (400, True)
        for bad in ({"name": "Empty"}, {"name": "", "query": "red"}, {"name": "Odd", "query": "red", "colour": 1}):
            assert client.post("/api/albums/save", json=bad).status_code in (400, 422)
    assert [album.query for album in search.albums.entries().values()] == ["red before:2019-12-31"]


def test_saving_an_album_needs_a_key_where_asking_does(folder: Path) -> None:
    search = opened(folder)
    with TestClient(
        create_app(lambda: search, keys={"alice": hashlib.sha256(b"secret").digest()}, writes=True)
    ) as client:
        asked = {"name": "Reds", "query": "red"}
        assert client.post("/api/albums/save", json=asked).status_code == 401
        assert client.post("/api/albums/save", json=asked, headers={"x-api-key": "secret"}).status_code == 201


def test_there_are_only_so_many_albums(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossmodal.search.albums.MOST_ALBUMS", 2)
    search = opened(folder)
    for name in "ab":
        save_album(search, name, "red")
    with pytest.raises(CrossmodalError, match="There are 2 albums already; forget one first"):
        save_album(search, "c", "red")


@pytest.mark.parametrize(
    ("asked", "status"),
    [({"name": "none"}, 404), ({"name": 'a"b'}, 404), ({}, 422), ({"name": "Torn"}, 400), ({"name": "Old days", "top_k": 0}, 422)],
)  # fmt: skip
def test_the_api_says_what_it_cannot_open(client: TestClient, asked: dict[str, str | int], status: int) -> None:
    answer = client.get("/api/album", params=asked)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
