"""Captions for a photo: of the gallery, or of a list of sentences; near-copies of one sentence count once."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from crossmodal.data.everyday import everyday_scenes
from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.search.gallery import About, CaptionMatch
from crossmodal.search.query import Encode
from crossmodal.search.vector_index import PlainIndex, VectorIndex

# Two captions say the same when their cosine is at least this, and they share at least this part of their words.
SAME_MEANING, SAME_WORDS = 0.9, 0.5

Nearest = Callable[[np.ndarray, int], list[CaptionMatch]]  # a unit vector [D], how many


class CaptionList:
    """Sentences that belong to no photo, with their vectors."""

    def __init__(self, sentences: Sequence[str], vectors: np.ndarray) -> None:
        """`vectors` [N, D] are unit vectors in the order of the sentences."""
        self.sentences, self._vectors = sentences, vectors
        self._index: VectorIndex = PlainIndex(vectors)

    @staticmethod
    def encoded(sentences: Iterable[str], encode: Encode) -> "CaptionList":
        """Encode sentences of any origin, each once; raises CrossmodalError where there is none."""
        kept = list(dict.fromkeys(" ".join(sentence.split()) for sentence in sentences if sentence.strip()))
        if not kept:
            raise CrossmodalError("The list holds no caption; it should hold one sentence a line.")
        return CaptionList(kept, encode(kept))

    @staticmethod
    def stored(about: About) -> "CaptionList":
        """Return the everyday scenes as they lie beside the checkpoint that made a gallery.

        Raises CheckpointError where they do not, or are of another model.
        """
        # Here, since torch takes seconds to import, and a search in an index does without.
        from crossmodal.encoding.everyday_embeddings import everyday_path, load_everyday
        from crossmodal.runs.opening import epoch_of

        scenes = everyday_scenes()
        path = everyday_path(about.checkpoint.parent, epoch_of(about.checkpoint))
        return CaptionList(scenes, load_everyday(path, about.fingerprint, scenes).float().numpy())

    @staticmethod
    def everyday(about: About, encode: Encode) -> "CaptionList":
        """Return everyday scenes by the model that made a gallery: as they are stored, else encoded now."""
        try:
            return CaptionList.stored(about)
        except CheckpointError:  # what is absent or broken there can be made again
            return CaptionList.encoded(everyday_scenes(), encode)

    def nearest(self, vector: np.ndarray, count: int) -> list[CaptionMatch]:
        """Return the sentences most similar to a unit vector [D], best first."""
        scores, rows = self._index.search(vector, count)
        return [
            CaptionMatch(self.sentences[row], score, None, self._vectors[row])
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]


def different(nearest: Nearest, vector: np.ndarray, count: int) -> list[CaptionMatch]:
    """Return the `count` captions most similar to a unit vector [D] of which no two say the same, best first."""
    asked = 2 * count
    while True:
        found = nearest(vector, asked)
        kept = list(_first_of_each(found, count))
        if len(kept) >= count or len(found) < asked:
            return kept
        asked *= 2


def _first_of_each(found: Sequence[CaptionMatch], count: int) -> Iterator[CaptionMatch]:
    kept: list[CaptionMatch] = []
    for match in found:
        if len(kept) < count and not any(_near_copies(match, other) for other in kept):
            kept.append(match)
            yield match


def _near_copies(one: CaptionMatch, other: CaptionMatch) -> bool:
    words, others = (set(match.caption.lower().strip(".! ").split()) for match in (one, other))
    shared = len(words & others) / max(1, len(words | others))
    return shared >= SAME_WORDS and float(one.vector @ other.vector) >= SAME_MEANING
