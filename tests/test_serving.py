"""The API: what it answers, and a test for each rule that keeps it safe, which fails without the rule."""

import io
import json
import logging
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from limits import parse
from PIL import Image
from starlette.exceptions import HTTPException

from crossmodal.errors import CrossmodalError
from crossmodal.galleries import Place, open_search
from crossmodal.photos.index import index_photos
from crossmodal.search.cutoff import Cutoff
from crossmodal.search.search import Search
from crossmodal.serving.api import create_app
from crossmodal.serving.guards import Limits, Rate
from crossmodal.serving.keys import add_key, owner_of, read_keys
from tests import conftest

Client = Callable[..., TestClient]
calibrated = conftest.runs  # a fixture


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's cache, in which the tiny towers are exported once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def runs(calibrated: Path) -> Path:
    """A folder of runs whose cut-off leaves nothing out: towers with random weights find nothing alike."""
    (calibrated / "cutoff.json").write_text(json.dumps(Cutoff({}, "nothing").plain()))
    return calibrated


@pytest.fixture
def opening(runs: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Search]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return lambda: open_search(Place(checkpoint=runs), to_stay=True)


@pytest.fixture
def client(opening: Callable[[], Search]) -> Iterator[Client]:
    entered: list[TestClient] = []

    def make(**options: Any) -> TestClient:
        entered.append(TestClient(create_app(opening, **options), raise_server_exceptions=False))
        return entered[-1].__enter__()

    yield make
    for one in entered:
        one.__exit__(None, None, None)


def photo(kind: str = "JPEG", size: tuple[int, int] = (60, 40)) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(file, kind)
    return file.getvalue()


def test_a_sentence_finds_photos_that_can_be_seen(client: Client) -> None:
    api = client()
    photos = api.post("/api/search/text", json={"query": "a red car", "top_k": 4}).json()["photos"]
    assert len(photos) == 4
    assert [photo["score"] for photo in photos] == sorted((photo["score"] for photo in photos), reverse=True)
    assert len(photos[0]["captions"]) == 5
    for url in (photos[0]["url"], photos[0]["thumbnail"]):
        answer = api.get(url)
        assert answer.headers["content-type"] == "image/jpeg"
        Image.open(io.BytesIO(answer.content)).load()


def test_a_photo_finds_itself_first_and_its_captions(client: Client) -> None:
    api = client()
    one = api.post("/api/search/text", json={"query": "a car"}).json()["photos"][3]
    found = api.post("/api/search/image", json={"image_id": one["id"], "top_k": 5}).json()
    assert found["photos"][0]["id"] == one["id"]
    assert found["photos"][0]["score"] == pytest.approx(1, abs=1e-2)
    assert found["captions"]
    beside = api.post(
        "/api/search/image", json={"image_id": one["id"], "query": "a house", "image_weight": 0.01}
    ).json()
    assert beside["photos"] != found["photos"]


def test_more_like_these_and_less_like_those(client: Client) -> None:
    api = client()

    def found(**judged: list[str]) -> list[str]:
        asked = {"query": "a car", "top_k": 20, "cut_off": False, **judged}
        answer = api.post("/api/search/text", json=asked)
        assert answer.status_code == 200, answer.text
        return [photo["id"] for photo in answer.json()["photos"]]

    plain = found()
    last = plain[-1]
    # The photos of this collection are all alike to the tiny model, so which one rises is decided by rounding.
    assert len({tuple(plain), tuple(found(more=[last])), tuple(found(less=[last]))}) == 3
    assert found(more=[], less=[]) == plain
    unknown = api.post("/api/search/text", json={"query": "a car", "more": ["0" * 24]})
    assert unknown.status_code == 404
    assert api.post("/api/search/text", json={"query": "a car", "less": [last] * 21}).status_code == 422


def test_an_upload_finds_what_the_same_photo_finds(client: Client, collection: tuple[Path, Path]) -> None:
    api = client()
    file = sorted(collection[1].iterdir())[0]
    found = api.post("/api/search/upload", data={"top_k": 3}, files={"file": file.read_bytes()}).json()
    assert found["photos"][0]["score"] > 0.98
    assert found["captions"]


