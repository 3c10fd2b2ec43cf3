"""A gallery too large to be scanned: recall@10, memory and time of each index in one run, on captions as queries.

    python -m benchmarks.large RUN_FOLDER EPOCH [--size 1000000]

The gallery is the run's photos and, up to its size, copies of them with noise (a cosine of 0.89 to the photo), in a file that
is mapped; the queries are the run's captions. recall@10 is against fp32 scores of everything, and memory is what the index
takes beside the file.
"""

import argparse
import importlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.queries import ROWS_AT_ONCE, TOP
from crossmodal.encoding.embeddings import image_path, text_path
from crossmodal.files import load_tensors
from crossmodal.search.coded_index import CANDIDATES, CodedIndex
from crossmodal.search.half_index import HalfIndex
from crossmodal.search.vector_index import Ranked, VectorIndex, best

NOISE, QUERIES, PASSING = 0.5, 100, 0.1
IVF_PQ, PROBED, TRAINED_ON = "IVF256,PQ128", 64, 20_000


class Compared:
    """faiss's IVF-PQ, scored again in the same way or not at all."""

    kind = f"faiss {IVF_PQ}, {PROBED} cells"

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors, self.again = vectors, False
        faiss = importlib.import_module("faiss")  # not by name: its types are those of C++
        self._codes = faiss.index_factory(vectors.shape[1], IVF_PQ, faiss.METRIC_INNER_PRODUCT)
        self._codes.nprobe = PROBED
        self._codes.train(np.array(vectors[:: max(1, len(vectors) // TRAINED_ON)]))
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            self._codes.add(np.array(vectors[start : start + ROWS_AT_ONCE]))

    def search(self, query: np.ndarray, count: int, among: np.ndarray | None = None) -> Ranked:
        """As VectorIndex.search says, but of all vectors."""
        scores, rows = self._codes.search(query[None], CANDIDATES if self.again else count)
        if not self.again:
            return scores[0], rows[0]
        rows = np.sort(rows[0][rows[0] >= 0])
        found, places = best(self._vectors[rows] @ query, np.arange(len(rows)), count)
        return found, rows[places]


def main() -> None:
    """Print a line for each index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("epoch", type=int)
    parser.add_argument("--size", type=int, default=1_000_000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    photos, captions = (
        load_tensors(path(options.run, options.epoch), advice="name a run.")["embeds"].float().numpy()
        for path in (image_path, text_path)
    )
    queries = captions[rng.permutation(len(captions))[:QUERIES]]
    with tempfile.TemporaryDirectory(dir=options.run) as place:
        vectors = enlarged(photos, options.size, Path(place) / "vectors.f32", rng)
        print(f"{len(vectors):,} vectors of {vectors.shape[1]}, {len(photos):,} of them photos", flush=True)
        among = rng.random(len(vectors)) < PASSING
        measured: list[tuple[str, Callable[[np.ndarray], VectorIndex]]] = [
            ("exact, half precision", HalfIndex), ("one-bit codes, scored again", CodedIndex), (Compared.kind, Compared),
        ]  # fmt: skip
        expected = {name: truths(vectors, queries, mask) for name, mask in (("", None), ("; one in ten passes", among))}
        for name, make in measured:
            before, started = anonymous(), time.perf_counter()
            index = make(vectors)
            print(f"{name}: {anonymous() - before:.2f} GB, made in {time.perf_counter() - started:.0f} s", flush=True)
            measure("", index, queries, expected[""], None)
            if isinstance(index, Compared):
                index.again = True
                measure("; scored again", index, queries, expected[""], None)
            else:
                measure("; one in ten passes", index, queries, expected["; one in ten passes"], among)
            del index


def enlarged(photos: np.ndarray, size: int, path: Path, rng: np.random.Generator) -> np.ndarray:
    """Return the photos, and copies of them with noise, as unit vectors in a file [size, D]."""
    vectors = np.memmap(path, np.float32, "w+", shape=(size, photos.shape[1]))
    vectors[: len(photos)] = photos
    for start in range(len(photos), size, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, size - start)
        noise = rng.standard_normal((count, photos.shape[1]), dtype=np.float32) * NOISE / photos.shape[1] ** 0.5
        part = photos[rng.integers(len(photos), size=count)] + noise
        vectors[start : start + count] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def truths(vectors: np.ndarray, queries: np.ndarray, among: np.ndarray | None) -> list[set[int]]:
    """Return the rows of the TOP best of those that pass, by fp32 scores, for each query."""
    scores, rows = np.full((len(queries), 0), 0, np.float32), np.full((len(queries), 0), 0, np.int64)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        part = queries @ vectors[start : start + ROWS_AT_ONCE].T
        if among is not None:
            part[:, ~among[start : start + ROWS_AT_ONCE]] = -1
        scores = np.concatenate([scores, part], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(np.arange(start, start + part.shape[1]), part.shape)], axis=1)
        first = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
        scores, rows = np.take_along_axis(scores, first, 1), np.take_along_axis(rows, first, 1)
    return [set(found) for found in rows.tolist()]


def anonymous() -> float:
    """Return the memory of this process in GB, without files that are mapped (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e6


def measure(
    name: str, index: VectorIndex, queries: np.ndarray, expected: list[set[int]], among: np.ndarray | None
) -> None:
    """Print how an index does: each query by itself, after five to warm up."""
    for query in queries[:5]:
        index.search(query, TOP, among)
    taken, right = [], 0
    for query, truth in zip(queries, expected, strict=True):
        started = time.perf_counter()
        rows = index.search(query, TOP, among)[1]
        taken.append(1000 * (time.perf_counter() - started))
        right += len(truth & set(rows.tolist()))
    p95 = statistics.quantiles(taken, n=20)[-1]
    recall = right / (TOP * len(queries))
    print(f"  p50 {statistics.median(taken):6.1f} ms  p95 {p95:6.1f} ms  recall@{TOP} {recall:.4f}{name}", flush=True)


if __name__ == "__main__":
    main()
