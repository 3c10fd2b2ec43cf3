"""The index of a folder, opened to be searched."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from crossmodal.encoding.runtime import Runtime
from crossmodal.errors import CrossmodalError
from crossmodal.photos.opening import root_of, runtime_of
from crossmodal.photos.store import Photo, Store
from crossmodal.photos.walk import shown
from crossmodal.search.cutoff import Cutoff
from crossmodal.search.gallery import PhotosInMemory
from crossmodal.search.search import PhotoSearch

WORTH_A_COPY = 20_000  # photos; fewer are scanned in a few milliseconds as they are


class PhotoLibrary(PhotoSearch):
    """An index as it was when it was opened."""

    table: PhotosInMemory

    def __init__(self, folder: Path, runtime: Runtime | None = None) -> None:
        """Open the index in `folder`; raises CrossmodalError when there is none."""
        store = Store(folder, writable=False)
        self.root, self.meta = root_of(store), store.meta
        photos = list(store.photos())
        slots = np.array([photo.slot for photo in photos], dtype=np.int64)
        vectors = store.vectors()
        if len(slots) and slots.max() >= len(vectors):
            raise CrossmodalError(f"The index in {folder} has lost vectors; make it anew with --rebuild.")
        in_place = np.array_equal(slots, np.arange(len(vectors)))
        self.table = PhotosInMemory(photos, vectors if in_place else np.ascontiguousarray(vectors[slots]))
        self._store, self._runtime = store, runtime
        self.cutoff = Cutoff.from_plain(self.meta.get("cutoff"))

    @cached_property
    def runtime(self) -> Runtime:
        """What encodes queries; opened when the first one comes."""
        return self._runtime or runtime_of(self._store, text_only=True)

    @property
    def photos(self) -> Sequence[Photo]:
        """The records, in the order of their paths."""
        return self.table.photos

    @property
    def vectors(self) -> np.ndarray:
        """The unit vectors fp32 [N, D], in the order of the records."""
        return self.table.vectors

    def speed_up(self) -> None:
        """Prepare for many searches, where there are so many photos that it pays."""
        if len(self.photos) < WORTH_A_COPY:
            return
        from crossmodal.data.everyday import everyday_scenes
        from crossmodal.search.fast_index import choose_index  # imports torch, which one search does without

        self.table.index = choose_index(self.vectors, lambda: self.runtime.encode_sentences(everyday_scenes()))

    def cameras(self) -> list[str]:
        """Return the cameras of the photos, in order."""
        return sorted({photo.described.camera for photo in self.photos if photo.described.camera})

    def folders(self) -> list[str]:
        """Return the folders that hold photos, in order, from the root."""
        return sorted({shown(photo.found.path.rpartition("/")[0]) for photo in self.photos})
