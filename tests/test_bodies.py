"""Large bodies that come at the same time: which of them is taken up next, and that none keeps the turn."""

import asyncio
from collections.abc import Callable, Iterable

import pytest
from starlette.types import Message, Receive

from crossmodal.serving.bodies import SMALL, Body
from crossmodal.serving.turns import Turns

MOST = 100 * SMALL
LARGE = bytes(2 * SMALL)


def coming(parts: Iterable[bytes]) -> Receive:
    """Return what gives the parts one after the other, as a server does."""
    left = list(parts)

    async def receive() -> Message:
        await asyncio.sleep(0)
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    return receive


async def taken_up(body: Body, parts: list[bytes], seen: Callable[[], None]) -> None:
    """Take up a body part by part, each of which takes a while."""
    read = body.reader(coming(parts))
    for _ in parts:
        await read()
        seen()
        await asyncio.sleep(0.01)
    body.done()


def test_of_large_bodies_the_one_of_which_least_has_come_goes_first() -> None:
    async def scenario() -> list[str]:
        turns, order = Turns(), list[str]()
        bodies = [taken_up(Body(MOST, turns), [LARGE] * 5, lambda: order.append("long")) for _ in range(6)]
        tasks = [asyncio.create_task(body) for body in bodies]
        while len(order) < 12:  # two parts of each
            await asyncio.sleep(0.005)
        before = len(order)
        await taken_up(Body(MOST, turns), [LARGE, LARGE], lambda: order.append("short"))
        await asyncio.gather(*tasks)
        return order[before:]

    order = asyncio.run(scenario())
    # One part may be taken up as each of its own comes.
    assert [place for place, name in enumerate(order) if name == "short"][-1] <= 3, order


def test_small_bodies_and_the_last_part_of_any_keep_no_turn() -> None:
    async def scenario() -> None:
        turns = Turns()
        await Body(MOST, turns).reader(coming([LARGE, LARGE]))()  # taken, and not passed on
        async with asyncio.timeout(1):
            assert await Body(MOST, turns).reader(coming([bytes(SMALL)]))() == {
                "type": "http.request", "body": bytes(SMALL), "more_body": False,
            }  # fmt: skip
        turns = Turns()
        await Body(MOST, turns).reader(coming([LARGE]))()  # which may wait for other things for long
        async with asyncio.timeout(1):
            await turns.take()

    asyncio.run(scenario())


def test_a_request_that_ends_in_the_middle_passes_its_turn_on() -> None:
    async def scenario() -> None:
        turns = Turns()
        body, waiting = Body(MOST, turns), Body(MOST, turns)
        await body.reader(coming([LARGE, LARGE]))()
        left = asyncio.ensure_future(waiting.reader(coming([LARGE, LARGE]))())
        await asyncio.sleep(0.01)
        left.cancel()  # its client has gone
        with pytest.raises(asyncio.CancelledError):
            await left
        body.done()
        body.done()  # a second time nothing is passed on
        async with asyncio.timeout(1):
            await turns.take()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await turns.take()

    asyncio.run(scenario())


def test_a_body_of_too_many_bytes_is_cut_off() -> None:
    async def scenario() -> None:
        body = Body(3 * SMALL, Turns())
        read = body.reader(coming([LARGE, LARGE, LARGE]))
        assert len((await read())["body"]) == 2 * SMALL and not body.too_many
        assert await read() == {"type": "http.request", "body": b"", "more_body": False} and body.too_many

    asyncio.run(scenario())
