"""Which index a collection of Milvus gets, and that what a compressed one finds is scored with the vectors themselves."""

from typing import Any

import numpy as np
import pytest

from crossmodal.scale.milvus import indexes
from crossmodal.scale.milvus.connection import Milvus
from crossmodal.scale.milvus.gallery import MilvusGallery
from crossmodal.scale.milvus.indexes import Searched, index_for
from crossmodal.scale.milvus.loading import load
from tests.milvus_server import LocalMilvus
from tests.test_milvus import made_up


@pytest.mark.parametrize(
    ("rows", "version", "kind"),
    [
        (999_999, "v2.6.2", "HNSW"), (1_000_000, "v2.6.2", "IVF_RABITQ"), (1_000_000, "v3.0.0-beta", "IVF_RABITQ"),
        (1_000_000, "2.5.10", "HNSW_SQ"), (1_000_000, "v2.3.5", "IVF_SQ8"), (1_000_000, "master-1", "IVF_SQ8"),
    ],
)  # fmt: skip
def test_the_index_is_chosen_by_size_and_version(rows: int, version: str, kind: str) -> None:
    assert index_for(rows, version)["index_type"] == kind


@pytest.mark.parametrize(
    ("about", "asked", "parameters", "said"),
    [
        ({"index_type": "FLAT"}, 10, {}, "exact"),
        ({"index_type": "HNSW", "M": "16"}, 10, {"ef": 128}, "approximate, HNSW"),
        ({"index_type": "HNSW_SQ"}, 40, {"ef": 128}, "approximate, HNSW_SQ, the best scored again"),
        ({"index_type": "IVF_SQ8", "nlist": "4000"}, 40, {"nprobe": 500}, "approximate, IVF_SQ8, the best scored again"),
        ({"index_type": "IVF_RABITQ", "nlist": 6}, 200, {"nprobe": 1}, "approximate, IVF_RABITQ, the best scored again"),
    ],
)  # fmt: skip
def test_how_an_index_is_searched(about: dict[str, Any], asked: int, parameters: dict[str, int], said: str) -> None:
    index = Searched.of(about)
    assert (index.rows(10), index.parameters(index.rows(10), False), index.said) == (asked, parameters, said)


class Compressed:
    """A client whose index knows the signs of vectors alone."""

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def describe_index(self, *of: object, **more: object) -> dict[str, str]:
        return {"index_type": "IVF_RABITQ", "nlist": "8"}

    def search(
        self, collection: str, data: list[list[float]], limit: int, output_fields: list[str], **more: object
    ) -> list[list[dict[str, Any]]]:
        assert "vector" in output_fields
        scores = np.sign(self._vectors) @ np.array(data[0])
        return [
            [
                {"entity": {"id": str(row), "vector": self._vectors[row].tolist()}, "distance": scores[row]}
                for row in np.argsort(-scores)[:limit]
            ]
        ]


def test_what_a_compressed_index_finds_is_scored_again() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((500, 32)).astype(np.float32)
    milvus = Milvus.__new__(Milvus)
    milvus.__dict__.update(_client=Compressed(vectors), _searched={}, url="a client", name="named")
    query = rng.standard_normal(32).astype(np.float32)
    found = milvus.nearest("named", query, 5, ["id"])
    best = np.argsort(-(vectors @ query))[:5]
    assert [row["id"] for row, _ in found] == [str(row) for row in best]
    assert [score for _, score in found] == pytest.approx((vectors @ query)[best].tolist(), rel=1e-5)


@pytest.mark.real
def test_a_large_gallery_on_a_server(milvus_server: LocalMilvus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "LARGE", 2000)
    source, milvus = made_up(3000), Milvus(milvus_server.url, "large")
    load(milvus, source, rebuild=False)
    gallery = MilvusGallery(milvus)
    assert gallery.kind == "by Milvus (approximate, IVF_SQ8, the best scored again)"
    right = 0
    for query in made_up(20, seed=1).vectors:
        found, exact = gallery.nearest(query, 10), source.vectors @ query
        best = {source.photos[row].path for row in np.argsort(-exact)[:10]}
        right += len(best & {match.photo.path for match in found})
        scores = {photo.path: score for photo, score in zip(source.photos, exact.tolist(), strict=True)}
        assert [match.score for match in found] == pytest.approx(
            [scores[match.photo.path] for match in found], abs=1e-6
        )
    assert right >= 180, right  # of 200
    milvus.drop()
    milvus.close()
