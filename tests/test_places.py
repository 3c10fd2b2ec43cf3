"""Places for work that few may do at a time: who failed, or asks for much at once, waits for the others."""

import asyncio
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crossmodal.data.prepared import Prepared, Wanted
from crossmodal.errors import PhotoError, SlowPhotoError
from crossmodal.serving.turns import Overloaded, Places
from tests.test_api import Client
from tests.test_api import client as client  # a fixture
from tests.test_api import search as search  # a fixture
from tests.test_serving import photo

DECODED = Prepared("JPEG", 8, 8, None, "", 0, False, np.zeros((8, 8, 3), np.uint8))


async def work(places: Places, who: str, order: list[str] | None = None, fails: bool = False) -> None:
    """Hold a place for a moment."""
    with suppress(PhotoError):
        async with places.held(who):
            await asyncio.sleep(0.01)
            if order is not None:
                order.append(who)
            if fails:
                raise PhotoError


def test_places_are_given_to_those_who_failed_least_and_among_these_to_the_first() -> None:
    async def scenario() -> list[str]:
        places, order = Places(1, 5), list[str]()
        for who in ("twice", "twice", "once"):
            await work(places, who, fails=True)
        async with places.held("now"):
            later = [asyncio.create_task(work(places, who, order)) for who in ("twice", "once", "first", "second")]
            await asyncio.sleep(0.01)
        await asyncio.gather(*later)
        return order

    assert asyncio.run(scenario()) == ["first", "second", "once", "twice"]


def test_who_asks_for_much_at_once_waits_for_others_after_the_first() -> None:
    async def scenario() -> list[str]:
        places, order = Places(1, 5), list[str]()
        async with places.held("now"):
            later = [asyncio.create_task(work(places, who, order)) for who in ("much", "much", "much", "one")]
            await asyncio.sleep(0.01)
        await asyncio.gather(*later)
        later = [asyncio.create_task(work(places, who, order)) for who in ("other", "much", "one")]
        await asyncio.gather(*later)  # of what is done nothing counts any more
        return order

    assert asyncio.run(scenario()) == ["much", "one", "much", "much", "other", "much", "one"]


def test_patience_ends_and_nothing_is_left_taken() -> None:
    async def scenario() -> None:
        places = Places(2, 0.1)
        async with places.held("a"), places.held("b"):
            with pytest.raises(Overloaded):
                await work(places, "c")
            left = asyncio.create_task(work(places, "d"))
            await asyncio.sleep(0.01)
            left.cancel()
            with suppress(asyncio.CancelledError):
                await left
        async with asyncio.timeout(0.05), places.held("e"), places.held("f"):
            pass

    asyncio.run(scenario())


def test_a_place_that_gets_free_as_patience_ends_goes_to_the_next() -> None:
    async def scenario() -> None:
        places, order = Places(1, 5), list[str]()
        async with places.held("a"):
            late = asyncio.create_task(work(places, "late", order))
            following = asyncio.create_task(work(places, "following", order))
            await asyncio.sleep(0.01)
        late.cancel()  # its place was given to it, and it has not begun yet
        with suppress(asyncio.CancelledError):
            await late
        async with asyncio.timeout(1):
            await following
        assert order == ["following"]
        async with asyncio.timeout(0.05), places.held("b"):
            pass

    asyncio.run(scenario())


def test_uploads_that_take_long_wait_for_one_another_alone(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    going, begun, wide = threading.Event(), threading.Event(), photo(size=(64, 8))

    def quick(content: bytes, wanted: Wanted, unwanted: threading.Event) -> Prepared:
        if content == wide:
            raise SlowPhotoError("it takes long")
        return DECODED

    def slow(content: bytes, wanted: Wanted, unwanted: threading.Event) -> Prepared:
        assert content == wide
        begun.set()
        assert going.wait(30)
        raise SlowPhotoError("The upload is too much.")

    monkeypatch.setattr("crossmodal.serving.api.UPLOAD_PATIENCE", 0.5)
    monkeypatch.setattr("crossmodal.serving.searching.uploads", lambda: SimpleNamespace(quick=quick, slow=slow))
    api = client(keys={name: hashlib.sha256(name.encode()).digest() for name in ("a", "b", "c")})

    def ask(key: str, content: bytes) -> Any:
        return api.post("/api/search/upload", files={"file": content}, headers={"x-api-key": key})

    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(ask, "a", wide)
        assert begun.wait(30)
        assert [ask("c", photo()).status_code for _ in range(3)] == [200] * 3
        assert (ask("b", wide).status_code, ask("b", wide).headers["retry-after"]) == (503, "2")
        going.set()
        assert long.result().status_code == 415
        assert long.result().json()["error"]["message"] == "The upload is too much."
