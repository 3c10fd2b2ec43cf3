"""Honest clients beside hostile ones, at a real server; each has an address of its own, where the system has so many."""

import asyncio
import os

import pytest

from benchmarks.load import beside_hostile, server


@pytest.mark.real
def test_honest_clients_are_answered_beside_hostile_uploads() -> None:
    wanted = os.getloadavg()[0]
    with server() as (process, url):
        searches, photos, uploads, hostile = asyncio.run(beside_hostile(url, 20))
        left = [child for child in process.children(recursive=True) if child.is_running()]
        assert len(left) <= 6  # two for uploads, each with one that decodes, and two that decode what is shown
    assert set(searches.statuses) == set(photos.statuses) == {200}
    assert set(hostile.statuses) <= {200, 415, 503}
    if wanted > (cores := os.cpu_count() or 1):
        pytest.skip(f"{wanted:.1f} processes want {cores} cores: statuses were checked, and times say nothing")
    assert set(uploads.statuses) == {200}  # a place gets free in time
    for answers in (searches, photos):
        assert answers.p99 < 1000, str(answers)
