"""The search service: one model, one gallery, and every way to look something up in it.

The page and the command line ask here; neither ranks by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.embeddings import Embeddings
from crossmodal.errors import CrossmodalError
from crossmodal.search.fast_index import index_of
from crossmodal.search.query import EMPTY
from crossmodal.search.vector_index import VectorIndex

Query = Tensor  # a unit vector [D], fp32 on the CPU


@dataclass(frozen=True)
class ImageHit:
    """A photo that was found: its cosine similarity with the query, and its own captions."""

    name: str
    path: Path
    score: float
    captions: tuple[str, ...]
    row: int


@dataclass(frozen=True)
class CaptionHit:
    """A caption that was found; `image` is the photo it was written for, where it has one."""

    caption: str
    score: float
    image: str | None = None
    row: int | None = None


@dataclass(frozen=True)
class CaptionList:
    """Sentences that belong to no photo, and what finds them by their vectors."""

    captions: Sequence[str]
    index: VectorIndex


class SearchService:
    """Searches one split of a run's embeddings with the model that made them."""

    def __init__(
        self, model: DualEncoder, embeddings: Embeddings, split: str = "all", images: Path | None = None
    ) -> None:
        """`images` is the folder of the photos, by default the one they were encoded from.

        Raises CrossmodalError for a split that has no image.
        """
        self.model = model
        self.folder = Path(images or embeddings.data["images"])
        chosen = embeddings.only(split)
        if not len(chosen.images):
            there = ", ".join(sorted(set(embeddings.splits)))
            raise CrossmodalError(f"There is no image in the split {split}; the splits here are: {there}, all.")
        self._images, self._texts = chosen.images.float(), chosen.texts.float()
        self._image_index, self._text_index = index_of(self._images), index_of(self._texts)
        self.names, self.captions = list(chosen.image_names), list(chosen.captions)
        self._owner: list[int] = chosen.caption_to_image.tolist()
        self._captions_of: list[list[str]] = [[] for _ in self.names]
        self._first: dict[int, int] = {}  # each image's first caption
        for index, (caption, owner) in enumerate(zip(self.captions, self._owner, strict=True)):
            self._captions_of[owner].append(caption)
            self._first.setdefault(owner, index)

    # --- queries ---

    def query(self, text: str | Sequence[str] = "", photo: Image.Image | None = None) -> Query:
        """Turn a sentence, a photo, or both together with equal weight, into a query.

        Several sentences count as one: the normalised mean of their vectors.

        Raises CrossmodalError when there is neither.
        """
        parts = []
        sentences = [sentence.strip() for sentence in ([text] if isinstance(text, str) else text) if sentence.strip()]
        if sentences:
            parts.append(F.normalize(next(self.model.encode_sentences(sentences)).mean(0), dim=0))
        if photo is not None:
            parts.append(self.model.encode_images([photo])[0])
        if not parts:
            raise CrossmodalError(EMPTY)
        return F.normalize(torch.stack(parts).sum(0), dim=0)

    def find_images(self, query: Query, top_k: int = 10) -> list[ImageHit]:
        """Return the photos most similar to the query, best first; ties by their order in the file."""
        scores, rows = self._image_index.search(query.numpy(), top_k)
        return [
            ImageHit(self.names[row], self.folder / self.names[row], score, tuple(self._captions_of[row]), row)
            for score, row in zip(scores.tolist(), rows.tolist(), strict=True)
        ]

    def find_captions(self, query: Query, top_k: int = 10, among: CaptionList | None = None) -> list[CaptionHit]:
        """Return the captions most similar to the query, best first, each wording once.

        `among` is another list of sentences than the gallery's own.
        """
        captions, index = (self.captions, self._text_index) if among is None else (among.captions, among.index)
        # Some wordings stand several times; a few more are fetched, and doubled again if that is too few.
        fetched = top_k
        while True:
            scores, rows = index.search(query.numpy(), fetched)
            hits: dict[str, CaptionHit] = {}
            for score, row in zip(scores.tolist(), rows.tolist(), strict=True):
                owner = self._owner[row] if among is None else None
                image = None if owner is None else self.names[owner]
                hits.setdefault(captions[row], CaptionHit(captions[row], score, image, owner))
            if len(hits) >= top_k or fetched >= len(captions):
                return list(hits.values())[:top_k]
            fetched *= 2

    def captions_of(self, row: int) -> list[str]:
        """Return the captions of an image."""
        return self._captions_of[row]

    def image_vector(self, row: int) -> Query:
        """Return an image's unit vector [D]."""
        return self._images[row]

    def encode_list(self, captions: Sequence[str]) -> CaptionList:
        """Encode sentences of any origin, to be searched with `among`; empty ones are left out."""
        kept = list(dict.fromkeys(" ".join(caption.split()) for caption in captions if caption.strip()))
        if not kept:
            raise CrossmodalError("The list holds no caption; it should hold one sentence a line.")
        return CaptionList(kept, index_of(torch.cat(list(self.model.encode_sentences(kept)))))

    def similarities(self, pairs: int) -> tuple[Tensor, list[str], list[str]]:
        """Return the similarities [n, n] of evenly spaced images (rows) and their first captions (columns)."""
        count = min(pairs, len(self.names))
        rows = torch.linspace(0, len(self.names) - 1, count).round().long().tolist()
        rows = [row for row in rows if row in self._first]
        columns = [self._first[row] for row in rows]
        matrix = self._images[rows] @ self._texts[columns].T
        return matrix, [self.names[row] for row in rows], [self.captions[column] for column in columns]
