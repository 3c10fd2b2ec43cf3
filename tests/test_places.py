"""Places for work that few may do at a time: who takes long makes room, and from then on takes no place from others."""

import asyncio
import hashlib
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from typing import Any

import numpy as np
import pytest

from crossmodal.data.prepared import Prepared, Wanted
from crossmodal.errors import PhotoError
from crossmodal.serving.batching import Overloaded, Places
from tests.test_api import Client
from tests.test_api import client as client  # a fixture
from tests.test_api import search as search  # a fixture
from tests.test_serving import photo

LONG = 0.05


async def failed(places: Places, who: str, seconds: float) -> None:
    """Hold a place for some time, for work that comes to nothing."""
    with suppress(PhotoError):
        async with places.held(who):
            await asyncio.sleep(seconds)
            raise PhotoError


def test_room_is_made_for_others_alone_and_only_after_a_while() -> None:
    async def scenario() -> None:
        places = Places(1, each=1, patience=1, long=LONG)
        async with places.held("a") as gives_up:
            await asyncio.sleep(2 * LONG)
            assert not gives_up()  # nobody waits
        async with places.held("a") as gives_up:
            again = asyncio.create_task(failed(places, "a", 0))
            await asyncio.sleep(2 * LONG)
            assert not gives_up()  # its own next one waits
            other = asyncio.create_task(failed(places, "b", 0))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert gives_up()
        async with places.held("c") as gives_up:
            assert not gives_up()
        await asyncio.gather(again, other)

    asyncio.run(scenario())


def test_those_who_took_long_for_nothing_share_a_place() -> None:
    async def scenario() -> None:
        places = Places(2, each=1, patience=0.2, long=LONG)
        for slow in "ab":
            await failed(places, slow, 2 * LONG)
        await failed(places, "c", 0)
        async with places.held("d"):
            await asyncio.sleep(2 * LONG)  # long, and not for nothing
        async with AsyncExitStack() as held:
            await held.enter_async_context(places.held("a"))
            with pytest.raises(Overloaded):
                await held.enter_async_context(places.held("b"))
            for quick in "cd":
                async with asyncio.timeout(LONG), places.held(quick):
                    pass

    asyncio.run(scenario())


def test_those_who_fail_again_and_again_share_a_place_where_what_takes_long_is_told() -> None:
    async def shares(places: Places, failures: int) -> bool:
        for _ in range(failures):
            for who in "ab":
                await failed(places, who, 0)
        async with places.held("a"):
            try:
                async with places.held("b"):
                    return False
            except Overloaded:
                return True

    for long, failures, shared in ((9.0, 4, False), (9.0, 5, True), (math.inf, 5, False)):
        assert asyncio.run(shares(Places(2, each=1, patience=0.05, long=long), failures)) == shared


def test_an_upload_that_takes_long_makes_room_for_another(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    monkeypatch.setattr("crossmodal.serving.api.LONG", 0.5)
    monkeypatch.setattr("crossmodal.serving.api.AT_ONCE", 1)
    first = threading.Event()

    def decode(content: bytes, wanted: Wanted, unwanted: threading.Event) -> Prepared:
        if not first.is_set():
            first.set()
            assert unwanted.wait(30)
            raise PhotoError("it is no longer wanted")
        return Prepared("JPEG", 8, 8, None, "", 0, False, np.zeros((8, 8, 3), np.uint8))

    monkeypatch.setattr("crossmodal.serving.searching.uploads", lambda: decode)
    api = client(keys={name: hashlib.sha256(name.encode()).digest() for name in ("a", "b")})

    def ask(key: str) -> Any:
        return api.post("/api/search/upload", files={"file": photo()}, headers={"x-api-key": key})

    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(ask, "a")
        assert first.wait(30)
        assert ask("b").status_code == 200
        assert (long.result().status_code, long.result().headers["retry-after"]) == (503, "2")
