"""What is served: a run's tensors or an index of photos, behind one interface with opaque ids."""

import hashlib
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from crossmodal.data.everyday import everyday_scenes
from crossmodal.errors import GalleryError
from crossmodal.files import whole_file
from crossmodal.search.fast_index import HalfIndex
from crossmodal.search.photos.engine import Engine, cache_folder
from crossmodal.search.photos.filters import Filters
from crossmodal.search.photos.library import PhotoLibrary, PhotoQuery
from crossmodal.search.photos.opening import engine_of
from crossmodal.search.photos.store import Store
from crossmodal.search.service import SearchService

ID_BYTES = 12


@dataclass(frozen=True)
class Found:
    """A photo by its row, its score, and the rows of its copies."""

    row: int
    score: float
    copies: tuple[int, ...] = ()


@dataclass(frozen=True)
class FoundCaption:
    """A caption, its score, and the row of the photo it was written for."""

    caption: str
    score: float
    row: int | None


class Gallery(ABC):
    """Photos that can be searched, and the model that encodes queries."""

    label: str
    fingerprint: str
    metrics: Mapping[str, float]
    engine: Engine
    paths: Sequence[Path]

    @cached_property
    def ids(self) -> list[str]:
        """An id for each photo that tells nothing of its path, the same after a restart."""
        key = secret_key()
        return [hashlib.blake2b(os.fsencode(path), key=key, digest_size=ID_BYTES).hexdigest() for path in self.paths]

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each id."""
        return {name: row for row, name in enumerate(self.ids)}

    @abstractmethod
    def captions_of(self, row: int) -> Sequence[str]:
        """Return a photo's own captions."""

    @abstractmethod
    def about(self, row: int) -> dict[str, Any]:
        """Return what else is known of a photo."""

    @abstractmethod
    def vector(self, row: int) -> np.ndarray:
        """Return a photo's unit vector [D]."""

    @abstractmethod
    def search(
        self, vector: np.ndarray, top_k: int, filters: Filters, sentence: bool, cut_off: bool, by_date: bool
    ) -> list[Found]:
        """Return photos for a unit vector [D], best first; `sentence` says whether the cut-off is for it."""

    @abstractmethod
    def find_captions(self, vector: np.ndarray, top_k: int) -> list[FoundCaption]:
        """Return captions for a unit vector [D], best first."""

    @property
    @abstractmethod
    def caption_count(self) -> int:
        """How many captions can be found."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """How it is searched, in words."""

    def encode_picture(self, picture: Image.Image) -> np.ndarray:
        """Return an RGB picture's unit vector [D]."""
        return self.engine.encode_pixels(self.engine.preprocessing.array(picture)[None])[0]


class RunGallery(Gallery):
    """The gallery of a training run."""

    def __init__(self, service: SearchService, engine: Engine, fingerprint: str, metrics: Mapping[str, float]) -> None:
        self._service, self.engine, self.fingerprint, self.metrics = service, engine, fingerprint, metrics
        self.label = service.model.recipe.name
        self.paths = [service.folder / name for name in service.names]

    def captions_of(self, row: int) -> Sequence[str]:
        """As Gallery says."""
        return self._service.captions_of(row)

    def about(self, row: int) -> dict[str, Any]:
        """As Gallery says."""
        return {}

    def vector(self, row: int) -> np.ndarray:
        """As Gallery says."""
        return self._service.image_vector(row).numpy()

    def search(
        self, vector: np.ndarray, top_k: int, filters: Filters, sentence: bool, cut_off: bool, by_date: bool
    ) -> list[Found]:
        """As Gallery says; raises GalleryError for filters and dates, which a run's photos do not have."""
        if filters != Filters() or by_date:
            raise GalleryError("Filters and dates are for an index of photos; this is the gallery of a training run.")
        return [Found(hit.row, hit.score) for hit in self._service.find_images(torch.from_numpy(vector), top_k)]

    def find_captions(self, vector: np.ndarray, top_k: int) -> list[FoundCaption]:
        """As Gallery says."""
        hits = self._service.find_captions(torch.from_numpy(vector), top_k)
        return [FoundCaption(hit.caption, hit.score, hit.row) for hit in hits]

    @property
    def caption_count(self) -> int:
        """As Gallery says."""
        return len(self._service.captions)

    @property
    def kind(self) -> str:
        """As Gallery says."""
        return "exact"


