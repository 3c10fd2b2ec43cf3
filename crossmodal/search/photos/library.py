"""Searching an index of photos: by words, by a picture, by both; filtered, sorted, copies together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from crossmodal.errors import CrossmodalError
from crossmodal.search.photos.cutoff import Cutoff
from crossmodal.search.photos.duplicates import Group, group_copies
from crossmodal.search.photos.engine import Engine
from crossmodal.search.photos.filters import Filters, date_of
from crossmodal.search.photos.opening import engine_of, root_of
from crossmodal.search.photos.store import Photo, Store
from crossmodal.search.photos.walk import shown
from crossmodal.search.terms import EMPTY, Term, combine, encode_terms, parse_terms
from crossmodal.search.vector_index import PlainIndex, VectorIndex

WORTH_A_COPY = 20_000  # photos; fewer are scanned in a few milliseconds as they are
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


class PhotoLibrary:
    """An index as it was when it was opened."""

    def __init__(self, folder: Path, engine: Engine | None = None) -> None:
        """Open the index in `folder`; raises CrossmodalError when there is none."""
        store = Store(folder, writable=False)
        self.root, self.meta = root_of(store), store.meta
        self.photos = list(store.photos())
        slots = np.array([photo.slot for photo in self.photos], dtype=np.int64)
        vectors = store.vectors()
        if len(slots) and slots.max() >= len(vectors):
            raise CrossmodalError(f"The index in {folder} has lost vectors; make it anew with --rebuild.")
        in_place = np.array_equal(slots, np.arange(len(vectors)))
        self.vectors = vectors if in_place else np.ascontiguousarray(vectors[slots])
        self._index: VectorIndex = PlainIndex(self.vectors)
        self._store, self._engine = store, engine
        self._row = {photo.found.path: row for row, photo in enumerate(self.photos)}
        self.cutoff = Cutoff.from_plain(self.meta.get("cutoff"))

    @cached_property
    def engine(self) -> Engine:
        """What encodes queries; opened when the first one comes."""
        return self._engine or engine_of(self._store, text_only=True)

    def speed_up(self) -> None:
        """Prepare for many searches, where there are so many photos that it pays."""
        if len(self.photos) < WORTH_A_COPY:
            return
        from crossmodal.data.everyday import everyday_scenes
        from crossmodal.search.fast_index import choose_index  # imports torch, which one search does without

        self._index = choose_index(self.vectors, lambda: self.engine.encode_sentences(everyday_scenes()))

    @property
    def kind(self) -> str:
        """How the photos are searched, in words."""
        return self._index.kind

    # --- queries ---

    def query(
        self,
        text: str | Sequence[Term] = "",
        picture: np.ndarray | None = None,
        picture_weight: float = 1.0,
        like: str | None = None,
    ) -> PhotoQuery:
        """Turn words, a picture, a photo of the index (`like`, its path), or several of them into a query.

        Words may be terms with signs and weights, as text or as such. `picture` is as `encode_picture` gives it.
        Raises CrossmodalError when there is nothing to look for.
        """
        terms = list(text) if not isinstance(text, str) else parse_terms(text) if text.strip() else []
        parts = encode_terms(terms, self.engine.encode_sentences) if terms else []
        if picture is not None:
            parts.append((picture, picture_weight))
        if like is not None:
            parts.append((np.array(self.vectors[self.row(like)]), picture_weight))
        if not parts:
            raise CrossmodalError(EMPTY)
        return PhotoQuery(combine(parts), len(parts) == len(terms) == 1 and terms[0].weight > 0)

    def encode_picture(self, path_or_bytes: Path | bytes, name: str | None = None) -> np.ndarray:
        """Return a picture's unit vector [D]; raises PictureError for a broken one."""
        from crossmodal.data.pictures import load_picture

        prepare = self.engine.preprocessing
        picture = load_picture(path_or_bytes, at_least=prepare.size, name=name)
        return self.engine.encode_pixels(prepare.array(picture)[None])[0]

    def row(self, path: str) -> int:
        """Return the row of a photo by its path from the root; raises CrossmodalError for another."""
        if path not in self._row:
            raise CrossmodalError(f"{shown(path)} is not in the index of {shown(str(self.root))}.")
        return self._row[path]

    # --- answers ---

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
        among = (filters or Filters()).mask(self.photos)
        passing = len(self.photos) if among is None else int(among.sum())
        fetched = FETCHED * top_k if group else top_k
        while True:
            scores, rows = self._index.search(query.vector, min(fetched, passing), among)
            score_of = {int(row): float(score) for row, score in zip(rows, scores, strict=True)}
            kept = self._worth_showing(query, score_of, passing) if cut_off else list(score_of)
            ended = fetched >= passing or len(kept) < len(score_of)
            ranked = [self.photos[row] for row in kept]
            groups = group_copies(ranked, top_k) if group else [Group(photo) for photo in ranked[:top_k]]
            if ended or len(groups) == top_k:
                break
            fetched *= 4
        by_photo = {self.photos[row].id: score for row, score in score_of.items()}
        hits = [
            PhotoHit(
                one.best,
                self.root / one.best.found.path,
                by_photo[one.best.id],
                tuple(shown(photo.found.path) for photo in one.exact),
                tuple(shown(photo.found.path) for photo in one.similar),
                (*one.exact, *one.similar),
            )
            for one in groups
        ]
        return sorted(hits, key=lambda hit: -date_of(hit.photo)) if by_date else hits

    def _worth_showing(self, query: PhotoQuery, score_of: dict[int, float], among: int) -> list[int]:
        """Return the rows that look like the sentence, in their order; all of them where nobody knows."""
        if self.cutoff is None or not query.sentence:
            return list(score_of)
        if max(score_of.values(), default=0.0) < self.cutoff.threshold(among):
            return []
        return [row for row, score in score_of.items() if score >= self.cutoff.left_out_below]

    def cameras(self) -> list[str]:
        """Return the cameras of the photos, in order."""
        return sorted({photo.described.camera for photo in self.photos if photo.described.camera})

    def folders(self) -> list[str]:
        """Return the folders that hold photos, in order, from the root."""
        return sorted({shown(photo.found.path.rpartition("/")[0]) for photo in self.photos})
