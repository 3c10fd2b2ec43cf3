"""What the server holds: the search, replaced as a whole; sentences encoded before; how it goes."""

import asyncio
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import numpy as np
from cachetools import LRUCache
from fastapi import Depends, Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from crossmodal.search.query import Query, Term
from crossmodal.search.search import Search
from crossmodal.serving.batching import Batcher

REMEMBERED = 4096  # sentences whose vectors are kept
RECENT = 2000  # searches of which percentiles are told


class Measures:
    """Counters and times, for people and for Prometheus."""

    def __init__(self) -> None:
        self.started, self.queries = time.time(), 0
        self._recent: deque[float] = deque(maxlen=RECENT)
        self.registry = CollectorRegistry()
        labels = ["method", "route", "status"]
        self._requests = Counter("crossmodal_requests", "Requests", labels, registry=self.registry)
        self._seconds = Histogram("crossmodal_request_seconds", "Time to answer", ["route"], registry=self.registry)
        self._batches = Histogram(
            "crossmodal_batch_size", "Inputs encoded together", buckets=(1, 2, 4, 8, 16, 32), registry=self.registry
        )
        self._remembered = Counter("crossmodal_remembered", "Sentences found in the cache", registry=self.registry)
        self.photos = Gauge("crossmodal_photos", "Photos in the gallery", registry=self.registry)

    def done(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if route.startswith("/api/search") and status == 200:
            self.queries += 1
            self._recent.append(1000 * seconds)

    def batch(self, size: int) -> None:
        """Count one batch."""
        self._batches.observe(size)

    def remembered(self) -> None:
        """Count one sentence that was not encoded again."""
        self._remembered.inc()

    def percentiles(self) -> tuple[float, float, float] | None:
        """Return p50, p95 and p99 of the last searches in milliseconds, or None before the second."""
        if len(self._recent) < 2:
            return None
        cuts = statistics.quantiles(self._recent, n=100)
        return round(cuts[49], 2), round(cuts[94], 2), round(cuts[98], 2)


class Serving:
    """A search with its batchers and its cache of sentences.

    Whoever uses it holds it; it is closed when the last one lets go. Holding and letting go is for the
    thread of the event loop alone.
    """

    def __init__(self, search: Search, measures: Measures) -> None:
        """The maker holds it."""
        self.search, self._measures, self._holders = search, measures, 1
        self._known: LRUCache[str, np.ndarray] = LRUCache(REMEMBERED)
        runtime = search.runtime
        self._texts: Batcher[str] = Batcher(runtime.encode_sentences, measures.batch)
        self.pixels: Batcher[np.ndarray] = Batcher(
            lambda pixels: runtime.encode_pixels(np.stack(list(pixels))), measures.batch
        )
        measures.photos.set(search.gallery.count())

    @staticmethod
    def begin(open_search: Callable[[], Search], measures: Measures) -> "Serving":
        """Open a search to be served, which takes a while; raises CrossmodalError for what cannot be opened."""
        search = open_search()
        try:
            # So that nobody waits for what is compiled, or encoded, once: the first upload, and sentences with it.
            runtime, size = search.runtime, search.runtime.preprocessing.size
            runtime.encode_sentences(["a photo"])
            runtime.encode_pixels(np.zeros((1, size, size, 3), np.uint8))
            if not search.gallery.about.has_captions:
                _ = search.everyday
            return Serving(search, measures)
        except BaseException:
            search.close()
            raise

    @contextmanager
    def held(self) -> "Iterator[Serving]":
        """Hold it for the length of a block."""
        self._holders += 1
        try:
            yield self
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Close it unless a request still uses it."""
        self._holders -= 1
        if not self._holders:
            self._texts.close()
            self.pixels.close()
            self.search.close()

    async def query(self, terms: Sequence[Term], photos: Sequence[tuple[np.ndarray, float]] = ()) -> Query:
        """Return the query of terms, and of photos' vectors with weights; raises CrossmodalError for none."""
        known, learned = self.search.with_taught(terms)
        # A task for each is dear where there is one, as there nearly always is.
        encoded = [self._encoded(term.text) for term in known]
        vectors = [await encoded[0]] if len(encoded) == 1 else await asyncio.gather(*encoded)
        return Query.of(known, np.stack(vectors) if vectors else None, [*photos, *learned], terms)

    async def _encoded(self, sentence: str) -> np.ndarray:
        known = self._known.get(sentence)
        if known is not None:
            self._measures.remembered()
            return known
        vector = await self._texts(sentence)
        self._known[sentence] = vector
        return vector


async def _held(request: Request) -> AsyncIterator[Serving]:
    with request.app.state.serving.held() as serving:
        yield serving


Held = Annotated[Serving, Depends(_held)]  # what is served as a request begins, for as long as the request takes
