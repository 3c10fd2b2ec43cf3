"""What can be searched: the protocol that a run's embeddings, an indexed folder and Milvus have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from crossmodal.search.cutoff import Cutoff
from crossmodal.search.facets import Facet, Spot
from crossmodal.search.filters import NO_FILTERS, Filters
from crossmodal.search.query import Term
from crossmodal.search.record import Photo

if TYPE_CHECKING:
    from crossmodal.search.albums import Albums

UNKNOWN_PHOTO = "There is no photo with this id."


@dataclass(frozen=True)
class About:
    """What a gallery is, which model made it, and what it knows of its photos."""

    title: str
    root: Path  # the folder that its photos lie in
    fingerprint: str
    checkpoint: Path
    recipe: str
    fields: frozenset[str]  # of a record, beside the path; "captions" where photos have their own
    cutoff: Cutoff | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the model on its validation split
    note: str = ""  # what a user has to know of these photos
    words: Path | None = None  # the file of the words that it was taught, where it can be taught any
    albums: bool = False  # whether searches can be saved with it
    own_captions: Path | None = None  # the file of the captions that its user writes, where they can be written

    @property
    def has_captions(self) -> bool:
        """Whether its photos have captions of their own."""
        return "captions" in self.fields


@dataclass(frozen=True)
class CaptionMatch:
    """A caption of a gallery: its score, the id of the photo it was written for, and its unit vector [D]."""

    caption: str
    score: float
    photo: str | None
    vector: np.ndarray


class Match(NamedTuple):
    """A photo, its cosine similarity, and the similarity that it is ranked by: less its hub bias, where that is corrected."""

    photo: Photo
    score: float
    ranked_by: float


class Written(NamedTuple):
    """A photo of which words of a query are written: the words as they are written, and whether all of the query's are."""

    match: Match
    words: tuple[str, ...]
    whole: bool


class Gallery(Protocol):
    """Photos with unit vectors. What takes an id raises UnknownPhotoError for an id that no photo has.

    All of it may be asked by several threads at a time; where it lies elsewhere, it raises UnavailableError.
    """

    about: About

    @property
    def kind(self) -> str:
        """How it is searched, in words."""
        ...

    def count(self, filters: Filters = NO_FILTERS) -> int:
        """Return how many photos pass."""
        ...

    def nearest(
        self, vector: np.ndarray, count: int, filters: Filters = NO_FILTERS, corrected: bool = False
    ) -> list[Match]:
        """Return the `count` photos that pass most similar to a unit vector [D], or as many as there are, best first.

        With `corrected` the hub bias is subtracted, where the gallery has one (see crossmodal.hubs).
        """
        ...

    def written(
        self, terms: Sequence[Term], vector: np.ndarray, filters: Filters = NO_FILTERS, corrected: bool = False
    ) -> list[Written]:
        """Return the photos that pass of which words of each wanted term are written; none where nothing written is known.

        Those of which all words are come first, then those with more of them, then the most similar to the query's unit
        vector [D], whose similarity is as `nearest` gives it.
        """
        ...

    def newest(self, count: int, filters: Filters = NO_FILTERS) -> list[Photo]:
        """Return photos to show before anything is asked: the newest where dates are known, else the first."""
        ...

    def id_of(self, photo: Photo) -> str:
        """Return the id of a photo, which tells nothing of its path."""
        ...

    def photo(self, photo_id: str) -> Photo:
        """Return a photo."""
        ...

    def vector(self, photo_id: str) -> np.ndarray:
        """Return a photo's unit vector [D], fp32."""
        ...

    def id_at(self, path: str) -> str:
        """Return the id of the photo at a path from the root; raises UnknownPhotoError that names a similar path."""
        ...

    def captions(self, vector: np.ndarray, count: int) -> list[CaptionMatch]:
        """Return the captions most similar to a unit vector [D] of a photo, best first; none where photos have none.

        The hub bias is subtracted, where the gallery has one.
        """
        ...

    def caption_count(self) -> int:
        """Return how many captions the photos have."""
        ...

    def facet(self, facet: Facet, filters: Filters = NO_FILTERS) -> dict[str, int]:
        """Return how many of the photos that pass are of each month ("2023-06"), in order, or found by each name of a place.

        Places of most photos come first. None where the gallery does not know it of its photos, or does not count.
        """
        ...

    def spots(self, filters: Filters = NO_FILTERS) -> list[Spot]:
        """Return where the photos that pass were taken, by place; none where positions are not known."""
        ...

    def values(self, name: str) -> Sequence[Any]:
        """Return the different values of a field that can be chosen from, in order."""
        ...

    def albums(self) -> "Albums | None":
        """Return the searches that are saved with it; None where none can be."""
        ...

    def close(self) -> None:
        """Close what was opened for it."""
        ...
