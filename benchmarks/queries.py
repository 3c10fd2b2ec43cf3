"""A query's p50 and p95 against numpy and faiss, on vectors of 1024.

    python -m benchmarks.queries [--embeddings RUN_FOLDER EPOCH] [--most 1000000]

Made-up clustered vectors of four sizes, and real ones: the images and captions of a run's tensors as a
gallery, other captions as queries. recall@10 is against fp32 scores of everything.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from crossmodal.encoding.embeddings import image_path, text_path
from crossmodal.files import load_tensors
from crossmodal.search.half_index import HalfIndex, half_precision
from crossmodal.search.vector_index import PlainIndex

SIZES = (10_000, 31_783, 100_000, 1_000_000)
DIMENSIONS, CLUSTERS, QUERIES, TOP = 1024, 2000, 100, 10
ROWS_AT_ONCE = 50_000
Search = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Print a line for each way and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", nargs=2, metavar=("FOLDER", "EPOCH"))
    parser.add_argument("--most", type=int, default=SIZES[-1])
    options = parser.parse_args()
    print(f"half precision here: {half_precision()}; faiss on {faiss.omp_get_max_threads()} threads")
    if options.embeddings:
        compare("real", *real(Path(options.embeddings[0]), int(options.embeddings[1])))
    for size in (size for size in SIZES if size <= options.most):
        with tempfile.TemporaryDirectory() as place:
            compare("clustered", *clustered(size, Path(place) / "vectors.f32"))


def real(folder: Path, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a run's images and captions as a gallery [N, D], but for some captions as queries [QUERIES, D]."""
    images, texts = (
        load_tensors(path(folder, epoch), advice="name a run.")["embeds"].float().numpy()
        for path in (image_path, text_path)
    )
    asked = np.random.default_rng(0).permutation(len(texts))
    return np.concatenate([images, texts[asked[QUERIES:]]]), texts[asked[:QUERIES]]


def clustered(size: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return made-up unit vectors on the disk [size, D], and queries of the same clusters [QUERIES, D]."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, DIMENSIONS), dtype=np.float32)

    def some(count: int) -> np.ndarray:
        found = centres[rng.integers(CLUSTERS, size=count)]
        found += 0.7 * rng.standard_normal((count, DIMENSIONS), dtype=np.float32)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found

    vectors = np.memmap(path, np.float32, "w+", shape=(size, DIMENSIONS))
    for start in range(0, size, ROWS_AT_ONCE):
        vectors[start : start + ROWS_AT_ONCE] = some(min(ROWS_AT_ONCE, size - start))
    return vectors, some(QUERIES)


def compare(kind: str, vectors: np.ndarray, queries: np.ndarray) -> None:
    """Print how each way does on these vectors."""
    print(f"\n{kind}, {len(vectors):,} vectors ({vectors.nbytes / 1e9:.2f} GB in fp32)")
    exact = PlainIndex(vectors)
    expected = [set(exact.search(query, TOP)[1].tolist()) for query in queries]

    def argpartition(query: np.ndarray) -> np.ndarray:
        scores = vectors @ query
        first = np.argpartition(-scores, TOP)[:TOP]
        return first[np.argsort(-scores[first])]

    _measure("numpy argpartition, fp32", argpartition, queries, expected)
    _measure("exact, as it is (cold)", lambda query: exact.search(query, TOP)[1], queries, expected)
    half = HalfIndex(vectors)
    _measure("exact, half precision and fp32", lambda query: half.search(query, TOP)[1], queries, expected)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        flat.add(np.array(vectors[start : start + ROWS_AT_ONCE]))
    _measure("faiss IndexFlatIP", lambda query: flat.search(query[None], TOP)[1][0], queries, expected)


def _measure(name: str, search: Search, queries: np.ndarray, expected: list[set[int]]) -> None:
    for query in queries[:5]:
        search(query)
    taken, right = [], 0
    for query, truth in zip(queries, expected, strict=True):
        started = time.perf_counter()
        rows = search(query)
        taken.append(1000 * (time.perf_counter() - started))
        right += len(truth & set(rows.tolist()))
    p95 = statistics.quantiles(taken, n=20)[-1]
    recall = right / (TOP * len(queries))
    print(
        f"  p50 {statistics.median(taken):7.2f} ms  p95 {p95:7.2f} ms  recall@{TOP} {recall:.3f}  {name}",
        flush=True,
    )


if __name__ == "__main__":
    main()
