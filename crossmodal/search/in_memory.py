"""Galleries whose records this process holds: what a run's and a folder's have in common."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossmodal.data.names import KnownNames
from crossmodal.errors import UnknownPhotoError
from crossmodal.files import shown
from crossmodal.hubs import as_query
from crossmodal.search.facets import FIELD_OF, Coded, Facet, Spot, names_of_places, positions_of, spots_of
from crossmodal.search.filters import NO_FILTERS, Filters
from crossmodal.search.gallery import UNKNOWN_PHOTO, About, CaptionMatch, Match, Written
from crossmodal.search.ids import opaque_id, secret_key
from crossmodal.search.query import Term
from crossmodal.search.record import FIELDS, Photo
from crossmodal.search.vector_index import VectorIndex

if TYPE_CHECKING:
    from crossmodal.search.albums import Albums


class PhotosInMemory:
    """Records in memory; vectors in memory or in a file that is mapped, searched by a vector index."""

    def __init__(
        self,
        about: About,
        photos: Sequence[Photo],
        vectors: np.ndarray,
        index: VectorIndex,
        rows: np.ndarray | None = None,
        bias: np.ndarray | None = None,
    ) -> None:
        """`vectors` [N, D] are unit vectors in the order of the photos, and `rows` [N] says which belong to the gallery.

        Photos with a `bias` [N] are indexed as `with_bias` gives them.
        """
        self.about, self.photos, self.vectors, self.index, self._rows = about, photos, vectors, index, rows
        self.bias = bias
        self._last: tuple[Filters, np.ndarray | None] = (NO_FILTERS, rows)

    def _among(self, filters: Filters) -> np.ndarray | None:
        """Return the mask of the photos that pass; the last one is kept, since a search asks for it several times."""
        last = self._last
        if last[0] != filters:
            mask = filters.mask(self.photos)
            if self._rows is not None:
                mask = self._rows if mask is None else mask & self._rows
            self._last = last = (filters, mask)
        return last[1]

    @property
    def rows(self) -> np.ndarray:
        """The rows of `photos`, `vectors` and `bias` that belong to the gallery."""
        return np.arange(len(self.photos)) if self._rows is None else np.flatnonzero(self._rows)

    @property
    def kind(self) -> str:
        """How it is searched, in words."""
        return self.index.kind

    def count(self, filters: Filters = NO_FILTERS) -> int:
        """Return how many photos pass."""
        among = self._among(filters)
        return len(self.photos) if among is None else int(among.sum())

    def nearest(
        self, vector: np.ndarray, count: int, filters: Filters = NO_FILTERS, corrected: bool = False
    ) -> list[Match]:
        """Return the photos that pass most similar to a unit vector [D]; equal scores in the order of the records."""
        query = vector if self.bias is None else as_query(vector, corrected)
        ranked_by, rows = self.index.search(query, count, self._among(filters))
        scores = ranked_by if self.bias is None or not corrected else ranked_by + self.bias[rows]
        found = zip(rows.tolist(), scores.tolist(), ranked_by.tolist(), strict=True)
        return [Match(self.photos[row], score, rank) for row, score, rank in found]

    def written(
        self, terms: Sequence[Term], vector: np.ndarray, filters: Filters = NO_FILTERS, corrected: bool = False
    ) -> list[Written]:
        """Return none: nothing is written of these photos but their captions."""
        return []

    def newest(self, count: int, filters: Filters = NO_FILTERS) -> list[Photo]:
        """Return the newest photos where dates are known, else evenly spaced ones."""
        among = self._among(filters)
        rows = np.arange(len(self.photos)) if among is None else np.flatnonzero(among)
        if "date" in self.about.fields:
            rows = rows[np.argsort(-self._dates[rows], kind="stable")[:count]]
        elif len(rows) > count:
            rows = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
        return [self.photos[row] for row in rows.tolist()]

    @cached_property
    def _dates(self) -> np.ndarray:
        return np.array([photo.date for photo in self.photos])

    # --- ids ---

    @cached_property
    def _key(self) -> bytes:
        return secret_key()

    def id_of(self, photo: Photo) -> str:
        """Return an id that tells nothing of the path, and stays the same on this machine."""
        return opaque_id(self._root / photo.path, self._key)

    @cached_property
    def _root(self) -> Path:
        return self.about.root.resolve()  # the same however the folder was named

    @cached_property
    def _row_of_id(self) -> dict[str, int]:
        return {self.id_of(photo): row for row, photo in enumerate(self.photos)}

    @cached_property
    def _row_of_path(self) -> dict[str, int]:
        return {photo.path: row for row, photo in enumerate(self.photos)}

    def _row(self, photo_id: str) -> int:
        row = self._row_of_id.get(photo_id)
        if row is None or (self._rows is not None and not self._rows[row]):
            raise UnknownPhotoError(UNKNOWN_PHOTO)
        return row

    def photo(self, photo_id: str) -> Photo:
        """Return a photo; raises UnknownPhotoError."""
        return self.photos[self._row(photo_id)]

    def vector(self, photo_id: str) -> np.ndarray:
        """Return a photo's unit vector [D], fp32; raises UnknownPhotoError."""
        return np.array(self.vectors[self._row(photo_id)], dtype=np.float32)

    def id_at(self, path: str) -> str:
        """Return the id of the photo at a path from the root, in any spelling that KnownNames finds.

        Raises UnknownPhotoError that names a similar path.
        """
        row = self._row_of_path.get(path)
        if row is None and Path(path).resolve().is_relative_to(self._root):  # as a search prints it
            row = self._row_of_path.get(Path(path).resolve().relative_to(self._root).as_posix())
        if row is None:
            names = KnownNames(self._row_of_path, self._root)
            row = self._row_of_path.get(names.find(path) or "")
        if row is None or (self._rows is not None and not self._rows[row]):
            near = KnownNames(self._row_of_path).nearest(path)
            advice = f"; did you mean {shown(near)}?" if near else "."
            raise UnknownPhotoError(f"{shown(path)} is not among the photos of {shown(str(self.about.root))}{advice}")
        return self.id_of(self.photos[row])

    # --- what else it holds ---

    def captions(self, vector: np.ndarray, count: int) -> list[CaptionMatch]:
        """Return none: these photos have no captions of their own."""
        return []

    def caption_count(self) -> int:
        """Return how many captions the photos have."""
        return 0

    @cached_property
    def _coded_facets(self) -> dict[Facet, Coded]:
        return {}

    @cached_property
    def _positions(self) -> np.ndarray:
        return positions_of(self.photos)

    def _coded(self, facet: Facet) -> Coded:
        if facet not in self._coded_facets:
            self._coded_facets[facet] = Coded.of(self.photos, facet)
        return self._coded_facets[facet]

    def facet(self, facet: Facet, filters: Filters = NO_FILTERS) -> dict[str, int]:
        """Return how many photos that pass are of each month, or found by each name of a place, as Gallery.facet says."""
        if FIELD_OF[facet] not in self.about.fields:
            return {}
        counts = self._coded(facet).counts(self._among(filters))
        return names_of_places(counts) if facet == "place" else counts

    def spots(self, filters: Filters = NO_FILTERS) -> list[Spot]:
        """Return where the photos that pass were taken, by place."""
        return spots_of(self._coded("place"), self._positions, self._among(filters))

    @cached_property
    def _values(self) -> dict[str, Sequence[Any]]:
        return {}

    def values(self, name: str) -> Sequence[Any]:
        """Return the different values of a field in order, empty ones left out; computed once."""
        if name not in self._values:
            of, between = FIELDS[name].of, FIELDS[name].between
            there = {value for row in self.rows.tolist() if (value := of(self.photos[row])) not in ("", None)}
            self._values[name] = sorted({one for value in there for one in value.split(between)} if between else there)
        return self._values[name]

    def albums(self) -> "Albums | None":
        """Return None: no searches are saved with these photos."""
        return None

    def close(self) -> None:
        """Close what was opened for it: nothing here."""
