"""The galleries of one's own photos, wherever their records lie."""

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.data.everyday import everyday_scenes
from crossmodal.encoding.runtime import Runtime
from crossmodal.photos.gallery import PhotoLibrary
from crossmodal.photos.opening import runtime_of
from crossmodal.photos.store import Store
from crossmodal.search.fast_index import HalfIndex
from crossmodal.search.filters import Filters, date_of, orientation_of
from crossmodal.search.record import Photo
from crossmodal.search.search import PhotoQuery, PhotoSearch
from crossmodal.serving.gallery import Found, FoundCaption, Gallery, Ids


class SearchGallery(Gallery):
    """A gallery over a search of photos."""

    photos: PhotoSearch

    @abstractmethod
    def id_of(self, photo: Photo) -> str:
        """Return the id of a photo."""

    @property
    def kind(self) -> str:
        """As Gallery says."""
        return self.photos.kind

    def photo_count(self) -> int:
        """As Gallery says."""
        return self.photos.table.count(Filters())

    def search(
        self, vector: np.ndarray, top_k: int, filters: Filters, sentence: bool, cut_off: bool, by_date: bool
    ) -> list[Found]:
        """As Gallery says."""
        query = PhotoQuery(vector, sentence)
        return [
            Found(
                self.id_of(hit.photo), hit.score, hit.photo.captions, about(hit.photo),
                tuple(self.id_of(copy) for copy in hit.copies),
            )
            for hit in self.photos.search(query, top_k, filters, by_date, cut_off)
        ]  # fmt: skip


class Scenes:
    """Everyday scenes, the captions of photos that have none of their own."""

    def __init__(self, runtime: Runtime) -> None:
        self._sentences = everyday_scenes()
        self._index = HalfIndex(runtime.encode_sentences(self._sentences))

    def __len__(self) -> int:
        return len(self._sentences)

    def find(self, vector: np.ndarray, top_k: int) -> list[FoundCaption]:
        """Return scenes for a unit vector [D], best first."""
        scores, rows = self._index.search(vector, top_k)
        return [
            FoundCaption(self._sentences[row], score) for score, row in zip(scores.tolist(), rows.tolist(), strict=True)
        ]


class PhotoGallery(SearchGallery):
    """An index of one's own photos; its captions are the everyday scenes that come along."""

    metrics: Mapping[str, float] = {}

    def __init__(self, folder: Path) -> None:
        """Open the index in `folder`; raises CrossmodalError when there is none."""
        store = Store(folder, writable=False)
        self.runtime = runtime_of(store)
        store.close()
        self.photos: PhotoLibrary = PhotoLibrary(folder, self.runtime)
        self.photos.speed_up()
        self.label, self.fingerprint = self.photos.meta["recipe"], self.photos.meta["fingerprint"]
        self._paths = [self.photos.root / photo.found.path for photo in self.photos.photos]
        self._ids = Ids(self._paths)
        self._id_of = {photo.found.path: self._ids.of_row[row] for row, photo in enumerate(self.photos.photos)}
        self._scenes = Scenes(self.runtime)

    def id_of(self, photo: Photo) -> str:
        """As SearchGallery says."""
        return self._id_of[photo.found.path]

    def path(self, image_id: str) -> Path:
        """As Gallery says."""
        return self._paths[self._ids.row(image_id)]

    def vector(self, image_id: str) -> np.ndarray:
        """As Gallery says."""
        return np.array(self.photos.vectors[self._ids.row(image_id)])

    def caption_count(self) -> int:
        """As Gallery says."""
        return len(self._scenes)

    def find_captions(self, vector: np.ndarray, top_k: int) -> list[FoundCaption]:
        """As Gallery says."""
        return self._scenes.find(vector, top_k)


def about(photo: Photo) -> dict[str, Any]:
    """Return what is known of a photo beside its captions; nothing of one that was not measured."""
    width, height = photo.described.width, photo.described.height
    if not width:
        return {}
    return {
        "date": datetime.fromtimestamp(date_of(photo)).isoformat(timespec="seconds"),
        "width": width, "height": height, "orientation": orientation_of(width, height),
        "camera": photo.described.camera, "bytes": photo.found.size,
    }  # fmt: skip
