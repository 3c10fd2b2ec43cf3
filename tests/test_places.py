"""Places for work that few may do at a time: who took much, or came to nothing, waits for the others."""

import asyncio
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from crossmodal.data.prepared import Prepared, Wanted
from crossmodal.errors import PhotoError
from crossmodal.serving import places as module
from crossmodal.serving.batching import Overloaded
from crossmodal.serving.places import Places
from tests.test_api import Client
from tests.test_api import client as client  # a fixture
from tests.test_api import search as search  # a fixture
from tests.test_serving import photo

TURN = 0.03


@pytest.fixture(autouse=True)
def turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN", TURN)


async def work(places: Places, who: str, seconds: float, order: list[str] | None = None, fails: bool = False) -> None:
    """Hold a place for some time."""
    with suppress(PhotoError):
        async with places.held(who):
            await asyncio.sleep(seconds)
            if order is not None:
                order.append(who)
            if fails:
                raise PhotoError


def test_places_go_to_those_who_did_not_fail_and_took_least() -> None:
    async def scenario() -> list[str]:
        places, order = Places(1, 5), list[str]()
        await work(places, "failed", 0, fails=True)
        await work(places, "much", 0.1)
        await work(places, "little", 0.02)
        async with places.held("now"):
            later = [
                asyncio.create_task(work(places, who, 0, order))
                for who in ("failed", "much", "little", "new", "other new")
            ]
            await asyncio.sleep(0.01)
        await asyncio.gather(*later)
        return order

    assert asyncio.run(scenario()) == ["new", "other new", "little", "much", "failed"]


def test_who_took_most_gives_up_and_only_for_one_who_took_less() -> None:
    async def scenario() -> None:
        places = Places(2, 5)
        await work(places, "much", 0.2)
        await work(places, "more", 0.4)
        async with places.held("much") as much, places.held("a") as a:
            await asyncio.sleep(2 * TURN)
            assert not much() and not a()  # nobody waits
            more = asyncio.create_task(work(places, "more", 0))
            await asyncio.sleep(0)
            assert not much() and not a()
            new = asyncio.create_task(work(places, "new", 0))
            await asyncio.sleep(0.01)
            assert much() and not a()
        await asyncio.gather(more, new)
        async with places.held("b") as b:
            assert not b()

    asyncio.run(scenario())


def test_work_of_one_client_takes_turns_and_each_is_twice_as_long() -> None:
    async def scenario() -> list[str]:
        places, order = Places(1, 5), list[str]()
        async with places.held("one", turns=1) as long:
            new = asyncio.create_task(work(places, "one", 0, order))
            await asyncio.sleep(1.3 * TURN)
            assert not long()
            await asyncio.sleep(1.3 * TURN)
            assert long()
            again = asyncio.create_task(again_after_two(places, order))
            await asyncio.sleep(0)
        await asyncio.gather(again, new)
        async with places.held("one") as short:
            again = asyncio.create_task(again_after_two(places, order))
            await asyncio.sleep(2 * TURN)
            assert not short()  # it had two turns already
        await again
        return order

    async def again_after_two(places: Places, order: list[str]) -> None:
        async with places.held("one", turns=2):
            order.append("again")

    assert asyncio.run(scenario()) == ["one", "again", "again"]


def test_a_turn_is_had_before_a_place_is_given_up() -> None:
    async def scenario() -> tuple[bool, bool]:
        places = Places(1, 5)
        async with places.held("a") as a:
            new = asyncio.create_task(work(places, "b", 0))
            await asyncio.sleep(0)
            at_once = a()
            await asyncio.sleep(2 * TURN)
            later = a()
        await new
        return at_once, later

    assert asyncio.run(scenario()) == (False, True)


def test_patience_ends_and_nothing_is_left_taken() -> None:
    async def scenario() -> None:
        places = Places(1, 0.1)
        async with places.held("a"):
            with pytest.raises(Overloaded):
                async with places.held("b"):
                    pass
            left = asyncio.create_task(work(places, "c", 0))
            await asyncio.sleep(0.01)
            left.cancel()
            with suppress(asyncio.CancelledError):
                await left
            with pytest.raises(Overloaded):  # began long ago
                async with asyncio.timeout(0.05), places.held("d", 0, time.monotonic() - 9):
                    pass
        async with asyncio.timeout(0.05), places.held("e", 0, time.monotonic() - 9):
            pass  # there is a place at once

    asyncio.run(scenario())


def test_a_place_that_gets_free_as_patience_ends_is_nobodys() -> None:
    async def scenario() -> None:
        places = Places(1, 0.05)
        async with places.held("a"):
            late = asyncio.create_task(work(places, "b", 0))
            await asyncio.sleep(0)
            waiting = places._waiting[0]
            while not waiting.place.done():
                await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await late
        async with asyncio.timeout(0.05), places.held("c"):
            pass

    asyncio.run(scenario())


def test_a_new_client_is_served_among_forty_that_take_long_again_and_again() -> None:
    async def scenario() -> list[float]:
        places, ended, waits = Places(2, 3), asyncio.Event(), list[float]()

        async def long(who: str) -> None:
            while not ended.is_set():
                with suppress(Overloaded):
                    async with places.held(who) as gives_up:
                        began = time.monotonic()
                        while time.monotonic() - began < 1 and not gives_up():
                            await asyncio.sleep(0.01)

        attackers = [asyncio.create_task(long(f"attacker {number}")) for number in range(40)]
        await asyncio.sleep(1.5)  # in which each has had its turn
        for number in range(10):
            began = time.monotonic()
            await work(places, f"honest {number}", 0.01)
            waits.append(time.monotonic() - began)
        ended.set()
        await asyncio.gather(*attackers)
        return waits

    assert max(asyncio.run(scenario())) < 0.5


def test_an_upload_that_takes_long_begins_again_after_another(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    monkeypatch.setattr("crossmodal.serving.api.AT_ONCE", 1)
    begun, order = threading.Event(), list[str]()

    def decode(content: bytes, wanted: Wanted, unwanted: threading.Event) -> Prepared:
        if not begun.is_set():
            begun.set()
            assert unwanted.wait(30)
            order.append("given up")
            raise PhotoError("it is no longer wanted")
        order.append("decoded")
        return Prepared("JPEG", 8, 8, None, "", 0, False, np.zeros((8, 8, 3), np.uint8))

    monkeypatch.setattr("crossmodal.serving.searching.uploads", lambda: decode)
    api = client(keys={name: hashlib.sha256(name.encode()).digest() for name in ("a", "b")})

    def ask(key: str) -> Any:
        return api.post("/api/search/upload", files={"file": photo()}, headers={"x-api-key": key})

    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(ask, "a")
        assert begun.wait(30)
        assert ask("b").status_code == 200
        assert long.result().status_code == 200
    assert order == ["given up", "decoded", "decoded"]