class PhotoGallery(Gallery):
    """An index of one's own photos; its captions are the everyday scenes that come along."""

    metrics: Mapping[str, float] = {}

    def __init__(self, folder: Path) -> None:
        """Open the index in `folder`; raises CrossmodalError when there is none."""
        store = Store(folder, writable=False)
        self.engine = engine_of(store)
        store.close()
        self._library = PhotoLibrary(folder, self.engine)
        self._library.speed_up()
        self.label, self.fingerprint = self._library.meta["recipe"], self._library.meta["fingerprint"]
        self.paths = [self._library.root / photo.found.path for photo in self._library.photos]
        self._row = {photo.id: row for row, photo in enumerate(self._library.photos)}
        self._scenes = everyday_scenes()
        self._scene_index = HalfIndex(self.engine.encode_sentences(self._scenes))

    def captions_of(self, row: int) -> Sequence[str]:
        """As Gallery says."""
        return ()

    def about(self, row: int) -> dict[str, Any]:
        """As Gallery says."""
        from datetime import datetime

        from crossmodal.search.photos.filters import date_of, orientation_of

        photo = self._library.photos[row]
        width, height = photo.described.width, photo.described.height
        return {
            "date": datetime.fromtimestamp(date_of(photo)).isoformat(timespec="seconds"),
            "width": width, "height": height, "orientation": orientation_of(width, height),
            "camera": photo.described.camera, "bytes": photo.found.size,
        }  # fmt: skip

    def vector(self, row: int) -> np.ndarray:
        """As Gallery says."""
        return np.array(self._library.vectors[row])

    def search(
        self, vector: np.ndarray, top_k: int, filters: Filters, sentence: bool, cut_off: bool, by_date: bool
    ) -> list[Found]:
        """As Gallery says."""
        hits = self._library.search(PhotoQuery(vector, sentence), top_k, filters, by_date, cut_off)
        return [
            Found(self._row[hit.photo.id], hit.score, tuple(self._row[copy.id] for copy in hit.copies)) for hit in hits
        ]

    def find_captions(self, vector: np.ndarray, top_k: int) -> list[FoundCaption]:
        """As Gallery says."""
        scores, rows = self._scene_index.search(vector, top_k)
        return [
            FoundCaption(self._scenes[row], score, None)
            for score, row in zip(scores.tolist(), rows.tolist(), strict=True)
        ]

    @property
    def caption_count(self) -> int:
        """As Gallery says."""
        return len(self._scenes)

    @property
    def kind(self) -> str:
        """As Gallery says."""
        return self._library.kind


def open_run(checkpoint: Path | None) -> RunGallery:
    """Open a run's gallery, by default that of the page."""
    from crossmodal.search.photos.export import fastest_engine
    from crossmodal.search.runs import checkpoint_of, default_run, load_model, open_embeddings

    path = checkpoint_of(checkpoint or default_run())
    model, content = load_model(path)
    service = SearchService(model, open_embeddings(path, content["fingerprint"], model))
    engine = fastest_engine(model, content["fingerprint"])
    return RunGallery(service, engine, content["fingerprint"], content["metrics"])


def secret_key() -> bytes:
    """Return the random key of this machine's ids, made once."""
    path = cache_folder() / "ids.key"
    if not path.is_file():
        with whole_file(path) as temporary:
            temporary.write_bytes(secrets.token_bytes(32))
        path.chmod(0o600)
    return path.read_bytes()
