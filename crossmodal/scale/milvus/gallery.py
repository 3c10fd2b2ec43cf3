"""The gallery in Milvus: nothing of it is held here but what it is."""

import difflib
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import TTLCache

from crossmodal.errors import CrossmodalError, UnknownPhotoError
from crossmodal.files import shown
from crossmodal.hubs import as_query
from crossmodal.runs.models import Maker
from crossmodal.scale.milvus.albums import AlbumsInMilvus
from crossmodal.scale.milvus.connection import Milvus, quoted
from crossmodal.scale.milvus.rows import READ, as_photo, expression_of, read, written
from crossmodal.search.albums import Albums
from crossmodal.search.cutoff import Cutoff
from crossmodal.search.facets import FIELD_OF, Facet, Spot, month_of, names_of_places
from crossmodal.search.filters import NO_FILTERS, Filters
from crossmodal.search.gallery import UNKNOWN_PHOTO, About, CaptionMatch, Match, Written
from crossmodal.search.ids import opaque_id
from crossmodal.search.query import Term
from crossmodal.search.record import Photo

DAYS = (1, 10, 100, 1000, 10_000)  # before the newest photo, in which the newest ones are looked for
MOST_COUNTED = 100_000  # photos whose dates and places are fetched to be counted
COUNTS, SECONDS_KEPT = 256, 30.0  # filters whose counts are kept, and for how long


