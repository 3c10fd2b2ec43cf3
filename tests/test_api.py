"""The API over photos with dates, cameras and folders, encoded without towers: filters, downloads, uploads, rules."""

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from limits import parse
from PIL import Image

from crossmodal.data.names import safe_name
from crossmodal.data.prepared import Prepared, Wanted
from crossmodal.search.cutoff import Cutoff, Thresholds
from crossmodal.search.filters import Filters, filters_on
from crossmodal.search.gallery import About
from crossmodal.search.in_memory import PhotosInMemory
from crossmodal.search.record import DESCRIBED, FIELDS, Described, Found, Photo
from crossmodal.search.search import Search
from crossmodal.search.vector_index import PlainIndex
from crossmodal.serving import schema
from crossmodal.serving.api import create_app
from crossmodal.serving.guards import Limits
from tests.test_server import MadeUpRuntime
from tests.test_serving import photo

NAMES = ('2019/"sea".jpg', "2019/ü\n.jpg", "2020/dog.png", "top.jpg")
Client = Callable[..., TestClient]


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Four photos, taken a day after each other."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos = []
    for number, name in enumerate(NAMES):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(size=(40 + number, 41)))
        taken = datetime(2020, 5, 1 + number, 12).timestamp()
        look = (0x123456789ABCDEF0 << number) % 2**63
        described = Described(bytes([number]), 40 + number, 41, taken, f"Camera {number % 2}", look)
        photos.append(Photo(Found(name, 9, 0), number, described))
    about = About("/secret/place", tmp_path / "photos", "f", Path("none.pt"), "tiny", DESCRIBED)
    vectors = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0][:4].astype(np.float32)
    return Search(PhotosInMemory(about, photos, vectors, PlainIndex(vectors)), MadeUpRuntime())


@pytest.fixture
def client(search: Search) -> Iterator[Client]:
    entered: list[TestClient] = []

    def make(**options: Any) -> TestClient:
        entered.append(TestClient(create_app(lambda: search, **options), raise_server_exceptions=False))
        return entered[-1].__enter__()

    yield make
    for one in entered:
        one.__exit__(None, None, None)


def test_both_towers_are_opened_before_anything_is_answered(client: Client, search: Search) -> None:
    encoded: list[int] = []

    class Watched(MadeUpRuntime):
        def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
            encoded.append(len(pixels))
            return super().encode_pixels(pixels)

    search.runtime = Watched()
    client()  # begins, as a server does
    assert encoded == [1]


def test_one_photo_is_told_of_as_where_it_is_found(client: Client) -> None:
    api = client()
    for hit in found(api)["photos"]:
        told = api.get(f"/api/image/{hit['id']}/about")
        assert told.status_code == 200 and told.json() == {
            **hit,
            "score": 0.0,
            "copies": [],
            "words": told.json()["words"],
        }
    assert api.get(f"/api/image/{'0' * 24}/about").status_code == 404


def found(api: TestClient, **asked: Any) -> dict[str, Any]:
    answer = api.post("/api/search/text", json={"query": "a dog", **asked})
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def uploaded(api: TestClient, content: bytes = b"", **fields: Any) -> dict[str, Any]:
    answer = api.post("/api/search/upload", files={"file": content or photo()}, data=fields)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


# --- one declaration of filters and facts ---


def test_every_filter_and_fact_that_is_declared_is_in_the_api(client: Client) -> None:
    api = client()
    names = {one.name for one in filters_on()}
    shown = {name for name, field in FIELDS.items() if field.plain}
    assert set(schema.PhotoFilters.model_fields) == names
    assert names <= set(schema.Upload.model_fields)
    assert shown <= set(found(api)["photos"][0])
    stats = api.get("/api/stats").json()
    assert {one["name"] for one in stats["filters"]} == names
    filters = {one["name"]: one for one in stats["filters"]}
    assert filters["folder"]["values"] == ["2019", "2020"]
    assert filters["camera"]["values"] == ["Camera 0", "Camera 1"]
    assert filters["after"]["range"] == ["2020-05-01", "2020-05-04"]
    assert filters["orientation"]["choices"] == ["landscape", "portrait", "square"]
    assert "secret" not in str(stats)