def test_terms_are_in_the_api(client: Client) -> None:
    api = client()
    plain, signed = (
        api.post("/api/search/text", json={"query": query}).json()["photos"] for query in ("car", "car - 2:house")
    )
    assert plain != signed
    unfinished = api.post("/api/search/text", json={"query": "car - "})
    assert unfinished.status_code == 200  # somebody is still typing
    answer = api.post("/api/search/text", json={"query": "car - car"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")


def test_filters_of_an_index(opening: object, tmp_path: Path, runs: Path) -> None:
    photos = tmp_path / "photos"
    for name, size in (("a/wide.png", (80, 40)), ("b/tall.png", (40, 80)), ("b/square.png", (50, 50))):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(photo("PNG", size))
    index_photos(photos, checkpoint=runs)
    with TestClient(create_app(lambda: open_search(Place(photos)))) as api:

        def found(**filters: object) -> set[int]:
            asked = {"query": "red", "filters": filters, "cut_off": False}
            return {photo["width"] for photo in api.post("/api/search/text", json=asked).json()["photos"]}

        assert found() == {80, 40, 50}
        assert found(folder="b") == {40, 50}
        assert found(orientation="portrait") == {40}
        assert found(before="2000-01-01") == set()
        assert (
            api.post("/api/search/text", json={"query": "red", "filters": {"orientation": "round"}}).status_code == 422
        )
        assert api.get("/api/stats").json()["photos"] == 3


def test_stats_health_and_metrics(client: Client) -> None:
    api = client()
    assert api.get("/health").json() == {"status": "ok"}
    before = api.get("/api/stats").json()
    assert (before["photos"], before["captions"], before["queries"], before["latency"]) == (30, 150, 0, None)
    assert before["recall"]["t2i_r10"] == 12.5
    for _ in range(3):
        api.post("/api/search/text", json={"query": "a red car"})
    after = api.get("/api/stats").json()
    assert after["queries"] == 3
    assert 0 < after["latency"]["p50"] <= after["latency"]["p99"]
    text = api.get("/metrics").text
    assert 'crossmodal_requests_total{method="POST",route="/api/search/text",status="200"} 3.0' in text
    assert "crossmodal_remembered_total 2.0" in text  # the same sentence was encoded once


# --- each rule of safety ---


def test_ids_say_nothing_of_paths_and_paths_are_no_ids(client: Client, collection: tuple[Path, Path]) -> None:
    api = client()
    photos = api.post("/api/search/text", json={"query": "a car", "top_k": 30}).json()["photos"]
    names = [path.stem for path in collection[1].iterdir()]
    told = json.dumps(
        [{key: value for key, value in photo.items() if key not in ("captions", "name")} for photo in photos]
    )
    assert not any(name in told for name in names)
    assert not any("/" in photo["name"] for photo in photos)
    for path in ("..%2f..%2fetc%2fpasswd", "0" * 24, "%00", names[0], "../../../etc/passwd"):
        assert api.get(f"/api/image/{path}").status_code in (404, 422)
        assert api.get(f"/api/image/{path}/thumbnail").status_code in (404, 422)


@pytest.mark.parametrize("honest", [True, False])
def test_uploads_end_at_so_many_bytes(client: Client, honest: bool) -> None:
    api = client(limits=Limits(upload_bytes=50_000))
    if honest:
        answer = api.post("/api/search/upload", files={"file": b"x" * 60_000})
    else:  # in pieces, with no length told
        pieces = (b"x" * 1000 for _ in range(200))
        answer = api.post(
            "/api/search/upload", content=pieces, headers={"content-type": "multipart/form-data; boundary=b"}
        )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert api.post("/api/search/text", content=b" " * 100_000).status_code == 413


def test_an_upload_without_a_file_name_is_told_what_it_lacks(client: Client) -> None:
    with client() as api:
        answer = api.post("/api/search/upload", data={"file": "a photo"}, files={"other": ("b.txt", b"b")})
    assert answer.status_code == 422
    assert "file: This should be a file; send it with a file name." in answer.json()["error"]["message"]


def test_uploads_end_at_so_many_pixels(client: Client) -> None:
    api = client(limits=Limits(upload_pixels=10_000))
    assert api.post("/api/search/upload", files={"file": photo(size=(90, 90))}).status_code == 200
    answer = api.post("/api/search/upload", files={"file": photo(size=(110, 110))})
    assert answer.status_code == 415
    assert "megapixels" in answer.json()["error"]["message"]


def test_uploads_are_not_stored(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    api = client()
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert api.post("/api/search/upload", files={"file": photo()}).status_code == 200
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def hostile() -> dict[str, bytes]:
    """Thirty files that are no photo, or only look like one."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as held:
        held.writestr("a.jpg", photo())
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    huge_header = bytearray(photo("PNG"))
    huge_header[16:24] = (100_000).to_bytes(4, "big") * 2
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(id) (r) file\n"
    files = {
        "empty": b"", "text": b"hello", "html": b"<html><script>alert(1)</script>", "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "svg with xml": b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>",
        "zip named jpg": archive.getvalue(), "bomb": bomb.getvalue(), "header bomb": bytes(huge_header), "eps": postscript,
        "pdf": b"%PDF-1.7\n1 0 obj<<>>endobj", "elf": b"\x7fELF" + b"\0" * 100, "php": b"<?php system('id'); ?>",
        "gif only header": b"GIF89a", "gif huge": b"GIF89a\xff\xff\xff\xff\x00\x00\x00", "riff": b"RIFF\xff\xff\xff\xffWEBP",
        "tiff loop": b"II*\x00\x08\x00\x00\x00\x01\x00" + b"\x08\x00\x00\x00" * 4, "bmp negative": b"BM" + b"\xff" * 60,
        "ppm": b"P6 99999 99999 255\n", "psd": b"8BPS" + b"\0" * 60, "ico": b"\0\0\1\0\1\0" + b"\xff" * 40,
        "jpeg2000": b"\0\0\0\x0cjP  \r\n\x87\n", "wmf": b"\xd7\xcd\xc6\x9a" + b"\0" * 40, "fits": b"SIMPLE  =" + b" " * 80,
        "heif header": b"\0\0\0\x18ftypheic" + b"\0" * 40, "avif header": b"\0\0\0\x18ftypavif" + b"\0" * 40,
        "jpeg marks": b"\xff\xd8" * 500, "zeros": b"\0" * 5000, "utf-16": "photo".encode("utf-16"),
    }  # fmt: skip
    for kind in ("JPEG", "PNG"):
        files[f"cut {kind}"] = photo(kind, (300, 300))[:200]
    return files


def test_hostile_uploads_are_refused_and_the_server_goes_on(client: Client) -> None:
    api = client()
    files = hostile()
    assert len(files) == 30
    for name, content in files.items():
        answer = api.post("/api/search/upload", files={"file": ("photo.jpg", content, "image/jpeg")})
        assert answer.status_code in (400, 415, 422), (name, answer.status_code, answer.text)
        assert set(answer.json()) == {"error"}, name
        assert "Traceback" not in answer.text and "/" + "work" not in answer.text, name
    polyglot = photo() + b"<script>alert(1)</script><?php system('id'); ?>"
    answer = api.post("/api/search/upload", files={"file": ("a.php", polyglot, "text/html")})
    assert answer.status_code == 200  # a photo, whatever stands behind it; nothing of it comes back
    assert "alert" not in answer.text and "system" not in answer.text


def test_keys(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    mine, yours = add_key(file, "mine"), add_key(file, "yours")
    assert mine not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    keys = read_keys(file)
    assert (owner_of(mine, keys), owner_of(yours, keys), owner_of(mine[:-1], keys), owner_of("", keys)) == (
        "mine",
        "yours",
        None,
        None,
    )
    assert add_key(file, "mine") != mine
    assert owner_of(mine, read_keys(file)) is None
    api = client(keys=keys)
    asked: Any = {"json": {"query": "a car"}}
    assert api.post("/api/search/text", **asked).status_code == 401
    assert api.post("/api/search/text", **asked, headers={"x-api-key": "wrong"}).status_code == 401
    assert api.post("/api/search/text", **asked, headers={"x-api-key": mine}).status_code == 200
    assert api.post("/api/search/text", **asked, headers={"authorization": f"Bearer {yours}"}).status_code == 200
    assert api.get("/metrics").status_code == api.get("/api/stats").status_code == 401
    assert api.get("/health").status_code == api.get("/").status_code == 200
    file.write_text("mine: not a hash\n")
    with pytest.raises(CrossmodalError, match="line 1, is no API key"):
        read_keys(file)


def test_rates_are_of_each_key_and_address(client: Client, tmp_path: Path) -> None:
    keys = {name: add_key(tmp_path / "keys", name) for name in ("mine", "yours")}
    api = client(limits=replace(Limits(), rate=parse("3/minute")), keys=read_keys(tmp_path / "keys"))
    statuses = [api.get("/api/stats", headers={"x-api-key": keys["mine"]}).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    answer = api.get("/api/stats", headers={"x-api-key": keys["mine"]})
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert api.get("/api/stats", headers={"x-api-key": keys["yours"]}).status_code == 200
    # Guessing keys is limited too, by the address.
    assert [api.get("/api/stats", headers={"x-api-key": str(n)}).status_code for n in range(5)][-1] == 429
    assert api.get("/health").status_code == 200


def test_a_rate_counts_the_last_seconds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rate = 1000.0, Rate(parse("3/10second"))
    monkeypatch.setattr("crossmodal.serving.guards.time.monotonic", lambda: now)
    rate.count("me")
    now = 1006.0
    rate.count("me", 2)
    with pytest.raises(HTTPException) as refused:
        rate.count("me")
    assert refused.value.headers == {"retry-after": "4"}  # when the first is ten seconds old
    rate.count("you", 3)
    now = 1010.0
    rate.count("me")
    with pytest.raises(HTTPException):
        rate.count("me")
    now = 1016.0
    rate.count("me", 2)
    with pytest.raises(HTTPException):  # more than may be asked at once, whenever that is
        rate.count("new", 4)


def test_other_web_sites_may_not_ask_unless_named(client: Client) -> None:
    asked = {"origin": "https://elsewhere.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in client().options("/api/search/text", headers=asked).headers
    api = client(origins=("https://elsewhere.example",))
    assert api.options("/api/search/text", headers=asked).headers["access-control-allow-origin"] == asked["origin"]
    other = {**asked, "origin": "https://third.example"}
    assert "access-control-allow-origin" not in api.options("/api/search/text", headers=other).headers


def test_headers_and_request_ids(client: Client) -> None:
    api = client()
    for path in ("/", "/health", "/api/nothing"):
        headers = api.get(path, headers={"x-request-id": "mine-1"}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-request-id"] == "mine-1"
    assert api.get("/health", headers={"x-request-id": "a b<script>"}).headers["x-request-id"] != "a b<script>"


def test_errors_have_one_shape_and_no_internals(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api = client()
    answers = [
        api.get("/nowhere"), api.put("/health"), api.post("/api/search/text", json={"query": "x", "top": 3}),
        api.post("/api/search/text", content=b"{"), api.post("/api/search/text", json={"query": "x", "top_k": 10**9}),
    ]  # fmt: skip
    monkeypatch.setattr("crossmodal.search.search.understood", lambda *_, **__: 1 / 0)
    answers.append(api.post("/api/search/text", json={"query": "boom"}, headers={"x-request-id": "boom-1"}))
    assert [answer.status_code for answer in answers] == [404, 405, 422, 422, 422, 500]
    for answer in answers:
        assert set(answer.json()["error"]) == {"code", "message", "request_id"}
        assert "ZeroDivision" not in answer.text and ".py" not in answer.text
    assert answers[-1].json()["error"]["request_id"] == "boom-1"
    assert "ZeroDivisionError" in caplog.text  # for whoever runs it, under that id


@pytest.mark.parametrize("wished", [False, True])
def test_what_is_asked_is_in_the_log_only_if_wished(
    client: Client, wished: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "crossmodal.serving")
    client(log_queries=wished).post("/api/search/text", json={"query": "my secret garden"})
    assert ("my secret garden" in caplog.text) is wished
    line = next(record.message for record in caplog.records if "/api/search/text" in record.message)
    assert json.loads(line)["status"] == 200


def test_thumbnails_are_made_once_and_told_by_their_tag(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = client()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = api.post("/api/search/text", json={"query": "a car"}).json()["photos"][0]["thumbnail"]
    first = api.get(url, params={"size": 64})
    assert first.status_code == 200, first.text
    assert max(Image.open(io.BytesIO(first.content)).size) == 64
    assert len(list((tmp_path / "cache" / "crossmodal" / "thumbnails").rglob("*.jpg"))) == 1
    monkeypatch.setattr("crossmodal.data.thumbnails.as_jpeg", lambda *_: pytest.fail("made again"))
    assert api.get(url, params={"size": 64}).content == first.content
    assert api.get(url, params={"size": 64}, headers={"if-none-match": first.headers["etag"]}).status_code == 304
    assert api.get(url, params={"size": 65}).status_code == 422


def test_queries_at_once_are_encoded_together(opening: Callable[[], Search]) -> None:
    sizes: list[int] = []

    def slow() -> Search:
        search = opening()
        encode = search.runtime.encode_sentences

        def counted(sentences: Sequence[str]) -> np.ndarray:
            sizes.append(len(sentences))
            time.sleep(0.1)
            return encode(sentences)

        search.runtime.encode_sentences = counted  # type: ignore[method-assign]
        return search

    with TestClient(create_app(slow)) as api:
        answers: dict[int, Any] = {}
        sizes.clear()

        def ask(number: int) -> None:
            answers[number] = api.post("/api/search/text", json={"query": f"a car number {number}"}).json()

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        assert api.get("/health").elapsed.total_seconds() < 1  # encoding does not hold the others up
        for thread in threads:
            thread.join()
        alone = api.post("/api/search/text", json={"query": "a car number 3"}).json()
    assert sum(sizes) == 16
    assert len(sizes) < 8
    assert [p["id"] for p in answers[3]["photos"]] == [p["id"] for p in alone["photos"]]
