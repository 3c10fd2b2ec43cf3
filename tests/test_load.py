"""Honest clients beside hostile ones, at a real server."""

import asyncio

import pytest

from benchmarks.load import beside_hostile, server


@pytest.mark.real
def test_honest_clients_are_answered_beside_hostile_uploads() -> None:
    with server() as (process, url):
        searches, photos, uploads, hostile = asyncio.run(beside_hostile(url, 20))
        left = [child for child in process.children(recursive=True) if child.is_running()]
        assert len(left) <= 4  # two that decode uploads, two that decode what is shown
    assert set(searches.statuses) == set(photos.statuses) == {200}
    assert searches.p99 < 1000 and photos.p99 < 1000
    assert set(uploads.statuses) == {200}
    assert set(hostile.statuses) <= {415, 503}
