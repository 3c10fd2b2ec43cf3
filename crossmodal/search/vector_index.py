"""The small interface behind every search, and its exact form: a scan in fp32 by numpy, which needs nothing loaded."""

from typing import Protocol

import numpy as np

from crossmodal.errors import CrossmodalError

AGAIN = "Make the index again with --rebuild, or a run's embeddings with `python -m crossmodal embed`."
# Vectors; fewer are scanned in a millisecond as they are, by one thread: a scan by several waits for all of them, which on
# a server that is busy encoding takes ten times as long as the scan.
WORTH_A_COPY = 20_000
DAMAGED = f"Some vectors here are not numbers, or not of unit length: they are damaged. {AGAIN}"
Ranked = tuple[np.ndarray, np.ndarray]  # scores fp32 and rows, best first


class VectorIndex(Protocol):
    """Finds the vectors most similar to a query."""

    kind: str  # how it searches, in words

    def search(self, query: np.ndarray, count: int, among: np.ndarray | None = None) -> Ranked:
        """Return the `count` best, or as many as there are, by cosine similarity.

        query [D] is a unit vector; `among` [N] says which rows may be found, by default all. Equal
        scores come in the order of rows.
        """
        ...


class PlainIndex:
    """Scores every row in fp32."""

    kind = "exact"

    def __init__(self, vectors: np.ndarray) -> None:
        """`vectors` are unit vectors fp32 [N, D]."""
        self._vectors = vectors

    def search(self, query: np.ndarray, count: int, among: np.ndarray | None = None) -> Ranked:
        """As VectorIndex.search says."""
        scores = scored(self._vectors, query)
        return best(scores, np.arange(len(scores)) if among is None else np.flatnonzero(among), count)


def scored(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the scores fp32 [N] of vectors [N, D] with a query [D]; raises CrossmodalError for vectors that are damaged."""
    if len(vectors) and vectors.shape[1] != len(query):
        raise CrossmodalError(
            f"The vectors here have {vectors.shape[1]} numbers each, and their model gives {len(query)}: they are damaged. "
            f"{AGAIN}"
        )
    with np.errstate(invalid="ignore", over="ignore"):  # which is said below, in a sentence
        scores = vectors @ query
    if not np.isfinite(scores).all():
        raise CrossmodalError(DAMAGED)
    return np.asarray(scores)


def best(scores: np.ndarray, rows: np.ndarray, count: int) -> Ranked:
    """Return the best `count` of `rows`, by scores [N]; equal scores in the order of rows."""
    chosen = scores[rows]
    count = min(max(count, 0), len(rows))
    if not count:
        return np.empty(0, np.float32), np.empty(0, np.int64)
    if count < len(rows):
        # argpartition keeps any of those that tie for the last place; here it is the first ones.
        last = np.partition(chosen, len(chosen) - count)[len(chosen) - count]
        above = np.flatnonzero(chosen > last)
        level = np.flatnonzero(chosen == last)[: count - len(above)]
        kept = np.concatenate([above, level])
        chosen, rows = chosen[kept], rows[kept]
    order = np.lexsort((rows, -chosen))
    return chosen[order], rows[order]
