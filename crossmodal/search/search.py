"""Searching photos wherever they lie: by words, by a photo, by both; filtered, sorted, copies together."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.encoding.runtime import Runtime
from crossmodal.errors import CrossmodalError
from crossmodal.photos.store import Photo
from crossmodal.photos.walk import shown
from crossmodal.search.copies import Group, group_copies
from crossmodal.search.cutoff import Cutoff
from crossmodal.search.filters import Filters, date_of
from crossmodal.search.gallery import PhotoTable
from crossmodal.search.query import EMPTY, Term, combine, encode_terms, parse_terms

FETCHED = 4  # how many times the photos asked for are looked at for copies, at first


@dataclass(frozen=True)
class PhotoQuery:
    """A unit vector [D], and whether the cut-off, which is for one sentence, says something of its scores."""

    vector: np.ndarray
    sentence: bool


@dataclass(frozen=True)
class PhotoHit:
    """A photo that was found: its similarity with the query, and its copies that were found with it."""

    photo: Photo
    path: Path
    score: float
    exact_copies: tuple[str, ...] = ()
    similar_copies: tuple[str, ...] = ()
    copies: tuple[Photo, ...] = ()

    @property
    def name(self) -> str:
        """The path from the root of the photos, as it can be shown."""
        return shown(self.photo.found.path)


class PhotoSearch(ABC):
    """Queries and answers over a table of photos."""

    table: PhotoTable
    root: Path
    meta: dict[str, Any]
    cutoff: Cutoff | None
    has_looks = True  # by which copies are told

    @property
    @abstractmethod
    def runtime(self) -> Runtime:
        """What encodes queries."""

    @property
    def kind(self) -> str:
        """How the photos are searched, in words."""
        return self.table.kind

    # --- queries ---

    def query(
        self,
        text: str | Sequence[Term] = "",
        photo: np.ndarray | None = None,
        photo_weight: float = 1.0,
        like: str | None = None,
    ) -> PhotoQuery:
        """Turn words, a photo, a photo of the index (`like`, its path), or several of them into a query.

        Words may be terms with signs and weights, as text or as such. `photo` is as `encode_photo` gives it.
        Raises CrossmodalError when there is nothing to look for.
        """
        terms = list(text) if not isinstance(text, str) else parse_terms(text) if text.strip() else []
        parts = encode_terms(terms, self.runtime.encode_sentences) if terms else []
        if photo is not None:
            parts.append((photo, photo_weight))
        if like is not None:
            parts.append((self.vector(like), photo_weight))
        if not parts:
            raise CrossmodalError(EMPTY)
        return PhotoQuery(combine(parts), len(parts) == len(terms) == 1 and terms[0].weight > 0)

    def encode_photo(self, path_or_bytes: Path | bytes, name: str | None = None) -> np.ndarray:
        """Return a photo's unit vector [D]; raises PhotoError for a broken one."""
        from crossmodal.data.decoding import load_photo

        prepare = self.runtime.preprocessing
        photo = load_photo(path_or_bytes, at_least=prepare.size, name=name)
        return self.runtime.encode_pixels(prepare.array(photo)[None])[0]

    def vector(self, path: str) -> np.ndarray:
        """Return the unit vector [D] of a photo by its path from the root; raises CrossmodalError for another."""
        found = self.table.vector(path)
        if found is None:
            raise CrossmodalError(f"{shown(path)} is not in the index of {shown(str(self.root))}.")
        return found

    # --- answers ---

    def check(self, filters: Filters, by_date: bool) -> None:
        """Raise CrossmodalError for filters that nothing can pass, or that these photos do not have."""
        filters.check()

    def search(
        self,
        query: PhotoQuery,
        top_k: int = 10,
        filters: Filters | None = None,
        by_date: bool = False,
        cut_off: bool = True,
        group: bool = True,
    ) -> list[PhotoHit]:
        """Return the photos most similar to a query, best first, or the newest of those first with `by_date`.

        Copies of a photo are put under the best-ranked of them with `group`. With `cut_off`, nothing comes
        back where nothing looks like the sentence, and photos that do not are left out, as far as the
        index knows from which score on that is.
        """
        filters = filters or Filters()
        self.check(filters, by_date)
        passing = self.table.count(filters)
        group = group and self.has_looks
        asked = FETCHED * top_k if group else top_k
        while True:
            found = self.table.nearest(query.vector, min(asked, passing), filters) if passing else []
            kept = self._worth_showing(query, found, passing) if cut_off else found
            # An runtime may give fewer than it is asked for, and then has no more.
            ended = len(found) < asked or len(kept) < len(found)
            ranked = [photo for photo, _ in kept]
            groups = group_copies(ranked, top_k) if group else [Group(photo) for photo in ranked[:top_k]]
            if ended or len(groups) == top_k:
                break
            asked *= 4
        score_of = {photo.found.path: score for photo, score in found}
        hits = [
            PhotoHit(
                one.best,
                self.root / one.best.found.path,
                score_of[one.best.found.path],
                tuple(shown(photo.found.path) for photo in one.exact),
                tuple(shown(photo.found.path) for photo in one.similar),
                (*one.exact, *one.similar),
            )
            for one in groups
        ]
        return sorted(hits, key=lambda hit: -date_of(hit.photo)) if by_date else hits

    def _worth_showing(
        self, query: PhotoQuery, found: list[tuple[Photo, float]], among: int
    ) -> list[tuple[Photo, float]]:
        """Return what looks like the sentence, in its order; all of it where nobody knows."""
        if self.cutoff is None or not query.sentence:
            return found
        if not found or found[0][1] < self.cutoff.threshold(among):
            return []
        return [(photo, score) for photo, score in found if score >= self.cutoff.left_out_below]
