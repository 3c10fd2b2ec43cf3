"""What is served, behind one interface with opaque ids: a run's tensors, an index of photos, or an engine."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.encoding.runtime import Runtime
from crossmodal.errors import UnknownPhotoError
from crossmodal.files import cache_folder, whole_file
from crossmodal.search.filters import Filters
from crossmodal.search.ids import opaque_id

NO_SUCH_PHOTO = "There is no photo with this id."


@dataclass(frozen=True)
class Found:
    """A photo by its id: its score, its own captions, what else is known of it, and the ids of its copies."""

    id: str
    score: float
    captions: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundCaption:
    """A caption, its score, and the id of the photo it was written for."""

    caption: str
    score: float
    id: str | None = None


class Gallery(ABC):
    """Photos that can be searched, and the model that encodes queries.

    What takes an id raises UnknownPhotoError for one that is nobody's; all that looks something up may
    take a while, and raises UnavailableError where it lies in an engine that does not answer.
    """

    label: str
    fingerprint: str
    metrics: Mapping[str, float]
    runtime: Runtime

    @property
    @abstractmethod
    def kind(self) -> str:
        """How it is searched, in words."""

    @abstractmethod
    def photo_count(self) -> int:
        """Return how many photos can be found."""

    @abstractmethod
    def caption_count(self) -> int:
        """Return how many captions can be found."""

    @abstractmethod
    def path(self, image_id: str) -> Path:
        """Return the file of a photo."""

    @abstractmethod
    def vector(self, image_id: str) -> np.ndarray:
        """Return a photo's unit vector [D]."""

    @abstractmethod
    def search(
        self, vector: np.ndarray, top_k: int, filters: Filters, sentence: bool, cut_off: bool, by_date: bool
    ) -> list[Found]:
        """Return photos for a unit vector [D], best first; `sentence` says whether the cut-off is for it."""

    @abstractmethod
    def find_captions(self, vector: np.ndarray, top_k: int) -> list[FoundCaption]:
        """Return captions for a unit vector [D], best first."""


class Ids:
    """The ids of photos that this process knows the paths of; they tell nothing of the paths, and stay after a restart."""

    def __init__(self, paths: list[Path]) -> None:
        key = secret_key()
        self.of_row = [opaque_id(path, key) for path in paths]
        self._rows = {name: row for row, name in enumerate(self.of_row)}

    def row(self, image_id: str) -> int:
        """Return the row of a photo; raises UnknownPhotoError."""
        try:
            return self._rows[image_id]
        except KeyError:
            raise UnknownPhotoError(NO_SUCH_PHOTO) from None


def secret_key() -> bytes:
    """Return the random key of this machine's ids, made once."""
    path = cache_folder() / "ids.key"
    if not path.is_file():
        with whole_file(path) as temporary:
            temporary.write_bytes(secrets.token_bytes(32))
        path.chmod(0o600)
    return path.read_bytes()
