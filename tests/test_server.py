"""The server: swaps, connections, proxies, signals; in threads of this process, and as a process of its own."""

import asyncio
import contextlib
import http.client
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import httpx
import numpy as np
import pytest
import torch
import uvicorn
from fastapi import FastAPI
from limits import parse

from crossmodal.data.prepared import Prepared, Wanted
from crossmodal.data.preprocessing import Preprocessing
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.embeddings import model_path
from crossmodal.errors import CrossmodalError, PhotoError
from crossmodal.galleries import Place, open_search
from crossmodal.photos.index import index_photos
from crossmodal.search.gallery import About
from crossmodal.search.in_memory import PhotosInMemory
from crossmodal.search.record import Found, Photo
from crossmodal.search.search import Search
from crossmodal.search.vector_index import PlainIndex
from crossmodal.serving import connections
from crossmodal.serving.api import create_app, swap
from crossmodal.serving.connections import Connection, TooMany
from crossmodal.serving.guards import Limits
from crossmodal.serving.server import Served, config_of, swap_when_told
from tests.test_serving import cache as cache  # a fixture
from tests.test_serving import calibrated as calibrated  # a fixture
from tests.test_serving import photo
from tests.test_serving import runs as runs  # a fixture

SECONDS = 60.0  # that an answer may take on a machine that does other things too


@pytest.fixture
def in_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


