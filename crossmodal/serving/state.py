"""What the server holds: the gallery, replaced as a whole; what was asked before; how it goes."""

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from crossmodal.search.query import combine, encode_terms, parse_terms
from crossmodal.serving.batching import Batcher
from crossmodal.serving.gallery import Gallery

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


@dataclass(frozen=True)
class Query:
    """A unit vector [D], and whether it is of one sentence, for which the cut-off is."""

    vector: np.ndarray
    sentence: bool


class Serving:
    """One gallery with what goes with it; a request that began with one ends with it."""

    def __init__(self, gallery: Gallery, measures: Measures) -> None:
        self.gallery, self._measures = gallery, measures
        self._known: LRUCache[str, np.ndarray] = LRUCache(REMEMBERED)
        self._texts: Batcher[str] = Batcher(gallery.runtime.encode_sentences, measures.batch)
        self.pixels: Batcher[np.ndarray] = Batcher(_encode_pixels(gallery), measures.batch)
        measures.photos.set(gallery.photo_count())

    async def query(self, text: str = "", parts: Sequence[tuple[np.ndarray, float]] = ()) -> Query:
        """Return the query of words, and of vectors with weights beside them; raises CrossmodalError for none."""
        terms = parse_terms(text) if text.strip() or not parts else []
        vectors = await asyncio.gather(*(self._encoded(term.text) for term in terms))
        weighted = encode_terms(terms, lambda _: np.stack(vectors)) if terms else []
        return Query(combine([*weighted, *parts]), len(terms) == 1 and not parts and terms[0].weight > 0)

    async def _encoded(self, sentence: str) -> np.ndarray:
        known = self._known.get(sentence)
        if known is not None:
            self._measures.remembered()
            return known
        vector = await self._texts(sentence)
        self._known[sentence] = vector
        return vector

    def close(self) -> None:
        """Let the threads end."""
        self._texts.close()
        self.pixels.close()


def _encode_pixels(gallery: Gallery) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    return lambda pixels: gallery.runtime.encode_pixels(np.stack(list(pixels)))