def test_what_is_shown_before_anything_is_asked_passes_the_filters(client: Client) -> None:
    api = client()
    assert len(api.get("/api/beginning").json()["photos"]) == 4
    for filters in ("folder=2019", "query=folder:2019", "query=folder:2019+dog", "after=2020-05-03"):
        shown = [photo["date"][:10] for photo in api.get(f"/api/beginning?{filters}").json()["photos"]]
        assert 0 < len(shown) < 4 and shown == sorted(shown, reverse=True), filters
    assert api.get("/api/beginning?camera=none").json()["photos"] == []
    assert api.get("/api/beginning?after=someday").status_code == 422


def test_words_that_the_model_does_not_know_are_told(
    client: Client, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossmodal.search.search.vocabulary_of", lambda about: frozenset(["dog", "beach"]))
    for words, notes in (("ein Hund am Strand", 1), ("a dog on the beach", 0)):
        answer = client().post("/api/search/text", json={"query": words, "cut_off": False}).json()
        assert len(answer["notes"]) == notes
        assert all("understands English" in note for note in answer["notes"])


def test_filters_that_a_gallery_does_not_know_are_told_and_not_applied(client: Client, search: Search) -> None:
    search.gallery.about = replace(search.gallery.about, fields=frozenset({"captions"}))
    api = client()
    assert api.get("/api/stats").json()["filters"] == []
    answer = found(api, filters={"camera": "x", "after": "2020-01-01"}, by_date=True)
    assert len(answer["photos"]) == 4
    (note,) = answer["notes"]
    assert "camera" in note and "after" in note and "by date" in note


def test_all_ways_to_search_filter_sort_and_weigh_alike(client: Client, search: Search) -> None:
    api = client()
    liked = found(api)["photos"][0]["id"]
    ways: list[Callable[..., dict[str, Any]]] = [
        lambda **more: found(api, **more),
        lambda **more: api.post("/api/search/image", json={"image_id": liked, "query": "a dog", **more}).json(),
        lambda **more: uploaded(api, query="a dog", **more.pop("filters", {}), **more),
    ]
    for ask in ways:
        everything = ask()
        assert (len(everything["photos"]), everything["passing"], everything["cut_off"]) == (4, 4, False)
        dates = [one["date"] for one in ask(by_date=True)["photos"]]
        assert dates == sorted(dates, reverse=True)
        narrowed = ask(filters={"folder": "2019", "before": "2020-05-01"})
        assert ([one["date"][:10] for one in narrowed["photos"]], narrowed["passing"]) == (["2020-05-01"], 1)
    alone = [one["score"] for one in uploaded(api)["photos"]]
    light, heavy = (
        [one["score"] for one in uploaded(api, query="a dog", image_weight=weight)["photos"]] for weight in (0.01, 100)
    )
    assert heavy == pytest.approx(alone, abs=0.02)
    assert light == pytest.approx([one["score"] for one in found(api)["photos"]], abs=0.02)


def test_what_the_cut_off_left_out_is_told_and_can_be_had(client: Client, search: Search) -> None:
    scores = [one["score"] for one in found(client())["photos"]]
    limits = Thresholds(((1, -1.0),), (scores[1] + scores[2]) / 2)
    search.gallery.about = replace(search.gallery.about, cutoff=Cutoff({"words": limits, "sentence": limits}, "x"))
    api = client()
    answer = found(api)
    assert (len(answer["photos"]), answer["passing"], answer["cut_off"]) == (2, 4, True)
    assert len(found(api, cut_off=False)["photos"]) == 4


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "1969-12-31"])
def test_every_legal_day_is_a_filter(client: Client, day: str) -> None:
    api = client()
    late, early = day > "2021", day < "2019"
    assert found(api, filters={"after": day})["passing"] == (0 if late else 4)
    assert found(api, filters={"before": day})["passing"] == (0 if early else 4)
    assert uploaded(api, after=day)["passing"] == (0 if late else 4)


