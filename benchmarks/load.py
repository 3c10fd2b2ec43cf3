"""The API under load: requests a second, latencies and errors at 1, 10, 50 and 200 clients; memory over many requests.

    python -m benchmarks.load [--seconds 60] [--requests 50000]
    python -m benchmarks.load --hostile [--seconds 60]      10 honest clients beside 40 that upload pictures which take long

Starts the server on its default gallery, and asks it on loopback. No sentence is asked twice in the timed
part, so that each goes through the tower; clients ask again as soon as they are answered. The clients'
own work takes its share of the same cores.
"""

import argparse
import asyncio
import io
import itertools
import math
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psutil
from PIL import Image

CLIENTS = (1, 10, 50, 200)
HONEST, HOSTILE = 10, 40
THINGS = "dog cat child man woman bicycle boat horse ball car tree street beach mountain river kitchen".split()
COLOURS = "red blue green yellow black white brown grey orange purple".split()
Ask = Callable[[httpx.AsyncClient, int], Awaitable[int]]
WARM = 6000  # requests before memory is looked at, which fill the cache of sentences


def main() -> None:
    """Print a line for each number of clients, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--before", type=float, default=0, help="seconds of --hostile that are not counted")
    options = parser.parse_args()
    with server() as (process, url):
        if options.hostile:
            print("\n".join(map(str, asyncio.run(beside_hostile(url, options.seconds, options.before)))))
            return
        print("clients  requests/s     p50     p95     p99 ms  errors  statuses")
        for clients in CLIENTS:
            asyncio.run(timed(url, clients, options.seconds))
        asyncio.run(repeated(url, 50, WARM))
        before = process.memory_info().rss
        print(f"memory: {before / 1e6:.0f} MB", end="", flush=True)
        failed = 0
        for _ in range(5):
            failed += asyncio.run(repeated(url, 50, options.requests // 5))
            print(f" -> {process.memory_info().rss / 1e6:.0f}", end="", flush=True)
        print(f" MB after {options.requests:,} requests, {failed} of which failed")


@contextmanager
def server() -> Iterator[tuple[psutil.Process, str]]:
    """Start the server; yield its process and address."""
    command = [sys.executable, "-m", "crossmodal", "serve", "--port", "0", "--rate", "100000000/minute"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    try:
        url = next(line.split()[1] for line in process.stdout if line.startswith("Serving"))
        yield psutil.Process(process.pid), url
    finally:
        process.terminate()
        process.wait()


async def search(client: httpx.AsyncClient, number: int) -> int:
    """Ask for a sentence that was not asked before."""
    words = f"a {COLOURS[number % 10]} {THINGS[number // 10 % 16]} beside {number} others"
    return (await client.post("/api/search/text", json={"query": words, "top_k": 10, "cut_off": False})).status_code


async def timed(url: str, clients: int, seconds: float) -> None:
    """Let clients ask for some time, and print how it went."""
    numbers, taken, statuses = itertools.count(clients * 10_000_000), [], Counter[int]()
    end = time.perf_counter() + seconds

    async def one() -> None:
        async with _client(url) as client:
            while (started := time.perf_counter()) < end:
                try:
                    status = await search(client, next(numbers))
                except httpx.HTTPError:
                    status = 0
                statuses[status] += 1
                taken.append(1000 * (time.perf_counter() - started))

    await asyncio.gather(*(one() for _ in range(clients)))
    cuts = statistics.quantiles(taken, n=100)
    errors = sum(count for status, count in statuses.items() if status != 200)
    print(
        f"{clients:7d}  {len(taken) / seconds:10.1f} {cuts[49]:7.1f} {cuts[94]:7.1f} {cuts[98]:7.1f}     {errors:6d}  {dict(statuses)}",
        flush=True,
    )


@dataclass
class Answers:
    """How one kind of request went: statuses, 0 for none, and milliseconds."""

    kind: str
    statuses: Counter[int] = field(default_factory=Counter)
    taken: list[float] = field(default_factory=list)

    @property
    def p99(self) -> float:
        """The 99th percentile in milliseconds."""
        return statistics.quantiles(self.taken, n=100)[98] if len(self.taken) > 1 else math.inf

    def __str__(self) -> str:
        return f"{self.kind}: {len(self.taken)} answers, p99 {self.p99:.0f} ms, {dict(self.statuses)}"


async def beside_hostile(url: str, seconds: float, before: float = 0.0) -> list[Answers]:
    """Let honest clients search, look at photos and upload some beside hostile uploads; return how each kind went.

    Each has an address of its own. What began in the first `before` seconds, in which the server comes to know them, is not counted.
    """
    counted = time.perf_counter() + before
    numbers, end = itertools.count(), counted + seconds
    searches, looks, uploads, hostile = map(Answers, ("searches", "photos", "uploads", "hostile uploads"))
    slow, fine = (many_scans(), many_tiles(), many_scans(1000, 700)), saved(Image.effect_noise((640, 480), 60))
    async with _client(url) as client:
        every = {"query": "a dog", "top_k": 50, "cut_off": False}
        photos = (await client.post("/api/search/text", json=every)).json()["photos"]

    async def timed_one(answers: Answers, asking: Awaitable[httpx.Response]) -> None:
        started = time.perf_counter()
        try:
            status = (await asking).status_code
        except httpx.HTTPError:
            status = 0
        if started >= counted:
            answers.statuses[status] += 1
            answers.taken.append(1000 * (time.perf_counter() - started))

    async def honest(number: int) -> None:
        async with _client(url, own_address(number)) as client:
            while time.perf_counter() < end:
                number = next(numbers)
                if number % 20 == 19:
                    await timed_one(uploads, client.post("/api/search/upload", files={"file": fine}))
                elif number % 4 == 3:
                    await timed_one(looks, client.get(photos[number % len(photos)]["thumbnail"]))
                else:
                    words = {"query": f"a {COLOURS[number % 10]} {THINGS[number % 16]} beside {number} others"}
                    await timed_one(searches, client.post("/api/search/text", json=words))

    async def uploading(number: int) -> None:
        async with _client(url, own_address(number)) as client:
            while time.perf_counter() < end:
                await timed_one(hostile, client.post("/api/search/upload", files={"file": slow[number % len(slow)]}))

    attackers = (uploading(HONEST + number) for number in range(HOSTILE))
    await asyncio.gather(*map(honest, range(HONEST)), *attackers)
    return [searches, looks, uploads, hostile]


def own_address(number: int) -> str | None:
    """Return an address of this machine that no other client has; None where loopback has but one, as on a Mac."""
    address = f"127.0.1.{number + 1}"  # all of 127.0.0.0/8 is this machine on Linux
    with socket.socket() as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return None
    return address


def saved(photo: Image.Image, **options: bool) -> bytes:
    """Return a photo as JPEG."""
    file = io.BytesIO()
    photo.save(file, "JPEG", **options)
    return file.getvalue()


def many_scans(side: int = 4000, scans: int = 9000) -> bytes:
    """Return a progressive JPEG whose last scan stands in it so many times: a few bytes each, and all pixels again."""
    content = saved(Image.new("L", (side, side), 90), progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def many_tiles(side: int = 3000, tile: int = 4) -> bytes:
    """Return a TIFF whose tiles all lie at one place: each takes a few bytes, and far longer than its pixels."""
    count, content = (side // tile) ** 2, bytes(tile**2)
    begin = len(content) + 8
    tags = (
        (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1), (322, 4, 1, tile),
        (323, 4, 1, tile), (324, 4, count, begin), (325, 4, count, begin + 4 * count),
    )  # fmt: skip
    lists = struct.pack("<I", 8) * count + struct.pack("<I", len(content)) * count
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", begin + len(lists)) + content + lists + directory


async def repeated(url: str, clients: int, requests: int) -> int:
    """Make so many requests of several kinds; return how many failed."""
    numbers = iter(range(requests))
    failed = 0
    async with _client(url) as client:
        photos = (await client.post("/api/search/text", json={"query": "a dog", "top_k": 50, "cut_off": False})).json()[
            "photos"
        ]

    async def one() -> None:
        nonlocal failed
        async with _client(url) as client:
            for number in numbers:
                photo = photos[number % len(photos)]
                if number % 5 == 0:
                    answer = await client.get(photo["thumbnail"])
                elif number % 5 == 1:
                    answer = await client.post("/api/search/image", json={"image_id": photo["id"]})
                else:
                    failed += await search(client, number) != 200
                    continue
                failed += answer.status_code != 200

    await asyncio.gather(*(one() for _ in range(clients)))
    return failed


def _client(url: str, address: str | None = None) -> httpx.AsyncClient:
    """Return a client with a connection of its own, from an address: httpx shares many among many slowly."""
    transport = httpx.AsyncHTTPTransport(verify=False, local_address=address)
    return httpx.AsyncClient(base_url=url, timeout=60, transport=transport)


if __name__ == "__main__":
    main()
