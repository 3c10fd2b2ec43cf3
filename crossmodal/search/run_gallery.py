"""The gallery of a training run: its photos and captions, by the embeddings that it wrote."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from crossmodal.encoding.embeddings import Embeddings
from crossmodal.errors import CrossmodalError
from crossmodal.hubs import as_query, with_bias
from crossmodal.search.coded_index import index_to_stay
from crossmodal.search.gallery import About, CaptionMatch
from crossmodal.search.in_memory import PhotosInMemory
from crossmodal.search.record import Found, Photo
from crossmodal.search.vector_index import Ranked, VectorIndex


class RunGallery(PhotosInMemory):
    """A run's photos, of all splits or of one; the galleries of its splits share vectors and indexes."""

    def __init__(self, embeddings: Embeddings, about: About) -> None:
        """`about.fields` need not say what is known: captions, and folders where names have them."""
        captions: dict[int, list[str]] = defaultdict(list)
        self._owner: list[int] = embeddings.caption_to_image.tolist()
        for caption, owner in zip(embeddings.captions, self._owner, strict=True):
            captions[owner].append(caption)
        photos = [
            Photo(Found(name, 0, 0), captions=tuple(captions[row])) for row, name in enumerate(embeddings.image_names)
        ]
        folders = any("/" in name for name in embeddings.image_names)
        known = frozenset({"captions", *(("path", "folder") if folders else ())})
        vectors, bias = embeddings.images.numpy(), embeddings.biases[0].numpy() if embeddings.biases else None
        indexed = vectors if bias is None else with_bias(vectors, bias)
        super().__init__(replace(about, fields=known), photos, vectors, index_to_stay(indexed), bias=bias)
        self.embeddings = embeddings
        self._captions = _CaptionIndex(embeddings.texts, embeddings.biases[1].numpy() if embeddings.biases else None)

    @property
    def splits(self) -> list[str]:
        """The splits that have photos, in the order that a user chooses from."""
        there = set(self.embeddings.splits)
        return [split for split in ("val", "test", "train") if split in there]

    def only(self, split: str) -> "RunGallery":
        """Return the gallery of one split; raises CrossmodalError for a split that has no photo."""
        if split == "all":
            return self
        rows = np.array([name == split for name in self.embeddings.splits])
        if not rows.any():
            raise CrossmodalError(
                f"There is no image in the split {split}; the splits here are: {', '.join(self.splits)}, all."
            )
        view: RunGallery = object.__new__(RunGallery)
        view.__dict__.update({name: getattr(self, name) for name in ("embeddings", "_owner", "_captions")})
        PhotosInMemory.__init__(view, self.about, self.photos, self.vectors, self.index, rows, self.bias)
        return view

    def captions(self, vector: np.ndarray, count: int) -> list[CaptionMatch]:
        """Return the captions most similar to a unit vector [D] of a photo, best first."""
        among = None if self._rows is None else self._rows[self._owner]
        scores, rows = self._captions.search(vector, count, among)
        return [
            CaptionMatch(
                self.embeddings.captions[row],
                score,
                self.id_of(self.photos[self._owner[row]]),
                self._captions.vector(row),
            )
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def caption_count(self) -> int:
        """Return how many captions the photos have."""
        return len(self._owner) if self._rows is None else int(self._rows[self._owner].sum())

    def similarities(self, pairs: int) -> tuple[Tensor, Sequence[Photo]]:
        """Return the similarities [n, n] of evenly spaced photos (rows) and their first captions (columns), and the photos."""
        own = np.arange(len(self.photos)) if self._rows is None else np.flatnonzero(self._rows)
        first: dict[int, int] = {}
        for caption, owner in enumerate(self._owner):
            first.setdefault(owner, caption)
        chosen = own[np.linspace(0, len(own) - 1, min(pairs, len(own))).round().astype(int)].tolist()
        chosen = [row for row in chosen if row in first]
        texts = self.embeddings.texts[[first[row] for row in chosen]].float()
        return self.embeddings.images[chosen].float() @ texts.T, [self.photos[row] for row in chosen]


class _CaptionIndex:
    """The index of the captions, made when the first photo asks for captions: it may take as much memory as they do."""

    def __init__(self, texts: Tensor, bias: np.ndarray | None) -> None:
        self._texts, self._bias, self._lock = texts, bias, threading.Lock()
        self._index: VectorIndex | None = None

    def search(self, vector: np.ndarray, count: int, among: np.ndarray | None) -> Ranked:
        """Return cosine similarities and rows, ranked without the captions' biases."""
        texts = self._texts.numpy()
        with self._lock:
            self._index = self._index or index_to_stay(texts if self._bias is None else with_bias(texts, self._bias))
        if self._bias is None:
            return self._index.search(vector, count, among)
        ranked_by, rows = self._index.search(as_query(vector, True), count, among)
        return ranked_by + self._bias[rows], rows

    def vector(self, row: int) -> np.ndarray:
        return np.array(self._texts[row].float().numpy())