def test_an_empty_query_is_refused_in_words(client: Client) -> None:
    for query in ("", "  ", "\n"):
        answer = client().post("/api/search/text", json={"query": query})
        assert answer.status_code == 400
        assert "type a few words" in answer.json()["error"]["message"]


# --- photos ---


def test_originals_are_downloaded_as_they_are_under_any_name(client: Client, search: Search) -> None:
    api = client()
    for hit in found(api)["photos"]:
        answer = api.get(hit["original"])
        name = Path(search.gallery.photo(hit["id"]).path).name
        assert answer.content == (search.gallery.about.root / search.gallery.photo(hit["id"]).path).read_bytes()
        told = answer.headers["content-disposition"]
        assert told.startswith("attachment; filename") and "\n" not in told
        assert Path(safe_name(name)).stem in told or "filename*=utf-8''" in told
    (search.gallery.about.root / "top.jpg").unlink()
    gone = next(one for one in found(api)["photos"] if one["width"] == 43)
    assert api.get(gone["original"]).status_code == 404


def test_a_record_that_leaves_the_folder_is_refused(client: Client, search: Search, tmp_path: Path) -> None:
    (tmp_path / "outside.jpg").write_bytes(photo())
    assert isinstance(search.gallery, PhotosInMemory)
    photos = list(search.gallery.photos)
    photos[0] = replace(photos[0], found=Found("../outside.jpg", 1, 0))
    photos[1] = replace(photos[1], found=Found(str(tmp_path / "outside.jpg"), 1, 0))
    search.gallery.photos = photos
    api = client()
    assert len(found(api)["photos"]) == 2
    ids = [search.gallery.id_of(photo) for photo in photos]
    assert [api.get(f"/api/image/{one}/original").status_code for one in ids] == [404, 404, 200, 200]


def test_etags_say_nothing_of_paths(client: Client, search: Search, tmp_path: Path) -> None:
    api = client()
    tag = api.get(found(api)["photos"][0]["thumbnail"]).headers["etag"].strip('"')
    # What names the kept thumbnail is made of the path, which could be guessed and compared.
    assert tag not in [path.stem for path in (tmp_path / "cache").rglob("*.jpg")]


def test_head_is_answered_where_get_is(client: Client) -> None:
    api = client()
    hit = found(api)["photos"][0]
    for path in ("/", "/health", "/docs", "/api/stats", "/metrics", hit["url"], hit["thumbnail"], hit["original"]):
        answer = api.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path
        assert "x-request-id" in answer.headers
    assert api.head("/api/search/text").status_code == 405


# --- uploads ---


def test_an_upload_that_browsers_cannot_show_comes_back_as_a_preview(client: Client) -> None:
    api = client()
    assert uploaded(api)["preview"] is None
    for kind in ("HEIF", "TIFF"):
        preview = uploaded(api, photo(kind, (600, 400)))["preview"]
        assert preview.startswith("data:image/jpeg;base64,") and len(preview) < 50_000


def test_a_field_that_is_given_twice_is_refused(client: Client) -> None:
    answer = client().post("/api/search/upload", files={"file": photo()}, data={"query": ["a dog", "a cat"]})
    assert answer.status_code == 422


def test_there_is_one_sentence_about_megapixels(client: Client) -> None:
    api = client(limits=replace(Limits(), upload_pixels=10_000))
    wide = io.BytesIO()
    Image.new("1", (11_000, 11_000)).save(wide, "PNG")  # more than is decoded anywhere
    for content, size in ((photo(size=(110, 110)), "110 x 110"), (wide.getvalue(), "11000 x 11000")):
        answer = api.post("/api/search/upload", files={"file": content})
        assert answer.status_code == 415
        assert answer.json()["error"]["message"] == (
            f"The upload has {size} pixels, more than the 0.01 megapixels that are decoded; make it smaller."
        )