class MadeUpRuntime:
    """Encodes each sentence as a vector of its own, without a tower."""

    name = "made up"
    preprocessing = Preprocessing(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear", "squash", 1.0)

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        return np.tile(np.eye(1, 8, dtype=np.float32), (len(pixels), 1))

    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        vectors = [np.random.default_rng(list(text.encode())).standard_normal(8) for text in sentences]
        return np.array([vector / np.linalg.norm(vector) for vector in vectors], dtype=np.float32)


def made_up() -> Search:
    """A search of three photos that are not there."""
    vectors = np.eye(3, 8, dtype=np.float32)
    about = About("made up", Path("/nowhere"), "f", Path("none.pt"), "tiny", frozenset({"captions"}))
    photos = [Photo(Found(f"{n}.jpg", 1, 0), captions=("a dog",)) for n in range(3)]
    return Search(PhotosInMemory(about, photos, vectors, PlainIndex(vectors)), MadeUpRuntime())


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


def slowly(search: Search, seconds: float) -> Search:
    """Make a search encode slowly."""
    encode = search.runtime.encode_sentences

    def waiting(sentences: Sequence[str]) -> np.ndarray:
        time.sleep(seconds)
        return encode(sentences)

    search.runtime.encode_sentences = waiting  # type: ignore[method-assign]
    return search


# --- swaps ---


def test_requests_under_way_end_with_the_search_they_began_with() -> None:
    searches = [slowly(made_up(), 0.2), made_up()]
    closed: list[int] = []
    searches[0].close = lambda: closed.append(len(closed))  # type: ignore[method-assign]

    async def swapped() -> list[int]:
        app = create_app(lambda: searches.pop(0))
        async with app.router.lifespan_context(app), client(app) as api:
            asked = [
                asyncio.create_task(api.post("/api/search/text", json={"query": f"a car {n}"})) for n in range(100)
            ]
            await asyncio.sleep(0.1)  # none of these sentences is in the cache
            await swap(app)
            assert not closed
            answers = await asyncio.gather(*asked)
            assert closed == [0]
        return [answer.status_code for answer in answers]

    assert asyncio.run(swapped()) == [200] * 100


def some_photos(folder: Path, names: str) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        (folder / f"{name}.png").write_bytes(photo("PNG", (40 + 5 * number + ord(name), 60)))


@pytest.mark.parametrize("kind", ["run", "folder"])
def test_swaps_leave_no_descriptors(kind: str, runs: Path, tmp_path: Path, in_cache: None) -> None:
    place = Place(checkpoint=runs)
    if kind == "folder":
        some_photos(tmp_path / "photos", "abc")
        index_photos(tmp_path / "photos", checkpoint=runs)
        place = Place(tmp_path / "photos")

    async def counted() -> list[int]:
        app, counts = create_app(lambda: open_search(place, to_stay=True)), []
        async with app.router.lifespan_context(app), client(app) as api:
            for _ in range(9):
                await swap(app)
                assert (await api.post("/api/search/text", json={"query": "a car"})).status_code == 200
                counts.append(len(os.listdir("/proc/self/fd")))
        return counts

    counts = asyncio.run(counted())
    assert counts[-1] <= counts[0], counts


def test_an_open_gallery_stays_as_it_was(runs: Path, tmp_path: Path, in_cache: None) -> None:
    photos = tmp_path / "photos"
    some_photos(photos, "abcd")
    index_photos(photos, checkpoint=runs)

    async def asked() -> None:
        app = create_app(lambda: open_search(Place(photos), to_stay=True))
        async with app.router.lifespan_context(app), client(app) as api:

            async def scores() -> dict[str, float]:
                found = (await api.post("/api/search/text", json={"query": "a car"})).json()["photos"]
                return {one["id"]: one["score"] for one in found}

            before = await scores()
            (photos / "a.png").unlink()
            (photos / "b.png").unlink()
            (photos / "z.jpg").write_bytes(photo(size=(300, 20)))
            await asyncio.to_thread(index_photos, photos)
            assert await scores() == before
            await swap(app)
            assert len(await scores()) == 3

    asyncio.run(asked())


def test_swaps_come_one_after_the_other() -> None:
    search, now, most, opened = made_up(), 0, 0, 0

    def slow() -> Search:
        nonlocal now, most, opened
        now, opened = now + 1, opened + 1
        most = max(most, now)
        time.sleep(0.1)
        now -= 1
        return search

    async def told() -> None:
        app, event = create_app(slow), asyncio.Event()
        async with app.router.lifespan_context(app):
            task = asyncio.create_task(swap_when_told(app, event))
            for _ in range(8):
                event.set()
                await asyncio.sleep(0.02)
            await asyncio.gather(swap(app), swap(app), asyncio.sleep(0.4))
            task.cancel()

    asyncio.run(told())
    assert most == 1
    assert opened <= 1 + 4 + 2  # and not one for each time it was told


@pytest.mark.parametrize("failure", [CrossmodalError("No model\nis here."), OSError(5, "broken"), ValueError("torn")])
def test_a_swap_that_fails_is_one_sentence_in_the_log(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    searches: list[Search | Exception] = [made_up(), failure]

    def next_one() -> Search:
        one = searches.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    async def swapped() -> None:
        app = create_app(next_one)
        async with app.router.lifespan_context(app), client(app) as api:
            await swap(app)
            assert (await api.post("/api/search/text", json={"query": "a car"})).status_code == 200

    asyncio.run(swapped())
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "swap failed" in record.getMessage() and "\n" not in record.getMessage() and not record.exc_info


# --- connections ---


@contextmanager
def listening(app: FastAPI, served: Served | None = None) -> Iterator[tuple[str, int]]:
    """The application behind uvicorn, in a thread; yields its address."""
    config = config_of(app, replace(served or Served(), port=0))
    server, listener = uvicorn.Server(config), config.bind_socket()
    thread = threading.Thread(target=lambda: server.run([listener]))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join()


def said(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    content = b""
    while part := connection.recv(65536):
        content += part
    return content


def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    with listening(create_app(made_up)) as address:
        silent, slow, between = (socket.create_connection(address, timeout=SECONDS) for _ in range(3))
        slow.sendall(b"GET /health HTTP/1.1\r\n")
        between.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        while b'{"status":"ok"}' not in between.recv(65536):
            pass
        assert said(silent) == b""
        assert said(slow) == b""
        between.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")  # a connection is kept between requests
        assert b"200 OK" in between.recv(65536)
        between.close()


def test_too_many_connections_are_turned_away_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 3.0)
    monkeypatch.setattr(Connection, "too_many", TooMany())
    with listening(create_app(made_up)) as address:
        monkeypatch.setattr(Connection, "most", 20)
        half_open = [socket.create_connection(address, timeout=SECONDS) for _ in range(120)]
        turned_away = [said(one) for one in half_open[20:]]
        assert all(b"503" in answer or not answer for answer in turned_away)
        assert [record.getMessage() for record in caplog.records].count(
            "There are too many connections; new ones are turned away."
        ) == 1
        for one in half_open[:20]:
            assert said(one) == b""  # which makes room again
            one.close()
        assert httpx.get(f"http://127.0.0.1:{address[1]}/health", timeout=SECONDS).status_code == 200


def test_no_free_descriptor_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    loop, too_many = asyncio.new_event_loop(), TooMany()
    for _ in range(100):
        too_many.handle(loop, {"message": "socket.accept() out of system resource", "exception": OSError(24, "full")})
    loop.close()
    assert len(caplog.records) == 1


def uploading(address: tuple[str, int]) -> socket.socket:
    """A client that has sent an upload and waits."""
    body = b"--b\r\ncontent-disposition: form-data; name=file; filename=a.jpg\r\n\r\n" + photo() + b"\r\n--b--\r\n"
    head = (
        b"POST /api/search/upload HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    )
    client = socket.create_connection(address)
    client.sendall(head + body)
    return client


def test_an_upload_whose_client_left_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoding, begun = [], threading.Event()

    def slow(content: bytes, wanted: Wanted, unwanted: threading.Event) -> Prepared:
        decoding.append(len(content))
        begun.set()
        time.sleep(0.5)
        return Prepared("JPEG", 8, 8, None, "", 0, False, np.zeros((8, 8, 3), np.uint8))

    monkeypatch.setattr("crossmodal.serving.searching.uploads", lambda: SimpleNamespace(quick=slow))
    with listening(create_app(made_up)) as address:
        clients = [uploading(address) for _ in range(8)]
        assert begun.wait(SECONDS)
        time.sleep(0.2)
        for one in clients:
            one.close()
        time.sleep(1.5)
    assert len(decoding) <= 2


def test_decoding_stops_when_the_client_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def slow(content: bytes, wanted: Wanted, unwanted: threading.Event) -> Prepared:
        begun.set()
        if unwanted.wait(SECONDS):
            stopped.set()
        raise PhotoError("The upload is no longer wanted.")

    monkeypatch.setattr("crossmodal.serving.searching.uploads", lambda: SimpleNamespace(quick=slow))
    with listening(create_app(made_up)) as address:
        client = uploading(address)
        assert begun.wait(SECONDS)
        assert not stopped.wait(1)  # as long as it waits
        client.close()
        assert stopped.wait(10)


def test_only_a_trusted_proxy_says_whom_it_asks_for() -> None:
    limits = replace(Limits(), rate=parse("3/minute"))

    def statuses(proxies: tuple[str, ...]) -> list[int]:
        app = create_app(made_up, limits)
        with listening(app, Served(proxies=proxies)) as address:
            return [
                httpx.get(
                    f"http://127.0.0.1:{address[1]}/docs", headers={"x-forwarded-for": f"10.1.1.{n}"}, timeout=SECONDS
                ).status_code
                for n in range(5)
            ]

    assert statuses(()) == [200, 200, 200, 429, 429]  # its own address counts, whatever it says
    assert statuses(("127.0.0.0/8",)) == [200] * 5


def test_a_network_of_ipv6_is_one_client() -> None:
    app = create_app(made_up, replace(Limits(), rate=parse("3/minute")))
    with listening(app, Served(proxies=("127.0.0.0/8",))) as address:

        def status(who: str) -> int:
            url = f"http://127.0.0.1:{address[1]}/docs"
            return httpx.get(url, headers={"x-forwarded-for": who}, timeout=SECONDS).status_code

        assert [status(f"2001:db8:1:2:{n}::1") for n in range(5)] == [200, 200, 200, 429, 429]
        assert status("2001:db8:1:3::1") == 200
        assert [status(f"::ffff:10.1.1.{n}") for n in range(5)] == [200] * 5  # IPv4, as a socket of both kinds says it


# --- the process ---


@contextmanager
def running(
    cache: Path, *options: str, log: int | IO[str] = subprocess.DEVNULL
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server on a port of its own."""
    command = [sys.executable, "-m", "crossmodal", "serve", "--port", "0", *options]
    # Its log goes nowhere: a pipe that nobody reads fills up, and then the server waits.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().split()[1]
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def server(runs: Path, cache: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with running(cache, "--checkpoint", str(runs), "--rate", "1000000/minute") as started:
        yield started


@pytest.mark.real
def test_1100_half_open_requests_stop_no_server_and_fill_no_log(runs: Path, cache: Path, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log, running(cache, "--checkpoint", str(runs), log=log) as (process, url):
        host, port = url.removeprefix("http://").split(":")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= soft < 2000:
            resource.setrlimit(resource.RLIMIT_NOFILE, (2000, hard))
        half_open = []
        for _ in range(1100):
            half_open.append(socket.create_connection((host, int(port)), timeout=SECONDS))
            with contextlib.suppress(OSError):  # turned away already
                half_open[-1].sendall(b"GET /api/stats HTTP/1.1\r\nhost: localhost\r\n")
        end, status = time.monotonic() + SECONDS, 0
        while status != 200 and time.monotonic() < end:
            with contextlib.suppress(httpx.HTTPError):
                status = httpx.get(f"{url}/health", timeout=SECONDS).status_code
            time.sleep(0.5)
        assert status == 200 and process.poll() is None
        for one in half_open:
            one.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert sum("too many connections" in line for line in lines) == 1
    assert sum(map(len, lines)) < 20_000


def test_a_swap_under_load_fails_no_request(
    server: tuple[subprocess.Popen[str], str], runs: Path, model: DualEncoder, cache: Path
) -> None:
    _, url = server
    before = httpx.get(f"{url}/api/stats", timeout=SECONDS).json()["fingerprint"]
    statuses: list[int] = []
    ending = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=SECONDS) as http:
            number = 0
            while not ending.is_set():
                number += 1
                statuses.append(http.post(f"{url}/api/search/text", json={"query": f"car {number % 7}"}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    from crossmodal.evaluation.evaluate import embed
    from crossmodal.files import append_line

    with torch.no_grad():
        next(model.text_projection.parameters()).mul_(1.5)
    metrics = {f"{way}_r{k}": 50.0 for way in ("t2i", "i2t") for k in (1, 5, 10)} | {"rsum": 300.0, "images": 3}
    data = torch.load(runs / "model_epoch_2.pt", weights_only=True)["data"]
    model.save(model_path(runs, 3), 3, metrics, data)
    embed(model_path(runs, 3), None, None)
    append_line(runs / "results.jsonl", {"epoch": 3, "loss": 1.0, **metrics})
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    port = url.rpartition(":")[2]
    told = subprocess.run(
        [sys.executable, "-m", "crossmodal", "serve", "--reload-model", "--port", port], env=environment, check=False
    )
    assert told.returncode == 0
    deadline = time.monotonic() + 60
    while httpx.get(f"{url}/api/stats", timeout=SECONDS).json()["fingerprint"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    ending.set()
    for thread in threads:
        thread.join()
    assert len(statuses) > 20
    assert set(statuses) == {200}


def test_a_swap_to_what_cannot_be_opened_changes_nothing(server: tuple[subprocess.Popen[str], str], runs: Path) -> None:
    process, url = server
    for path in runs.glob("*_epoch_2.pt"):
        path.write_bytes(b"broken")
    process.send_signal(signal.SIGHUP)
    time.sleep(1.5)
    assert httpx.post(f"{url}/api/search/text", json={"query": "a car"}).status_code == 200


def test_sigterm_lets_a_request_end(
    server: tuple[subprocess.Popen[str], str], collection: tuple[Path, Path], cache: Path
) -> None:
    process, url = server
    content = sorted(collection[1].iterdir())[0].read_bytes()
    body = b"--b\r\ncontent-disposition: form-data; name=file; filename=a.jpg\r\n\r\n" + content + b"\r\n--b--\r\n"
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", "/api/search/upload")
    connection.putheader("content-type", "multipart/form-data; boundary=b")
    connection.putheader("content-length", str(len(body)))
    connection.endheaders(body[:200])
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")  # nobody new is let in
    connection.send(body[200:])
    assert connection.getresponse().status == 200
    assert process.wait(20) == 0
    assert not (cache / f"crossmodal/serving-{url.rpartition(':')[2]}.json").exists()  # nothing stays behind


def test_what_a_killed_server_left_leads_to_no_other_process(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    (tmp_path / "crossmodal").mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / "crossmodal/serving-1.json").write_text(f'{{"pid": {other.pid}}}')
        command = [sys.executable, "-m", "crossmodal", "serve", "--reload-model", "--port", "1"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 1 and "No server of this user serves port 1" in done.stderr
        assert other.poll() is None
        other.communicate(b"\n")
    assert other.returncode == 0


def test_what_cannot_be_served_is_one_sentence(tmp_path: Path, server: tuple[subprocess.Popen[str], str]) -> None:
    def said(*options: str) -> str:
        command = [sys.executable, "-m", "crossmodal", "serve", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "There is no index in" in said("--photos", str(tmp_path))
    assert "cannot be read; write it as 600/minute" in said("--rate", "often")
    assert "should be from 0, any that is free, to 65535" in said("--port", "99999")
    assert "--host 999.1.1.1 is not an address of this machine" in said("--host", "999.1.1.1")
    assert "--allow-host x:80 is not a name" in said("--allow-host", "x:80")
    assert "--cors-origin evil is not the origin" in said("--cors-origin", "evil")
    assert "should let 1 to 1,000,000,000 through" in said("--rate", "99999999999999/second")
    assert "is not an address; write it as" in said("--trust-proxy", "nginx")
    assert "No server of this user serves port 1" in said("--reload-model", "--port", "1")
