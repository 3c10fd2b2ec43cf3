"""Honest clients beside hostile ones, at a real server; each has an address of its own, where the system has so many."""

import asyncio
import os

import pytest

from benchmarks.load import Answers, beside_hostile, server

SETTLED = 90  # seconds after which 40 addresses have shown that their uploads take long, on two cores


@pytest.fixture(scope="module")
def wanted() -> float:
    """How many processes wanted this machine's cores before the first attack."""
    return os.getloadavg()[0]


def check_times(wanted: float, *honest: Answers) -> None:
    """Check the bound, where this machine had nothing else to do."""
    if wanted > (cores := os.cpu_count() or 1):
        pytest.skip(f"{wanted:.1f} processes want {cores} cores: statuses were checked, and times say nothing")
    for answers in honest:
        assert answers.p99 < 1000, str(answers)


@pytest.mark.real
def test_honest_clients_are_answered_beside_hostile_uploads(wanted: float) -> None:
    with server() as (process, url):
        searches, photos, uploads, hostile = asyncio.run(beside_hostile(url, 20, SETTLED))
        left = [child for child in process.children(recursive=True) if child.is_running()]
        assert len(left) <= 4  # two that decode uploads, two that decode what is shown
    assert set(searches.statuses) == set(photos.statuses) == {200}
    assert set(uploads.statuses) <= {200, 503} and set(hostile.statuses) <= {415, 503}
    check_times(wanted, searches, photos, uploads)
    assert set(uploads.statuses) == {200}  # a place is always free in time


@pytest.mark.real
def test_searches_and_photos_are_answered_from_the_first_second_of_an_attack(wanted: float) -> None:
    with server() as (_, url):
        searches, photos, uploads, hostile = asyncio.run(beside_hostile(url, 20))
    assert set(searches.statuses) == set(photos.statuses) == {200}
    assert set(uploads.statuses) <= {200, 503} and set(hostile.statuses) <= {415, 503}
    check_times(wanted, searches, photos)