def test_an_upload_that_is_cut_short_is_used_and_said(client: Client) -> None:
    noise = io.BytesIO()
    Image.effect_noise((200, 100), 60).save(noise, "JPEG")
    content, api = noise.getvalue(), client()
    assert uploaded(api, content)["notes"] == []
    notes = uploaded(api, content[: len(content) // 2])["notes"]
    assert notes == ["The upload lacks its last bytes and is used as far as it goes."]


def test_uploads_wait_for_a_place_and_searches_go_on(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    monkeypatch.setattr("crossmodal.serving.api.PATIENCE", 0.5)
    going, begun = threading.Event(), threading.Semaphore(0)

    def slow(content: bytes, wanted: Wanted, unwanted: threading.Event) -> Prepared:
        begun.release()
        going.wait(30)
        return Prepared("JPEG", 8, 8, None, "", 0, False, np.zeros((8, 8, 3), np.uint8))

    monkeypatch.setattr("crossmodal.serving.searching.uploads", lambda: SimpleNamespace(quick=slow))
    api = client(keys={name: hashlib.sha256(name.encode()).digest() for name in ("a", "b", "c")})

    def ask(key: str) -> Any:
        return api.post("/api/search/upload", files={"file": photo()}, headers={"x-api-key": key})

    with ThreadPoolExecutor(4) as pool:
        hers, his = pool.submit(ask, "a"), pool.submit(ask, "b")
        assert begun.acquire(timeout=30) and begun.acquire(timeout=30)
        third = ask("c")
        assert (third.status_code, third.headers["retry-after"]) == (503, "2")
        assert third.json()["error"]["message"] == "Too many requests of this kind are waiting already; try again soon."
        assert api.post("/api/search/text", json={"query": "a dog"}, headers={"x-api-key": "c"}).status_code == 200
        going.set()
        assert hers.result().status_code == his.result().status_code == 200


# --- rules ---


def test_each_term_counts(client: Client) -> None:
    api = client(limits=replace(Limits(), rate=parse("60/minute")))
    fifty = " + ".join(f"dog {n}" for n in range(50))
    assert api.post("/api/search/text", json={"query": fifty}).status_code == 200
    answer = api.post("/api/search/text", json={"query": fifty})
    assert answer.status_code == 429
    assert "each term" in answer.json()["error"]["message"]
    assert int(answer.headers["retry-after"]) > 0
    assert api.post("/api/search/text", json={"query": "a dog"}).status_code == 200  # what was refused is not counted
    answer = api.post("/api/search/upload", files={"file": photo()}, data={"query": fifty})
    assert answer.status_code == 429


def test_hosts_are_checked(client: Client) -> None:
    api = client(hosts=frozenset({"photos.example.org", "10.0.0.5"}))
    for host, status in (
        ("evil.example", 400), ("photos.example.org", 200), ("PHOTOS.example.org:443", 200), ("localhost:8000", 200),
        ("127.0.0.1", 200), ("[::1]:8000", 200), ("10.0.0.5", 200), ("testserver", 200), ("", 400), ("[bad", 400),
        ("localhost.evil.example", 400),
    ):  # fmt: skip
        answer = api.get("/api/stats", headers={"host": host})
        assert answer.status_code == status, host
    assert "--allow-host" in api.get("/api/stats", headers={"host": "evil.example"}).json()["error"]["message"]
    assert api.get("/health", headers={"host": "10.9.8.7"}).status_code == 200  # of a load balancer


def test_what_is_not_ours_is_no_label_of_metrics(client: Client) -> None:
    api = client()
    api.request("BREW", "/coffee-1")
    api.request("BREW", "/health")
    for path in ("/coffee-2", "/api/image/coffee-3", "/api/image/coffee-4/thumbnail", "/static-offline-docs/coffee-5"):
        api.get(path)
    told = api.get("/metrics").text
    assert "BREW" not in told and "coffee" not in told
    assert 'method="other"' in told


def test_every_filter_is_declared_once() -> None:
    asked = schema.PhotoFilters(folder="a", after="2020-01-01", megapixels=2)
    assert asked.plain() == Filters(folder="a", after=datetime(2020, 1, 1).date(), megapixels=2)
