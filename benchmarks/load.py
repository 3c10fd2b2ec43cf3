"""The API under load: requests a second, latencies and errors at 1, 10, 50 and 200 clients; memory over many requests.

    python -m benchmarks.load [--seconds 60] [--requests 50000]

Starts the server on its default gallery, and asks it on loopback. No sentence is asked twice in the timed
part, so that each goes through the tower; clients ask again as soon as they are answered. The clients'
own work takes its share of the same cores.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import httpx
import psutil

CLIENTS = (1, 10, 50, 200)
THINGS = "dog cat child man woman bicycle boat horse ball car tree street beach mountain river kitchen".split()
COLOURS = "red blue green yellow black white brown grey orange purple".split()
Ask = Callable[[httpx.AsyncClient, int], Awaitable[int]]
WARM = 6000  # requests before memory is looked at, which fill the cache of sentences


def main() -> None:
    """Print a line for each number of clients, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=50_000)
    options = parser.parse_args()
    with server() as (process, url):
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
    return (await client.post("/api/search/text", json={"query": words, "top_k": 10})).status_code


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


async def repeated(url: str, clients: int, requests: int) -> int:
    """Make so many requests of several kinds; return how many failed."""
    numbers = iter(range(requests))
    failed = 0
    async with _client(url) as client:
        photos = (await client.post("/api/search/text", json={"query": "a dog", "top_k": 50})).json()["photos"]

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


def _client(url: str) -> httpx.AsyncClient:
    """Return a client with a connection of its own: httpx shares many among many slowly."""
    return httpx.AsyncClient(base_url=url, timeout=60, verify=False)


if __name__ == "__main__":
    main()
