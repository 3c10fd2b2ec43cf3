"""The gallery in an runtime: nothing of it is held here but the model and what it is."""

from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.errors import UnknownPhotoError
from crossmodal.scale.milvus.connection import MOST, Milvus
from crossmodal.scale.milvus.gallery import MilvusSearch
from crossmodal.scale.milvus.rows import as_photo
from crossmodal.search.ids import opaque_id
from crossmodal.search.record import Photo
from crossmodal.serving.gallery import NO_SUCH_PHOTO, FoundCaption
from crossmodal.serving.photo_gallery import Scenes, SearchGallery


class MilvusGallery(SearchGallery):
    """A gallery that was loaded into Milvus, an index's or a run's."""

    def __init__(self, milvus: Milvus, checkpoint: Path | None = None, root: Path | None = None) -> None:
        """As MilvusSearch says."""
        self.photos: MilvusSearch = MilvusSearch(milvus, checkpoint, root)
        self._milvus, about = milvus, self.photos.meta
        self.runtime, self.metrics = self.photos.runtime, about["metrics"]
        self.label, self.fingerprint = about["recipe"], about["fingerprint"]
        self._key = bytes.fromhex(about["id_key"])
        self._scenes = None if self.photos.of_run else Scenes(self.runtime)

    def id_of(self, photo: Photo) -> str:
        """As SearchGallery says."""
        return opaque_id(photo.found.path, self._key)

    def _row(self, image_id: str) -> dict[str, Any]:
        row = self.photos.with_id(image_id)
        if row is None:
            raise UnknownPhotoError(NO_SUCH_PHOTO)
        return row

    def path(self, image_id: str) -> Path:
        """As Gallery says."""
        return self.photos.root / as_photo(self._row(image_id)).found.path

    def vector(self, image_id: str) -> np.ndarray:
        """As Gallery says."""
        return np.array(self._row(image_id)["vector"], dtype=np.float32)

    def caption_count(self) -> int:
        """As Gallery says."""
        return self._milvus.count(self._milvus.captions) if self._scenes is None else len(self._scenes)

    def find_captions(self, vector: np.ndarray, top_k: int) -> list[FoundCaption]:
        """As Gallery says."""
        if self._scenes is not None:
            return self._scenes.find(vector, top_k)
        asked = 2 * top_k  # some wordings stand several times
        while True:
            rows = self._milvus.nearest(self._milvus.captions, vector, asked, ["caption", "image"])
            hits: dict[str, FoundCaption] = {}
            for row, score in rows:
                hits.setdefault(row["caption"], FoundCaption(row["caption"], score, row["image"]))
            if len(hits) >= top_k or len(rows) < asked or asked >= MOST:
                return list(hits.values())[:top_k]
            asked *= 2
