"""A gallery in Milvus: loading it, and the API over it, in a file and on a server that is killed."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from crossmodal.cli import main
from crossmodal.errors import CrossmodalError, UnavailableError
from crossmodal.galleries import Place, open_run, open_search
from crossmodal.scale.milvus import loading
from crossmodal.scale.milvus.albums import AlbumsInMilvus
from crossmodal.scale.milvus.connection import Milvus
from crossmodal.scale.milvus.gallery import MilvusGallery
from crossmodal.scale.milvus.loading import SourceInMemory, load
from crossmodal.scale.milvus.rows import as_photo, as_row, read, written
from crossmodal.search.albums import save_album
from crossmodal.search.facets import FIELD_OF
from crossmodal.search.filters import NO_FILTERS, Filters
from crossmodal.search.gallery import About
from crossmodal.search.in_memory import PhotosInMemory
from crossmodal.search.record import DESCRIBED, Described, Found, Photo
from crossmodal.search.search import Search
from crossmodal.search.vector_index import PlainIndex
from crossmodal.serving.api import create_app
from tests.milvus_server import LocalMilvus
from tests.test_server import MadeUpRuntime, running
from tests.test_serving import cache as cache  # a fixture
from tests.test_serving import calibrated as calibrated  # a fixture
from tests.test_serving import photo
from tests.test_serving import runs as runs  # a fixture

SIZE = 8


@pytest.fixture(params=["file", pytest.param("server", marks=pytest.mark.real)])
def milvus(request: pytest.FixtureRequest, tmp_path: Path) -> Milvus:
    """An own gallery in a file, and on a server."""
    url = request.getfixturevalue("milvus_server").url if request.param == "server" else str(tmp_path / "x.db")
    return Milvus(url, "named")


def made_up(count: int, seed: int = 0) -> SourceInMemory:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    photos = [
        Photo(
            Found(f"{n % 7}/{n}.jpg", n, 1),
            n,
            Described(n.to_bytes(16), 40 + n % 5, 42, float(n), f"Camera {n % 3}", n),
        )
        for n in range(count)
    ]
    about = About("made up", Path("/photos"), "f" * 32, Path("none.pt"), "r", DESCRIBED)
    values: dict[str, Any] = {
        "camera": [f"Camera {n}" for n in range(3)],
        "folder": list("0123456"),
        "date": [0.0, count - 1.0],
    }
    return SourceInMemory(about, values, photos, vectors, [], np.empty((0, SIZE), np.float32))


def found(milvus: Milvus, source: SourceInMemory, row: int) -> list[str]:
    return [match.photo.path for match in MilvusGallery(milvus).nearest(source.vectors[row], 5)]


def test_any_path_and_name_survives() -> None:
    for name in ("a b/c.jpg", "q\"uo\\te'/%_.jpg", "zwei\nzeilen/ü–日本.png", os.fsdecode(b"caf\xe9/\xff.jpg")):
        assert read(written(name)) == name
        photo = Photo(Found(name, 3, 0), 0, Described(b"\x01", 4, 5, 6.5, 'Nik"on', -7), ("a dog", "ein Hund ü"))
        assert as_photo(as_row(photo, "k")) == photo
    assert written("ordner/ü/x.jpg").startswith(written("ordner/ü/"))


def test_folders_of_any_name_are_told_apart(tmp_path: Path) -> None:
    source = made_up(6)
    names = ['a"b/x.jpg', "a/x.jpg", "a/b/x.jpg", "ab/x.jpg", "a%/x.jpg", "a0.jpg"]
    photos = [Photo(Found(name, 1, 0), 0, one.described) for name, one in zip(names, source.photos, strict=True)]
    milvus = Milvus(str(tmp_path / "x.db"), "g")
    load(milvus, replace(source, photos=photos), rebuild=False)
    for folder, expected in (
        ('a"b', {names[0]}), ("a", {names[1], names[2]}), ("a/b/", {names[2]}), ("a%", {names[4]}), (".", set(names)),
    ):  # fmt: skip
        assert set(found_all(milvus, source, Filters(folder=folder))) == expected


def found_all(milvus: Milvus, source: SourceInMemory, filters: Filters) -> list[str]:
    gallery = MilvusGallery(milvus)
    assert gallery.count(filters) == len(gallery.nearest(source.vectors[0], 100, filters))
    return [match.photo.path for match in gallery.nearest(source.vectors[0], 100, filters)]


def test_each_filter_passes_the_photos_that_it_passes_in_memory(tmp_path: Path) -> None:
    source, milvus = made_up(30), Milvus(str(tmp_path / "x.db"), "g")
    load(milvus, source, rebuild=False)
    for filters in (
        NO_FILTERS, Filters(folder="3"), Filters(camera="ERA 1"), Filters(camera="no such"), Filters(orientation="portrait"),
        Filters(orientation="square"), Filters(megapixels=0.0018), Filters(after=date(1970, 1, 2)), Filters(before=date(1970, 1, 2)),
        Filters(after=date.min), Filters(after=date.max), Filters(before=date.min), Filters(before=date.max),
        Filters(folder="3", camera="2", orientation="portrait"),
    ):  # fmt: skip
        mask = filters.mask(source.photos)
        expected = {one.path for row, one in enumerate(source.photos) if mask is None or mask[row]}
        assert set(found_all(milvus, source, filters)) == expected, filters


def test_the_gallery_knows_what_its_source_knew(tmp_path: Path) -> None:
    source, milvus = made_up(9), Milvus(str(tmp_path / "x.db"), "g")
    load(milvus, source, rebuild=False)
    gallery = MilvusGallery(milvus)
    assert gallery.about == replace(source.about, albums=True)
    assert (gallery.count(), gallery.caption_count(), gallery.captions(source.vectors[0], 3)) == (9, 0, [])
    for name, values in source.values.items():
        assert list(gallery.values(name)) == list(values)
    (one, score, _), *_ = gallery.nearest(source.vectors[4], 3)
    assert (one.path, one.described) == (source.photos[4].path, source.photos[4].described)
    assert score == pytest.approx(1, abs=1e-5)
    name = gallery.id_of(one)
    assert gallery.photo(name) == one
    np.testing.assert_allclose(gallery.vector(name), source.vectors[4], atol=1e-6)
    assert gallery.id_at(one.path) == name
    with pytest.raises(CrossmodalError, match="did you mean 4/4.jpg"):
        gallery.id_at("4/44.jpg")
    with pytest.raises(CrossmodalError, match="no photo with this id"):
        gallery.photo("0" * 24)


def test_months_and_places_are_counted_as_in_memory(milvus: Milvus, monkeypatch: pytest.MonkeyPatch) -> None:
    source = made_up(30)
    days = [datetime(2019 + n % 3, 1 + n % 4, 5).timestamp() for n in range(30)]
    places = ["Lisbon, Portugal", "", 'Porto "x", Portugal', "Zürich, Schweiz"]
    photos = [
        replace(one, described=replace(one.described, taken=days[n], place=places[n % 4]))
        for n, one in enumerate(source.photos)
    ]
    memory = PhotosInMemory(source.about, photos, source.vectors, PlainIndex(source.vectors))
    load(milvus, SourceInMemory.of(memory), rebuild=True)
    gallery = MilvusGallery(milvus)
    assert gallery.facet("month") == memory.facet("month") and gallery.facet("place")["Portugal"] == 15
    for filters in (
        NO_FILTERS,
        Filters(place="portugal"),
        Filters(folder="3"),
        Filters(after=date(2020, 1, 1)),
        Filters(camera="none"),
    ):
        for facet in FIELD_OF:
            counted = gallery.facet(facet, filters)
            assert list(counted.items()) == list(memory.facet(facet, filters).items()), (facet, filters)
    monkeypatch.setattr("crossmodal.scale.milvus.gallery.MOST_COUNTED", 9)
    assert MilvusGallery(milvus).facet("month", Filters(place="portugal")) == {}
    assert MilvusGallery(milvus).facet("month") == memory.facet("month")


def test_albums_are_kept_in_the_gallery(
    milvus: Milvus, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = made_up(9)
    load(milvus, source, rebuild=True)
    search = Search(MilvusGallery(milvus), MadeUpRuntime())
    for name in search.albums.entries():  # of another test
        search.albums.forget(name)
    long = "ΐ" * 60  # of 180 characters, where case is folded
    for name in ("Zoo", "Old days", long):
        save_album(search, name, "folder:1 camera:2")
    elsewhere = Search(MilvusGallery(milvus), MadeUpRuntime()).albums
    assert [one.name for one in elsewhere.entries().values()] == ["Zoo", "Old days", long]
    assert elsewhere.count(elsewhere.entry("old DAYS"), search) == search.count(None, Filters(folder="1", camera="2"))
    assert search.understood('album:"old days"').filters == Filters(folder=("1",), camera=("2",))
    with pytest.raises(CrossmodalError, match="There is an album 'zoo' already"):
        save_album(search, "zoo", "folder:1")
    assert elsewhere.rename("zoo", "Animals").query == "folder:1 camera:2"
    elsewhere.forget("old days")
    assert {one.name for one in search.albums.entries().values()} == {"Animals", long}
    load(milvus, replace(source, photos=source.photos[:5], vectors=source.vectors[:5]), rebuild=False)
    load(milvus, source, rebuild=True)  # all but the albums is thrown away
    assert {one.name for one in AlbumsInMilvus(milvus).entries().values()} == {"Animals", long}
    with TestClient(create_app(lambda: Search(MilvusGallery(milvus), MadeUpRuntime()), writes=True)) as client:
        saved = client.post("/api/albums/save", json={"name": "By the API", "filters": {"folder": "1"}})
        assert (saved.status_code, saved.json()["photos"]) == (201, 2)
        assert len(client.get("/api/albums").json()) == 3 and client.get("/api/stats").json()["saves_albums"]
    for part in ("runtime", "text_alone"):
        monkeypatch.setattr(f"crossmodal.runs.models.Maker.{part}", lambda *_, **__: MadeUpRuntime())
    there = ["--milvus", milvus.url, "--collection", milvus.name]
    assert main(["albums", *there, "--save", "Typed", "folder:2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Typed: folder:2 (1 photo).") and said.strip().endswith(" ".join(there))
    assert main(["albums", *there, "--forget", "typed"]) == 0


def test_a_search_waits_for_no_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, milvus = made_up(9), Milvus(str(tmp_path / "x.db"), "g")
    load(milvus, source, rebuild=False)
    search = Search(MilvusGallery(milvus), MadeUpRuntime())
    counts, query = [], milvus._client.query

    def spied(*arguments: Any, **options: Any) -> Any:
        if options["output_fields"] == ["count(*)"]:
            counts.append(options["consistency_level"])
        return query(*arguments, **options)

    monkeypatch.setattr(milvus._client, "query", spied)
    for text in ("a dog", "a cat", "a bird"):
        assert search.photos(search.query(text), 3).passing == 9
    assert counts == ["Eventually"]  # asked once, and at the level at which the server does not wait


def test_a_load_that_was_cut_off_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "AT_ONCE", 10)
    source, milvus = made_up(55), Milvus(str(tmp_path / "x.db"), "g")

    def cut(done: int, total: int) -> None:
        assert total == 55
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(milvus, source, rebuild=False, watch=cut)
    with pytest.raises(CrossmodalError, match="was not loaded whole"):
        MilvusGallery(milvus)
    assert load(milvus, source, rebuild=False) == 25
    assert load(milvus, source, rebuild=False) == 0
    for row in (0, 29, 30, 54):
        assert found(milvus, source, row)[0] == source.photos[row].path
    name = MilvusGallery(milvus).id_of(source.photos[0])
    load(milvus, source, rebuild=False)
    assert MilvusGallery(milvus).id_of(source.photos[0]) == name


def test_what_changed_is_sent_and_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    source, milvus = made_up(20), Milvus(str(tmp_path / "x.db"), "g")
    load(milvus, source, rebuild=False)
    vectors = source.vectors.copy()
    vectors[3] = -vectors[3]  # another photo under the same name
    later = replace(source, photos=source.photos[:15], vectors=vectors[:15])
    assert load(milvus, later, rebuild=False) == 1
    assert found(milvus, later, 3)[0] == source.photos[3].path
    assert source.photos[16].path not in found(milvus, source, 16)
    assert MilvusGallery(milvus).count() == 15


def test_the_page_opens_a_gallery_again_once_it_was_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossmodal.page import galleries
    from crossmodal.page.options import Options

    monkeypatch.setattr(galleries, "begin_model", galleries.runtime_of)  # there is none
    options, chosen = Options(milvus=str(tmp_path / "x.db"), collection="g"), galleries.Chosen("milvus")

    def count() -> int:
        galleries._loaded.cache_clear()
        work = galleries.opening(chosen, options)
        opened = work.result() if work else None
        assert opened
        return opened.gallery.count()

    load(Milvus(options.milvus, "g"), made_up(9), rebuild=False)
    assert count() == count() == 9
    first = galleries.opening(chosen, options)
    assert galleries.opening(chosen, options) is first
    load(Milvus(options.milvus, "g"), made_up(12), rebuild=False)
    assert count() == 12
    assert galleries.opening(chosen, options) is not first


def test_another_model_is_refused(tmp_path: Path) -> None:
    milvus = Milvus(str(tmp_path / "x.db"), "g")
    source = made_up(5)
    load(milvus, source, rebuild=False)
    stranger = replace(source, about=replace(source.about, fingerprint="0" * 32))
    with pytest.raises(CrossmodalError, match=r"made by another model .*--rebuild"):
        load(milvus, stranger, rebuild=False)
    assert found(milvus, source, 2)[0] == source.photos[2].path  # nothing was touched
    load(milvus, stranger, rebuild=True)
    with pytest.raises(CrossmodalError, match=r"The model that made the gallery g .* is no longer at none.pt"):
        open_search(Place(milvus=milvus.url, collection="g")).query("a dog")


def test_what_is_wrong_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for url, words in (
        ("http://127.0.0.1:1", "does not answer"), ("somewhere", "neither a URL"), (str(tmp_path / "no/x.db"), "is not there; load"),
    ):  # fmt: skip
        assert main(["search", "dog", "--milvus", url]) == 1
        said = capsys.readouterr().err
        assert words in said and len(said.strip().splitlines()) == 1, said
    assert main(["search", "dog", "--milvus", str(tmp_path / "new.db")]) == 1
    assert "is not there; load a gallery into it" in capsys.readouterr().err
    assert not (tmp_path / "new.db").exists()


def test_a_file_that_another_process_has_open_is_one_sentence(tmp_path: Path) -> None:
    url = str(tmp_path / "x.db")
    milvus = Milvus(url, "g")
    load(milvus, made_up(3), rebuild=False)
    for command in (["search", "dog", "--milvus", url], ["load", url, "--photos", str(tmp_path)]):
        whole = [sys.executable, "-m", "crossmodal", *command]
        done = subprocess.run(whole, capture_output=True, text=True, check=False)
        told = f"{url} is open in another process, and a file of Milvus serves one at a time; stop that one, or "
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr == f"{told}load the gallery into a Milvus server.\n"
    assert MilvusGallery(milvus).count() == 3  # the one that has it open was not disturbed


PINGED = """
import sys, time
from crossmodal.scale.milvus.connection import Milvus
milvus = Milvus(sys.argv[1], "photos")
milvus.create("photos", {"id": 255}, size=2)
time.sleep(12)  # pymilvus would ping every ten seconds
milvus.put("photos", [{"id": "a", "vector": [1.0, 0.0]}])
assert milvus.count("photos") == 1
"""


def test_a_file_is_not_pinged(tmp_path: Path) -> None:
    """Its server answers the third ping of an idle client with "Too many pings", and a search at that moment fails."""
    traced = {**os.environ, "GRPC_VERBOSITY": "INFO", "GRPC_TRACE": "http,http_keepalive"}
    command = [sys.executable, "-c", PINGED, str(tmp_path / "a.db")]
    done = subprocess.run(command, env=traced, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "INCOMING" in done.stderr  # it traces
    assert "received ping" not in done.stderr


def test_another_checkpoint_is_refused(
    runs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    milvus = Milvus(str(tmp_path / "run.db"), "a_run")
    source = SourceInMemory.of(open_run(runs))
    load(milvus, replace(source, about=replace(source.about, fingerprint="0" * 16)), rebuild=False)
    with pytest.raises(CrossmodalError, match=r"made by another model .* than .*model_epoch_2.pt"):
        MilvusGallery(milvus, checkpoint=runs / "model_epoch_2.pt")


def test_a_file_is_found_by_another_process(runs: Path, cache: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}

    def crossmodal(*command: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "crossmodal", *command]
        return subprocess.run(whole, env=environment, capture_output=True, text=True, check=False)

    for sent in (180, 0):
        loaded = crossmodal("load", str(tmp_path / "x.db"), "--checkpoint", str(runs))
        assert f"{sent} rows sent, searched by Milvus (exact)" in loaded.stdout, loaded.stderr
    found = crossmodal("search", "a red car", "--milvus", str(tmp_path / "x.db"), "--top-k", "3")
    assert (len(found.stdout.splitlines()), found.stderr, found.returncode) == (3, "", 0)
    told = crossmodal("search", "a car", "--milvus", str(tmp_path / "x.db"), "--camera", "x")
    assert told.returncode == 0 and "gallery has no such data: camera" in told.stderr


def opened(milvus: Milvus) -> Search:
    return open_search(Place(milvus=milvus.url, collection=milvus.name), to_stay=True)


def same(one: Any, other: Any, top_k: int) -> None:
    """Check that an answer of Milvus holds the best of another that was asked for all, in order of their scores.

    The towers are random, and many photos score the same but for the last place.
    """
    score_of = {tuple(hit["captions"]): hit["score"] for hit in one["photos"]}
    scores = [hit["score"] for hit in other["photos"]]
    assert len(scores) == top_k
    np.testing.assert_allclose(scores, [score_of[tuple(hit["captions"])] for hit in other["photos"]], atol=2e-4)
    np.testing.assert_allclose(scores, sorted(score_of.values(), reverse=True)[:top_k], atol=2e-4)
    if "captions" in one:
        assert other["captions"][0]["score"] == pytest.approx(one["captions"][0]["score"], abs=2e-4)


@pytest.mark.parametrize("kind", ["file", pytest.param("server", marks=pytest.mark.real)])
def test_the_api_answers_as_it_does_without_milvus(
    kind: str, runs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    url = request.getfixturevalue("milvus_server").url if kind == "server" else str(tmp_path / "run.db")
    milvus = Milvus(url, "a_run")
    load(milvus, SourceInMemory.of(open_run(runs)), rebuild=True)
    with (
        TestClient(create_app(lambda: open_search(Place(checkpoint=runs), to_stay=True))) as plain,
        TestClient(create_app(lambda: opened(milvus))) as loaded,
    ):
        asked = {"query": "a red car - 0.5:house"}
        one = plain.post("/api/search/text", json={**asked, "top_k": 200}).json()
        other = loaded.post("/api/search/text", json={**asked, "top_k": 6}).json()
        same(one, other, 6)
        of_captions = {tuple(photo["captions"]): photo["id"] for photo in one["photos"]}
        there = other["photos"][2]
        ids = [of_captions[tuple(there["captions"])], there["id"]]
        like = [
            api.post("/api/search/image", json={"image_id": name, "top_k": top_k}).json()
            for api, name, top_k in zip((plain, loaded), ids, (200, 4), strict=True)
        ]
        same(like[0], like[1], 4)
        assert loaded.get(f"/api/image/{like[1]['captions'][0]['image_id']}").status_code == 200
        uploads = [
            api.post("/api/search/upload", data={"top_k": top_k}, files={"file": photo()}).json()
            for api, top_k in ((plain, 200), (loaded, 5))
        ]
        same(uploads[0], uploads[1], 5)
        shown = [
            api.get(f"/api/image/{name}/thumbnail").content for api, name in zip((plain, loaded), ids, strict=True)
        ]
        assert shown[0] == shown[1]
        assert loaded.get(f"/api/image/{'0' * 24}").status_code == 404
        (note,) = loaded.post("/api/search/text", json={"query": "a", "filters": {"camera": "x"}}).json()["notes"]
        assert "camera" in note
        stats = [api.get("/api/stats").json() for api in (plain, loaded)]
        for key in ("photos", "captions", "model", "fingerprint", "recall", "fields", "filters"):
            assert stats[0][key] == stats[1][key]
        assert "Milvus" in stats[1]["search"]


@pytest.mark.real
def test_a_server_that_is_killed_under_load_comes_back(
    runs: Path, cache: Path, milvus_server: LocalMilvus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert main(["load", milvus_server.url, "--checkpoint", str(runs), "--rebuild"]) == 0
    options = ("--milvus", milvus_server.url, "--checkpoint", str(runs), "--rate", "1000000/minute")
    with running(cache, *options) as (_, base):
        _killed_under_load(base, milvus_server)


def _killed_under_load(base: str, milvus: LocalMilvus) -> None:
    answers: list[tuple[float, int, bool]] = []
    stopped = threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=base, timeout=60) as client:
            while not stopped.is_set():
                answer = client.post("/api/search/text", json={"query": f"a {number} dog", "top_k": 5})
                answers.append((time.monotonic(), answer.status_code, "retry-after" in answer.headers))
                time.sleep(0.02)

    def until(condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    expected = httpx.post(f"{base}/api/search/text", json={"query": "a red car"}, timeout=60).json()
    askers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for asker in askers:
        asker.start()
    try:
        until(lambda: len(answers) > 20, 60)
        assert {status for _, status, _ in answers} == {200}
        milvus.kill()
        until(lambda: sum(status == 503 for _, status, _ in answers) > 20, 60)
        assert httpx.get(f"{base}/health", timeout=60).status_code == 200
        milvus.start_again()
        back = len(answers)
        until(lambda: sum(status == 200 for _, status, _ in answers[back:]) > 20, 120)
    finally:
        stopped.set()
        for asker in askers:
            asker.join()
    assert {status for _, status, _ in answers} == {200, 503}  # nothing else, and no answer got lost
    assert all(retry for _, status, retry in answers if status == 503)
    assert httpx.post(f"{base}/api/search/text", json={"query": "a red car"}, timeout=60).json() == expected


def test_an_unavailable_milvus_is_told_with_when_to_try_again(
    runs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    milvus = Milvus(str(tmp_path / "run.db"), "a_run")
    load(milvus, SourceInMemory.of(open_run(runs)), rebuild=True)
    with TestClient(create_app(lambda: opened(milvus))) as api:

        def away(*_: object, **__: object) -> None:
            raise UnavailableError("Milvus at http://secret:1 does not answer as it should (down).")

        monkeypatch.setattr(Milvus, "nearest", away)
        answer = api.post("/api/search/text", json={"query": "a dog"})
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
        assert "secret" not in answer.text
        monkeypatch.undo()


def test_a_split_of_a_run_is_loaded_alone(runs: Path) -> None:
    whole = open_run(runs)
    split = whole.splits[0]
    source = SourceInMemory.of(whole.only(split))
    names = [
        name for name, of in zip(whole.embeddings.image_names, whole.embeddings.splits, strict=True) if of == split
    ]
    assert 0 < len(names) < len(whole.photos)
    assert [one.path for one in source.photos] == names
    assert {image for _, image in source.captions} == set(names)
    assert len(source.caption_vectors) == len(source.captions) and len(source.vectors) == len(names)
    row = whole.embeddings.image_names.index(names[-1])
    np.testing.assert_allclose(source.vectors[-1][: whole.vectors.shape[1]], whole.vectors[row], atol=1e-6)
