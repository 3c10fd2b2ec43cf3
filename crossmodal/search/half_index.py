"""A faster exact index, for a process that stays: a scan in half precision, the best scored again in fp32."""

import time
from functools import lru_cache

import numpy as np
import torch

from crossmodal.search.vector_index import Ranked, best, scored

RESCORED = 100  # of the best by half precision, how many are scored again in fp32, at the least
ROWS_AT_ONCE = 65_536


class HalfIndex:
    """Scores every row in half precision, then the best of them again in fp32 from the vectors themselves."""

    kind = "exact"

    def __init__(self, vectors: np.ndarray) -> None:
        """`vectors` are unit vectors fp32 or fp16 [N, D], and may be a file that is mapped; fp16 is used in place where it can be."""
        self._vectors = vectors
        if vectors.dtype == np.float16 and half_precision() is torch.float16:
            self._half = torch.from_numpy(vectors)
            self._finite = bool(np.isfinite(vectors).all())
            return
        self._half, self._finite = torch.empty(vectors.shape, dtype=half_precision()), True
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            part = np.array(vectors[start : start + ROWS_AT_ONCE], dtype=np.float32)
            self._finite = self._finite and bool(np.isfinite(part).all())
            self._half[start : start + ROWS_AT_ONCE] = torch.from_numpy(part)

    @torch.inference_mode()
    def search(self, query: np.ndarray, count: int, among: np.ndarray | None = None) -> Ranked:
        """As VectorIndex.search says."""
        if self._half.shape[1] != len(query) or not self._finite:
            scored(self._vectors, query)  # says what is wrong
        scores = (self._half @ torch.from_numpy(query).to(self._half.dtype)).float().numpy()
        rows = np.arange(len(scores)) if among is None else np.flatnonzero(among)
        chosen = np.sort(best(scores, rows, max(RESCORED, 4 * count))[1])  # in order, as equal scores have to be
        found, places = best(np.asarray(self._vectors[chosen], dtype=np.float32) @ query, np.arange(len(chosen)), count)
        return found, chosen[places]


@lru_cache(maxsize=1)
def half_precision() -> torch.dtype:
    """Return bf16 or fp16, whichever this CPU multiplies faster, by a probe of some milliseconds."""
    return min((torch.float16, torch.bfloat16), key=_seconds)


def _seconds(dtype: torch.dtype) -> float:
    matrix, vector = torch.ones(4096, 1024, dtype=dtype), torch.ones(1024, dtype=dtype)
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        _ = matrix @ vector
        taken.append(time.perf_counter() - started)
    return min(taken)
