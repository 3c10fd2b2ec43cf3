"""The same photos searched in this process and in Milvus, a file and a server: p50, p95, recall@10, time to load.

    python -m benchmarks.milvus [--size 100000] [--embeddings RUN_FOLDER EPOCH]

Starts a server of its own (the package `milvus`). Made-up clustered vectors, or real ones: the images
and captions of a run's tensors as a gallery, other captions as queries.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.queries import TOP, clustered, real
from crossmodal.scale.milvus.connection import Milvus
from crossmodal.scale.milvus.gallery import MilvusGallery
from crossmodal.scale.milvus.loading import SourceInMemory, load
from crossmodal.search.filters import Filters
from crossmodal.search.gallery import About, Gallery
from crossmodal.search.half_index import HalfIndex
from crossmodal.search.in_memory import PhotosInMemory
from crossmodal.search.record import DESCRIBED, Described, Found, Photo
from tests.milvus_server import LocalMilvus

FOLDERS = 100
ASKED = {
    "all": Filters(),
    "one folder of a hundred": Filters(folder="folder 7"),
    "one photo of ten": Filters(megapixels=1),
}


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--embeddings", nargs=2, metavar=("FOLDER", "EPOCH"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if options.embeddings:
            vectors, queries = real(Path(options.embeddings[0]), int(options.embeddings[1]))
        else:
            vectors, queries = clustered(options.size, folder / "vectors.f32")
        server = LocalMilvus(folder / "server")
        try:
            compare(vectors, queries, server, folder / "photos.db")
        finally:
            server.stop()


def compare(vectors: np.ndarray, queries: np.ndarray, server: LocalMilvus, file: Path) -> None:
    """Print how each gallery does on these vectors."""
    source = made_up(vectors)
    print(f"{len(vectors):,} vectors of {vectors.shape[1]}", flush=True)
    here = PhotosInMemory(source.about, source.photos, vectors, HalfIndex(vectors))
    expected = {
        among: [{match.photo.path for match in here.nearest(query, TOP, filters)} for query in queries]
        for among, filters in ASKED.items()
    }
    _measure("in this process, exact", here, queries, expected)
    for name, url in (("Milvus, a file, FLAT", str(file)), ("Milvus, a server, HNSW", server.url)):
        milvus = Milvus(url, "benchmark")
        started = time.perf_counter()
        load(milvus, source, rebuild=False)
        taken = time.perf_counter() - started
        _measure(f"{name}; loaded in {taken:.0f} s", MilvusGallery(milvus), queries, expected)


def made_up(vectors: np.ndarray) -> SourceInMemory:
    """Return photos for vectors, in a hundred folders."""
    photos = [
        Photo(
            Found(f"folder {n % FOLDERS}/{n}.jpg", 1, 1),
            n,
            Described(n.to_bytes(16), *((1500, 1000) if n % 10 == 3 else (4, 3)), 1.0, "", n),
        )
        for n in range(len(vectors))
    ]
    about = About("made up", Path(), "f", Path(), "", DESCRIBED)
    return SourceInMemory(about, {}, photos, vectors, [], np.empty((0, vectors.shape[1]), np.float32))


def _measure(name: str, gallery: Gallery, queries: np.ndarray, expected: dict[str, list[set[str]]]) -> None:
    for among, truths in expected.items():
        filters = ASKED[among]
        for query in queries[:5]:
            gallery.nearest(query, TOP, filters)
        taken, right = [], 0
        for query, truth in zip(queries, truths, strict=True):
            started = time.perf_counter()
            found = gallery.nearest(query, TOP, filters)
            taken.append(1000 * (time.perf_counter() - started))
            right += len(truth & {match.photo.path for match in found})
        p95 = statistics.quantiles(taken, n=20)[-1]
        recall = right / sum(map(len, truths))
        print(
            f"  p50 {statistics.median(taken):7.2f} ms  p95 {p95:7.2f} ms  recall@{TOP} {recall:.3f}  {name}; {among}",
            flush=True,
        )


if __name__ == "__main__":
    main()
