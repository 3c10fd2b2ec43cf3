"""Calibrating the cut-off: thresholds by queries about photos that are known to show what is asked for."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossmodal.errors import CheckpointError
from crossmodal.search.cutoff import Cutoff, Thresholds, cutoff_folder
from crossmodal.search.query import LEAST_LENGTH, Calibration, Encode, combined
from crossmodal.towers.published_names import is_published

if TYPE_CHECKING:
    from crossmodal.encoding.embeddings import Embeddings

WRONGLY_NOTHING = 5.0  # per cent of answerable queries that may be told that nothing was found
LEFT_OUT = 10.0  # per cent of true pairs that may be left out of what is shown
GALLERIES = (25, 50, 100, 250, 500, 1000, 2500, 5000)  # of more photos the best one scores higher by chance
DRAWN = 2000  # photos, at the least, that galleries of each size are drawn of
ROWS_AT_ONCE = 512
LEAST = 50  # validation photos of a run; fewer tell too little
AGREED = 3  # captions of a photo that must have a word before the photo counts as showing it
OFTEN = 5  # photos that a word has to be said of, to be one that people search for
WORD_QUERIES = 4000
# Words that say nothing that a photo could show.
EMPTY_WORDS = frozenset(
    "a an and are as at be by down for from has have her his in into is it its of off on one other out over some that the "
    "their them there this through to two three up while with who next near top front side back several many".split()
)


@dataclass(frozen=True)
class Pairs:
    """Queries about images: unit vectors of images [N, D] and of queries [M, D], and the image of each query [M].

    Where images have a `bias` [N], their scores are those without it, as they are ranked.
    """

    images: np.ndarray
    queries: np.ndarray
    image_of_query: np.ndarray
    bias: np.ndarray | None = None

    def of_images(self, rows: np.ndarray) -> "Pairs":
        """Return the pairs of some images, counted again."""
        new_row = np.full(len(self.images), -1)
        new_row[rows] = np.arange(len(rows))
        kept = new_row[self.image_of_query] >= 0
        bias = None if self.bias is None else self.bias[rows]
        return Pairs(self.images[rows], self.queries[kept], new_row[self.image_of_query[kept]], bias)

    def scored(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the scores of some queries with all images [n, N], and the image of each [n], until all are done."""
        images, queries = self.images.astype(np.float32), self.queries.astype(np.float32)
        for start in range(0, len(queries), ROWS_AT_ONCE):
            scores = queries[start : start + ROWS_AT_ONCE] @ images.T
            scores -= 0 if self.bias is None else self.bias
            yield scores, self.image_of_query[start : start + ROWS_AT_ONCE]

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Return for each query the score of the image that scores best [M], and that of its own image [M]."""
        found = [(scores.max(1), scores[np.arange(len(scores)), owner]) for scores, owner in self.scored()]
        best, own = zip(*found, strict=True)
        return np.concatenate(best), np.concatenate(own)


def sentence_queries(sentences: Pairs) -> dict[Calibration, Pairs]:
    """Return queries made of sentences about images.

    A sum is two sentences about one image; a difference is a sentence about an image less one about another.
    """
    vectors, owner = sentences.queries, sentences.image_of_query
    order = np.argsort(owner, kind="stable")
    same = np.flatnonzero(owner[order][:-1] == owner[order][1:])
    others = np.random.default_rng(0).permutation(len(owner))
    differ = np.flatnonzero(owner != owner[others])
    return {
        "sentence": sentences,
        "sum": _asked(sentences, vectors[order[same]], vectors[order[same + 1]], owner[order[same]]),
        "difference": _asked(sentences, vectors[differ], -vectors[others[differ]], owner[differ]),
    }


def _asked(sentences: Pairs, first: np.ndarray, second: np.ndarray, owner: np.ndarray) -> Pairs:
    """Return the sums of vectors [M, D], as `combined` makes them, as queries about `owner` [M]; what cancels out is left out."""
    total = first.astype(np.float64) + second
    length = np.linalg.norm(total, axis=1, keepdims=True)
    left = length[:, 0] >= LEAST_LENGTH
    queries = (total[left] / length[left]).astype(np.float32)
    return replace(sentences, queries=queries, image_of_query=owner[left])


def word_queries(
    images: np.ndarray, captions: Sequence[Sequence[str]], encode: Encode, bias: np.ndarray | None = None
) -> dict[Calibration, Pairs]:
    """Return queries of single words, about the images [N, D] whose captions agree on them; `bias` as of Pairs.

    A sum is of two words; a difference is a word less one that no caption of the image has.
    """
    said = [Counter(word for caption in texts for word in set(_words(caption))) for texts in captions]
    shown = [sorted(word for word, count in words.items() if count >= AGREED) for words in said]
    often = Counter(word for words in shown for word in words)
    common = sorted(word for word, count in often.items() if count >= OFTEN)
    vector = dict(zip(common, encode(common), strict=True)) if common else {}
    rng = random.Random(0)
    found: dict[Calibration, tuple[list[np.ndarray], list[int]]] = {
        "words": ([], []), "sum of words": ([], []), "difference of words": ([], [])
    }  # fmt: skip
    rows = [row for row, words in enumerate(shown) if any(word in vector for word in words)]
    for row in (rng.choice(rows) for _ in range(WORD_QUERIES if rows else 0)):
        own = [word for word in shown[row] if word in vector]
        absent = rng.choice(common)
        for kind, parts in _parts(own, absent if absent not in said[row] else "", rng):
            found[kind][0].append(combined([(vector[word], weight) for word, weight in parts]))
            found[kind][1].append(row)
    return {kind: Pairs(images, np.array(vectors), np.array(owner), bias) for kind, (vectors, owner) in found.items()}


def queries_about(
    images: np.ndarray, captions: Sequence[Sequence[str]], encode: Encode, bias: np.ndarray | None = None
) -> dict[Calibration, Pairs]:
    """Return the queries of all kinds about images [N, D] with these captions; `bias` as of Pairs."""
    owner = np.array([row for row, texts in enumerate(captions) for _ in texts])
    vectors = encode([caption for texts in captions for caption in texts])
    return {**sentence_queries(Pairs(images, vectors, owner, bias)), **word_queries(images, captions, encode, bias)}


def _parts(own: list[str], absent: str, rng: random.Random) -> Iterator[tuple[Calibration, list[tuple[str, float]]]]:
    word = rng.choice(own)
    yield "words", [(word, 1.0)]
    if len(own) > 1:
        yield "sum of words", [(one, 1.0) for one in rng.sample(own, 2)]
    if absent:
        yield "difference of words", [(word, 1.0), (absent, -1.0)]


def _words(caption: str) -> list[str]:
    return [word for word in re.findall(r"[a-z]{3,}", caption.lower()) if word not in EMPTY_WORDS]


def calibrate(queries: Mapping[Calibration, Pairs], of: str) -> Cutoff:
    """Return the thresholds by queries of each kind; `of` says in words what they are about."""
    return Cutoff({kind: _thresholds(pairs) for kind, pairs in queries.items() if len(pairs.queries)}, of)


def _thresholds(pairs: Pairs) -> Thresholds:
    rng, count = np.random.default_rng(0), len(pairs.images)
    sizes = [size for size in GALLERIES if size < count]
    drawn = [rng.permutation(count)[:size] for size in sizes for _ in range(-(-DRAWN // size))]
    drawn.append(np.arange(count))
    inside = np.zeros((len(drawn), count), bool)
    for one, rows in zip(inside, drawn, strict=True):
        one[rows] = True
    best: dict[int, list[np.ndarray]] = {size: [] for size in (*sizes, count)}
    own = []
    # Scored once, and looked at for each gallery: the product takes longer than all that follows.
    for scores, owner in pairs.scored():
        own.append(scores[np.arange(len(scores)), owner])
        for rows, asked in zip(drawn, inside[:, owner], strict=True):
            best[len(rows)].append(scores[np.ix_(asked, rows)].max(1))
    nothing = {size: np.concatenate(found) for size, found in best.items()}
    return Thresholds(
        tuple((size, _percentile(found, WRONGLY_NOTHING)) for size, found in nothing.items() if len(found)),
        _percentile(np.concatenate(own), LEFT_OUT),
    )


def _percentile(values: np.ndarray, per_cent: float) -> float:
    return round(float(np.percentile(values, per_cent)), 4)


def cutoff_of(checkpoint: Path, fingerprint: str, run: "Embeddings | None" = None) -> Cutoff | None:
    """Return the cut-off that was calibrated for a model, else the one that its run's validation pairs give, else None.

    `run` are the run's embeddings where they are open already.
    """
    # Here, since torch takes seconds to import, and a search in an index does without.
    from crossmodal.encoding.embeddings import load_embeddings
    from crossmodal.runs.opening import epoch_of, rebuild_command

    found = Cutoff.read(cutoff_folder(checkpoint, fingerprint))
    if found or is_published(checkpoint):
        return found
    try:
        run = run or load_embeddings(checkpoint.parent, epoch_of(checkpoint), fingerprint, rebuild_command(checkpoint))
    except CheckpointError:  # a checkpoint without its embeddings can be searched with all the same
        return None
    val = run.only("val")
    if len(val.images) < LEAST:
        return None
    bias = val.biases[0].numpy() if val.biases else None
    pairs = Pairs(val.images.numpy(), val.texts.numpy(), val.caption_to_image.numpy(), bias)
    return calibrate(sentence_queries(pairs), f"{len(val.images)} validation photos of its run")
