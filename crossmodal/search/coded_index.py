"""The index of galleries that are too large to be scanned: one bit a dimension in memory, the best scored again."""

import importlib
import importlib.util

import numpy as np

from crossmodal.errors import CrossmodalError
from crossmodal.search.half_index import HalfIndex
from crossmodal.search.vector_index import DAMAGED, WORTH_A_COPY, PlainIndex, Ranked, VectorIndex, best, scored

LARGE = 1_000_000  # vectors, from which on the copy that a scan reads takes gigabytes
CELLS, TRAINED_ON = 64, 50_000
CANDIDATES = 2000  # that are scored again, at the least
FEW = 20_000  # vectors that pass a filter, up to which each of them is scored
ROWS_AT_ONCE = 65_536


def index_to_stay(vectors: np.ndarray) -> VectorIndex:
    """Return the index of unit vectors [N, D] for many searches: by codes from LARGE on where faiss is installed, else exact."""
    if len(vectors) < WORTH_A_COPY:
        return PlainIndex(np.asarray(vectors, dtype=np.float32))
    large = len(vectors) >= LARGE and importlib.util.find_spec("faiss")
    return CodedIndex(vectors) if large else HalfIndex(vectors)


class CodedIndex:
    """Finds candidates by RaBitQ's codes (Gao and Long, SIGMOD 2024) in faiss, and scores them in fp32 from the vectors.

    So scores are exact, and only what the codes misjudge far may be missed. A code says where a vector lies from the nearest
    of CELLS means. All cells are looked into: captions lie far from all photos, so the nearest cells miss some of the best.
    """

    kind = "approximate: by one-bit codes, the best scored again"

    def __init__(self, vectors: np.ndarray) -> None:
        """`vectors` are unit vectors fp32 or fp16 [N, D], and may be a file that is mapped; raises CrossmodalError for damaged ones."""
        self._vectors, self._faiss = vectors, importlib.import_module("faiss")
        # Of unit vectors the nearest are the most similar, and the codes tell distances better than inner products; a bias
        # beside them is so small that its square does not matter.
        how = f"IVF{CELLS},RaBitQfs", self._faiss.METRIC_L2
        self._codes = self._faiss.index_factory(vectors.shape[1], *how)
        sample = np.linspace(0, len(vectors) - 1, min(len(vectors), TRAINED_ON)).round().astype(np.int64)
        self._codes.train(_numbers(vectors[sample]))
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            self._codes.add(_numbers(vectors[start : start + ROWS_AT_ONCE]))

    def search(self, query: np.ndarray, count: int, among: np.ndarray | None = None) -> Ranked:
        """As VectorIndex.search says, but that it may miss some of the best."""
        passing = len(self._vectors) if among is None else int(among.sum())
        candidates = max(CANDIDATES, 4 * count)
        if self._vectors.shape[1] != len(query) or (among is None and candidates >= passing):
            return PlainIndex(self._vectors).search(query, count)
        if among is not None and passing <= max(FEW, candidates):
            return self._scored(np.flatnonzero(among), query, count)
        return self._scored(self._candidates(query, candidates, among), query, count)

    def _candidates(self, query: np.ndarray, count: int, among: np.ndarray | None) -> np.ndarray:
        """Return the rows of the nearest by their codes, in order of rows, as equal scores have to be."""
        faiss = self._faiss  # not imported by name: its types are those of C++
        passing = None if among is None else faiss.IDSelectorBitmap(np.packbits(among, bitorder="little"))
        how = faiss.SearchParametersIVF(sel=passing, nprobe=CELLS)
        rows = self._codes.search(query[None].astype(np.float32), count, params=how)[1][0]
        return np.sort(rows[rows >= 0])

    def _scored(self, rows: np.ndarray, query: np.ndarray, count: int) -> Ranked:
        scores = scored(np.asarray(self._vectors[rows], dtype=np.float32), query)
        found, places = best(scores, np.arange(len(rows)), count)
        return found, rows[places]


def _numbers(vectors: np.ndarray) -> np.ndarray:
    """Return vectors in fp32 as faiss takes them; raises CrossmodalError where they are not all numbers."""
    if not np.isfinite(vectors).all():
        raise CrossmodalError(DAMAGED)
    return np.ascontiguousarray(vectors, dtype=np.float32)
