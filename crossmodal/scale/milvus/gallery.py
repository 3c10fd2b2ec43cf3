"""Photos whose records and vectors lie in Milvus, searched as those of an index are."""

from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.encoding.runtime import Runtime
from crossmodal.errors import CrossmodalError, GalleryError
from crossmodal.photos.opening import runtime_by
from crossmodal.photos.store import Photo
from crossmodal.scale.milvus.connection import Milvus, quoted
from crossmodal.scale.milvus.rows import READ, as_photo, expression_of, written
from crossmodal.search.cutoff import Cutoff
from crossmodal.search.filters import NOT_OF_A_RUN, Filters
from crossmodal.search.search import PhotoSearch


class PhotosInMilvus:
    """A table of photos; filters travel to the runtime."""

    def __init__(self, milvus: Milvus, cameras: list[str]) -> None:
        self._milvus, self._cameras = milvus, cameras

    @property
    def kind(self) -> str:
        """As PhotoTable says."""
        return self._milvus.kind

    def count(self, filters: Filters) -> int:
        """As PhotoTable says."""
        return self._milvus.count(self._milvus.photos, expression_of(filters, self._cameras))

    def nearest(self, vector: np.ndarray, count: int, filters: Filters) -> list[tuple[Photo, float]]:
        """As PhotoTable says; equal scores in the order of paths, and no more than Milvus returns at once."""
        expression = expression_of(filters, self._cameras)
        found = self._milvus.nearest(self._milvus.photos, vector, count, READ, expression)
        photos = [(as_photo(row), score) for row, score in found]
        return sorted(photos, key=lambda one: (-one[1], one[0].found.path))

    def vector(self, path: str) -> np.ndarray | None:
        """As PhotoTable says."""
        rows = self._milvus.query(self._milvus.photos, f"path == {quoted(written(path))}", ["vector"])
        return np.array(rows[0]["vector"], dtype=np.float32) if rows else None


class MilvusSearch(PhotoSearch):
    """The gallery that was loaded into Milvus."""

    def __init__(
        self, milvus: Milvus, checkpoint: Path | None = None, root: Path | None = None, runtime: Runtime | None = None
    ) -> None:
        """`checkpoint` is the model that encodes queries, and `root` the folder of the photos, where they are elsewhere here.

        Raises CrossmodalError for a gallery that is absent or was not loaded whole, and for another model than its own.
        """
        self.milvus, self.meta = milvus, milvus.about()
        again = f"python -m crossmodal load {milvus.url} --collection {milvus.name}"
        if not self.meta.get("complete"):
            state = "was not loaded whole" if self.meta else "is not there"
            raise CrossmodalError(
                f"The gallery {milvus.name} in {milvus.url} {state}; load it with: {again} --photos DIR"
            )
        if checkpoint:
            self._refuse_another(checkpoint)
            self.meta = {**self.meta, "checkpoint": str(checkpoint)}
        self.root = root or Path(self.meta["root"])
        self.of_run: bool = self.meta["holds"] == "run"
        self.has_looks = not self.of_run
        self.table = PhotosInMilvus(milvus, self.meta["cameras"])
        self.cutoff = Cutoff.from_plain(self.meta["cutoff"])
        # Here, so that what is wrong is said when the gallery is opened.
        of = f"the gallery {milvus.name} in {milvus.url}"
        self._runtime = runtime or runtime_by(self.meta, of, f"{again} --rebuild --checkpoints RUN")

    def _refuse_another(self, checkpoint: Path) -> None:
        """Raise CrossmodalError where a checkpoint is not the model that made the gallery."""
        from crossmodal.runs.opening import load_model

        found = load_model(checkpoint)[1]["fingerprint"]
        if found != self.meta["fingerprint"]:
            raise CrossmodalError(
                f"The gallery {self.milvus.name} in {self.milvus.url} was made by another model ({self.meta['recipe']}, "
                f"{self.meta['fingerprint']}) than {checkpoint} ({found})."
            )

    @property
    def runtime(self) -> Runtime:
        """As PhotoSearch says."""
        return self._runtime

    def check(self, filters: Filters, by_date: bool) -> None:
        """As PhotoSearch says; raises GalleryError for filters and dates of a run's photos, which have none."""
        if self.of_run and (by_date or filters != Filters()):
            raise GalleryError(NOT_OF_A_RUN)

    def with_id(self, key: str) -> dict[str, Any] | None:
        """Return the row of a photo by its key, with its vector, or None."""
        rows = self.milvus.query(self.milvus.photos, f"id == {quoted(key)}", [*READ, "vector"])
        return rows[0] if rows else None
