"""Honest clients beside hostile ones, at a real server."""

import asyncio

import pytest

from benchmarks.load import beside_hostile, server

SETTLED = 90  # seconds after which 40 addresses have shown that their uploads take long, on two cores


@pytest.mark.real
def test_honest_clients_are_answered_beside_hostile_uploads() -> None:
    """Each of them has an address of its own, where the system has so many."""
    with server() as (process, url):
        searches, photos, uploads, hostile = asyncio.run(beside_hostile(url, 20, SETTLED))
        left = [child for child in process.children(recursive=True) if child.is_running()]
        assert len(left) <= 4  # two that decode uploads, two that decode what is shown
    assert set(searches.statuses) == set(photos.statuses) == set(uploads.statuses) == {200}
    assert searches.p99 < 1000 and photos.p99 < 1000 and uploads.p99 < 1000
    assert set(hostile.statuses) <= {415, 503}


@pytest.mark.real
def test_searches_and_photos_are_answered_from_the_first_second_of_an_attack() -> None:
    with server() as (_, url):
        searches, photos, uploads, hostile = asyncio.run(beside_hostile(url, 20))
    assert set(searches.statuses) == set(photos.statuses) == {200}
    assert searches.p99 < 1000 and photos.p99 < 1000
    assert set(uploads.statuses) <= {200, 503} and set(hostile.statuses) <= {415, 503}
