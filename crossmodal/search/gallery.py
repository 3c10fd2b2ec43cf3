"""Where photos' records and vectors lie while they are searched: in this process, or in an engine."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from crossmodal.photos.store import Photo
from crossmodal.search.filters import Filters
from crossmodal.search.vector_index import PlainIndex, VectorIndex


class PhotoTable(Protocol):
    """Records and vectors of photos, filtered and searched together."""

    @property
    def kind(self) -> str:
        """How it searches, in words."""
        ...

    def count(self, filters: Filters) -> int:
        """Return how many photos pass."""
        ...

    def nearest(self, vector: np.ndarray, count: int, filters: Filters) -> list[tuple[Photo, float]]:
        """Return the `count` photos that pass most similar to a unit vector [D], or as many as there are, best first."""
        ...

    def vector(self, path: str) -> np.ndarray | None:
        """Return the unit vector [D] of a photo, by its path from the root, or None where there is no such photo."""
        ...


class PhotosInMemory:
    """The records in memory, the vectors in a file or in memory, searched by a vector index."""

    def __init__(self, photos: Sequence[Photo], vectors: np.ndarray) -> None:
        """`vectors` are unit vectors fp32 [N, D], in the order of the photos."""
        self.photos, self.vectors = photos, vectors
        self.index: VectorIndex = PlainIndex(vectors)
        self._row = {photo.found.path: row for row, photo in enumerate(photos)}
        self._last: tuple[Filters, np.ndarray | None] = (Filters(), None)

    def _among(self, filters: Filters) -> np.ndarray | None:
        """Return the filters' mask; the last one is kept, since a search asks for it several times."""
        last = self._last
        if last[0] != filters:
            self._last = last = (filters, filters.mask(self.photos))
        return last[1]

    @property
    def kind(self) -> str:
        """As PhotoTable says."""
        return self.index.kind

    def count(self, filters: Filters) -> int:
        """As PhotoTable says."""
        among = self._among(filters)
        return len(self.photos) if among is None else int(among.sum())

    def nearest(self, vector: np.ndarray, count: int, filters: Filters) -> list[tuple[Photo, float]]:
        """As PhotoTable says; equal scores in the order of paths."""
        scores, rows = self.index.search(vector, count, self._among(filters))
        return [(self.photos[row], score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)]

    def vector(self, path: str) -> np.ndarray | None:
        """As PhotoTable says."""
        row = self._row.get(path)
        return None if row is None else np.array(self.vectors[row])
