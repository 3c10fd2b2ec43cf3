"""Faster forms of the vector index, for a process that stays: a half-precision scan, and lists above a million."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossmodal.errors import CrossmodalError
from crossmodal.search.vector_index import Found, PlainIndex, VectorIndex, best

EXACT_UP_TO = 1_000_000  # vectors; above, a scan of all takes a tenth of a second and more
RESCORED = 100  # of the best by half precision, how many are scored again in fp32, at the least
ENOUGH_RECALL = 0.95  # of the exact first ten that an approximate search has to find
ROWS_AT_ONCE = 65_536
TRAINED_ON = 100_000  # vectors, at the most, that the lists are made of
ROUNDS = 8  # of k-means; more change the lists, and hardly what is found in them


class HalfIndex:
    """A scan of a half-precision copy; the best are scored again in fp32 from the vectors themselves."""

    kind = "exact"

    def __init__(self, vectors: np.ndarray) -> None:
        """`vectors` are unit vectors fp32 [N, D], and may lie on the disk."""
        self._vectors = vectors
        self._half = torch.empty(vectors.shape, dtype=half_precision())
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            part = np.array(vectors[start : start + ROWS_AT_ONCE], dtype=np.float32)
            self._half[start : start + ROWS_AT_ONCE] = torch.from_numpy(part)

    @torch.inference_mode()
    def search(self, query: np.ndarray, count: int, among: np.ndarray | None = None) -> Found:
        """As VectorIndex.search says."""
        scores = (self._half @ torch.from_numpy(query).to(self._half.dtype)).float().numpy()
        rows = np.arange(len(scores)) if among is None else np.flatnonzero(among)
        return rescored(self._vectors, query, best(scores, rows, max(RESCORED, 4 * count))[1], count)


def rescored(vectors: np.ndarray, query: np.ndarray, rows: np.ndarray, count: int) -> Found:
    """Return the best `count` of some rows by their fp32 scores."""
    rows = np.sort(rows)  # so that equal scores come in the order of rows, and the disk is read forwards
    scores = np.asarray(vectors[rows]) @ query
    found, places = best(scores, np.arange(len(rows)), count)
    return found, rows[places]


@lru_cache(maxsize=1)
def half_precision() -> torch.dtype:
    """Return bf16 or fp16, whichever this CPU multiplies faster, by a probe of some milliseconds."""
    return min((torch.bfloat16, torch.float16), key=_seconds)


def _seconds(dtype: torch.dtype) -> float:
    matrix, vector = torch.ones(4096, 1024, dtype=dtype), torch.ones(1024, dtype=dtype)
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        _ = matrix @ vector
        taken.append(time.perf_counter() - started)
    return min(taken)


class ListsIndex:
    """Inverted lists of 8-bit vectors (faiss IVF), the best of those looked at scored again in fp32.

    It looks at as many lists as real queries need to find ENOUGH_RECALL of their exact first ten, which
    is measured when it is made.
    """

    def __init__(self, vectors: np.ndarray, queries: np.ndarray) -> None:
        """`vectors` fp32 [N, D] and `queries` fp32 [Q, D] are unit vectors.

        Raises CrossmodalError without faiss, or where no number of lists finds enough.
        """
        try:
            import faiss
        except ImportError as error:
            raise CrossmodalError("A search above a million vectors needs faiss: pip install faiss-cpu.") from error
        self._vectors = vectors
        self._faiss: Any = faiss
        lists = max(1, int(4 * len(vectors) ** 0.5))
        coarse = faiss.IndexFlatIP(vectors.shape[1])
        metric = faiss.METRIC_INNER_PRODUCT
        self._index = faiss.IndexIVFScalarQuantizer(
            coarse, vectors.shape[1], lists, faiss.ScalarQuantizer.QT_8bit, metric
        )
        self._index.cp.niter = ROUNDS
        rng = np.random.default_rng(0)
        sample = np.sort(rng.choice(len(vectors), min(len(vectors), TRAINED_ON), replace=False))
        self._index.train(np.array(vectors[sample], dtype=np.float32))
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            self._index.add(np.array(vectors[start : start + ROWS_AT_ONCE], dtype=np.float32))
        self.looked_at, self.recall = self._enough(queries, lists)
        self.kind = (
            f"approximate ({self.looked_at:,} of {lists:,} lists; finds {self.recall:.0%} of the exact first ten of "
            f"{len(queries)} sentences)"
        )

    def _enough(self, queries: np.ndarray, lists: int) -> tuple[int, float]:
        exact = PlainIndex(self._vectors)
        expected = [set(exact.search(query, 10)[1].tolist()) for query in queries]
        self.looked_at = 8
        while self.looked_at < lists:
            found = [set(self.search(query, 10)[1].tolist()) for query in queries]
            recall = float(np.mean([len(one & all_) / len(all_) for one, all_ in zip(found, expected, strict=True)]))
            if recall >= ENOUGH_RECALL:
                return self.looked_at, recall
            self.looked_at *= 2
        raise CrossmodalError("No number of lists finds enough of what an exact search finds.")

    def search(self, query: np.ndarray, count: int, among: np.ndarray | None = None) -> Found:
        """As VectorIndex.search says, but for what is in lists that are not looked at."""
        parameters = self._faiss.SearchParametersIVF(nprobe=self.looked_at)
        if among is not None:
            parameters.sel = self._faiss.IDSelectorBatch(np.flatnonzero(among))
        _, rows = self._index.search(query[None], max(RESCORED, 4 * count), params=parameters)
        return rescored(self._vectors, query, rows[0][rows[0] >= 0], count)


def choose_index(vectors: np.ndarray, queries: Callable[[], np.ndarray], exact_up_to: int = EXACT_UP_TO) -> VectorIndex:
    """Return what searches these vectors: a scan, or lists where there are more than `exact_up_to`.

    `queries` gives unit vectors of real sentences [Q, D], on which lists are measured; where they find
    too little, the scan stays.
    """
    if len(vectors) <= exact_up_to:
        return HalfIndex(vectors)
    try:
        return ListsIndex(vectors, queries())
    except CrossmodalError:
        return HalfIndex(vectors)


def index_of(embeds: Tensor) -> VectorIndex:
    """Return an exact index of unit vectors [N, D], of any precision."""
    return HalfIndex(embeds.float().numpy())