class MilvusGallery:
    """Photos, and their captions, that `load` brought into Milvus; filters travel there."""

    def __init__(
        self, milvus: Milvus, checkpoint: Path | None = None, root: Path | None = None, weights: Path | None = None
    ) -> None:
        """`checkpoint` is the model that encodes queries, and `root` the folder of the photos, where they are elsewhere here.

        `weights` is the folder of those of a published model.

        Raises CrossmodalError for a gallery that is absent or was not loaded whole, and for another model than its own.
        """
        self._milvus, held = milvus, milvus.about()
        again = f"python -m crossmodal load {milvus.url} --collection {milvus.name}"
        if not held.get("complete"):
            state = "was not loaded whole" if held else "is not there"
            raise CrossmodalError(
                f"The gallery {milvus.name} in {milvus.url} {state}; load it with: {again} --photos DIR"
            )
        if checkpoint:
            self._refuse_another(checkpoint, held, weights)
        self.about = About(
            held["title"], root or Path(held["root"]), held["fingerprint"], checkpoint or Path(held["checkpoint"]),
            held["recipe"], frozenset(held["fields"]), Cutoff.from_plain(held["cutoff"]), held["metrics"], held["note"],
            albums=True,
        )  # fmt: skip
        # A search needs the count for its cut-off; asked of Milvus each time it would take as long as the search.
        self._counts: TTLCache[Filters, int] = TTLCache(COUNTS, SECONDS_KEPT)
        self._counted: TTLCache[Filters, dict[Facet, dict[str, int]]] = TTLCache(COUNTS, SECONDS_KEPT)
        self._facets: dict[str, dict[str, int]] = held["facets"]
        self._lock = threading.Lock()  # of the counts: several threads ask
        self._corrected: bool = held["corrected"]
        self._key, self._values = bytes.fromhex(held["id_key"]), held["values"]
        self.maker = Maker(
            self.about.fingerprint, self.about.checkpoint, f"the gallery {milvus.name} in {milvus.url}",
            f"{again} --rebuild --checkpoint RUN", weights,
        )  # fmt: skip

    def _refuse_another(self, checkpoint: Path, held: dict[str, Any], weights: Path | None) -> None:
        """Raise CrossmodalError where a checkpoint is not the model that made the gallery."""
        from crossmodal.runs.opening import fingerprint_at

        found = fingerprint_at(checkpoint, weights)
        if found != held["fingerprint"]:
            raise CrossmodalError(
                f"The gallery {self._milvus.name} in {self._milvus.url} was made by another model ({held['recipe']}, "
                f"{held['fingerprint']}) than {checkpoint} ({found})."
            )

    @property
    def kind(self) -> str:
        """How it is searched, in words."""
        return self._milvus.kind

    def _expression(self, filters: Filters) -> str:
        return expression_of(filters, self._values)

    def count(self, filters: Filters = NO_FILTERS) -> int:
        """Return how many photos pass."""
        with self._lock:
            known = self._counts.get(filters)
        if known is None:
            collection, expression = self._milvus.photos, self._expression(filters)
            # A server that has just started may count nothing before it has seen what was written.
            known = self._milvus.count(collection, expression) or self._milvus.count(
                collection, expression, up_to_date=True
            )
            with self._lock:
                self._counts[filters] = known
        return known

    def nearest(
        self, vector: np.ndarray, count: int, filters: Filters = NO_FILTERS, corrected: bool = False
    ) -> list[Match]:
        """Return the photos that pass most similar to a unit vector [D], no more than Milvus returns at once.

        Equal scores come in the order of paths.
        """
        corrected = corrected and self._corrected
        query = as_query(vector, corrected) if self._corrected else vector
        columns = [*READ, "vector"] if corrected else READ  # its last number is the bias
        found = self._milvus.nearest(self._milvus.photos, query, count, columns, self._expression(filters))
        photos = [
            Match(as_photo(row), score - row["vector"][-1] if corrected else score, score) for row, score in found
        ]
        return sorted(photos, key=lambda one: (-one.ranked_by, one.photo.path))

    def _unit(self, row: dict[str, Any]) -> np.ndarray:
        """Return the unit vector [D] of a row."""
        vector = np.array(row["vector"], dtype=np.float32)
        return vector[:-1] if self._corrected else vector

    def written(
        self, terms: Sequence[Term], vector: np.ndarray, filters: Filters = NO_FILTERS, corrected: bool = False
    ) -> list[Written]:
        """Return none: Milvus is asked for vectors alone."""
        return []

    def newest(self, count: int, filters: Filters = NO_FILTERS) -> list[Photo]:
        """Return the newest photos where dates are known, else some.

        Milvus returns no order, so longer and longer times before the newest photo are asked for.
        """
        expression, dates = self._expression(filters), self._values.get("date")
        rows: list[dict[str, Any]] = []
        for days in DAYS if dates else ():
            since = f"date >= {dates[-1] - 86_400.0 * days!r}"
            rows = self._milvus.query(self._milvus.photos, f"{expression} and {since}" if expression else since, READ)
            if len(rows) >= count:
                break
        if len(rows) < count:
            rows = self._milvus.query(self._milvus.photos, expression, READ, count)
        return sorted(map(as_photo, rows), key=lambda photo: (-photo.date, photo.path))[:count]

    def id_of(self, photo: Photo) -> str:
        """Return the photo's key in Milvus, which tells nothing of its path."""
        return opaque_id(photo.path, self._key)

    def _row(self, photo_id: str, *more: str) -> dict[str, Any]:
        rows = self._milvus.query(self._milvus.photos, f"id == {quoted(photo_id)}", [*READ, *more])
        if not rows:
            raise UnknownPhotoError(UNKNOWN_PHOTO)
        return rows[0]

    def photo(self, photo_id: str) -> Photo:
        """Return a photo; raises UnknownPhotoError."""
        return as_photo(self._row(photo_id))

    def vector(self, photo_id: str) -> np.ndarray:
        """Return a photo's unit vector [D]; raises UnknownPhotoError."""
        return self._unit(self._row(photo_id, "vector"))

    def id_at(self, path: str) -> str:
        """Return the id of the photo at a path from the root; raises UnknownPhotoError that names a similar path."""
        photo_id = opaque_id(path, self._key)
        if not self._milvus.query(self._milvus.photos, f"id == {quoted(photo_id)}", ["id"]):
            start = written(path.rpartition("/")[0])
            beside = self._milvus.query(self._milvus.photos, f"path like {quoted(start + '%')}", READ)
            near = difflib.get_close_matches(path, [as_photo(row).path for row in beside], 1)
            advice = f"; did you mean {shown(near[0])}?" if near else "."
            raise UnknownPhotoError(f"{shown(path)} is not among the photos of {shown(str(self.about.root))}{advice}")
        return photo_id

    def captions(self, vector: np.ndarray, count: int) -> list[CaptionMatch]:
        """Return the captions most similar to a unit vector [D] of a photo, best first; none where the photos have none."""
        if not self.about.has_captions:
            return []
        query = as_query(vector, True) if self._corrected else vector
        found = self._milvus.nearest(self._milvus.captions, query, count, ["caption", "image", "vector"])
        return [
            CaptionMatch(row["caption"], score - row["vector"][-1] * self._corrected, row["image"], self._unit(row))
            for row, score in found
        ]

    def caption_count(self) -> int:
        """Return how many captions the photos have."""
        return self._milvus.count(self._milvus.captions) if self.about.has_captions else 0

    def facet(self, facet: Facet, filters: Filters = NO_FILTERS) -> dict[str, int]:
        """Return how many photos that pass are of each month, or found by each name of a place, as Gallery.facet says.

        Of all photos they were counted when the gallery was loaded. Milvus does not group what it counts, so that for others
        the dates and places are fetched; none where more than MOST_COUNTED photos pass.
        """
        if FIELD_OF[facet] not in self.about.fields:
            return {}
        if not filters.given():
            return dict(self._facets.get(facet, {}))
        with self._lock:
            known = self._counted.get(filters)
        if known is None:
            known = self._count_facets(filters) if self.count(filters) <= MOST_COUNTED else {}
            with self._lock:
                self._counted[filters] = known
        return dict(known.get(facet, {}))

    def _count_facets(self, filters: Filters) -> dict[Facet, dict[str, int]]:
        months: Counter[str] = Counter()
        places: Counter[str] = Counter()
        for rows in self._milvus.rows(self._milvus.photos, ["date", "place"], self._expression(filters)):
            months.update(month for row in rows if (month := month_of(row["date"])))
            places.update(place for row in rows if (place := read(row["place"])))
        return {"month": dict(sorted(months.items())), "place": names_of_places(places)}

    def albums(self) -> Albums:
        """Return the searches that are saved with the gallery."""
        return AlbumsInMilvus(self._milvus)

    def spots(self, filters: Filters = NO_FILTERS) -> list[Spot]:
        """Return none: positions are not brought into Milvus."""
        return []

    def values(self, name: str) -> Sequence[Any]:
        """Return the folders, the cameras, the places, or the first and the last date, as they were when the gallery was loaded."""
        return self._values.get(name, ())

    def close(self) -> None:
        """Close the connection."""
        self._milvus.close()
