"""What a report shows of a model: some queries, the worst failures, the images that it confuses."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossmodal.encoding.embeddings import Embeddings
from crossmodal.evaluation.metrics import ROWS_AT_ONCE, Ranks

SHOWN = 6  # matches of a query
LONGEST_LIST = 100  # how far recall over K goes


@dataclass(frozen=True)
class Matches:
    """A query, its first matches, and the rank of the right one. Rows are those of the embeddings.

    `query` is a caption's row for text to image, else an image's; `found` are rows of the other kind.
    """

    query: int
    found: tuple[int, ...]
    scores: tuple[float, ...]
    right: tuple[bool, ...]
    rank: int


@dataclass(frozen=True)
class ConfusedPair:
    """Two images: `times` of the `captions` of `image` find `taken_for` first; `example` is such a caption."""

    image: int
    taken_for: int
    times: int
    captions: int
    example: int


def recall_over_k(ranks: Tensor, longest: int = LONGEST_LIST) -> list[float]:
    """Return recall@1 to recall@longest, per cent."""
    counts = torch.bincount(ranks.clamp(max=longest + 1), minlength=longest + 2)[1 : longest + 1]
    return (100 * counts.cumsum(0) / len(ranks)).tolist()


def text_queries(embeddings: Embeddings, ranks: Ranks, rows: Sequence[int]) -> list[Matches]:
    """Return the first images of some captions."""
    owner = embeddings.caption_to_image[list(rows)]
    scores = embeddings.texts[list(rows)].float() @ embeddings.images.float().T
    return _matches(rows, scores, torch.arange(scores.shape[1]) == owner[:, None], ranks.texts)


def image_queries(embeddings: Embeddings, ranks: Ranks, rows: Sequence[int]) -> list[Matches]:
    """Return the first captions of some images."""
    scores = embeddings.images[list(rows)].float() @ embeddings.texts.float().T
    return _matches(rows, scores, embeddings.caption_to_image == torch.tensor(list(rows))[:, None], ranks.images)


def _matches(rows: Sequence[int], scores: Tensor, right: Tensor, ranks: Tensor) -> list[Matches]:
    best = scores.topk(min(SHOWN, scores.shape[1]), dim=1)
    return [
        Matches(row, tuple(found), tuple(values), tuple(right[line, found].tolist()), int(ranks[row]))
        for line, (row, found, values) in enumerate(zip(rows, best.indices.tolist(), best.values.tolist(), strict=True))
    ]


def worst(ranks: Tensor, how_many: int) -> list[int]:
    """Return the rows with the worst ranks, worst first, equal ranks in the order of rows; rank 1 is no failure."""
    order = sorted(range(len(ranks)), key=lambda row: (-int(ranks[row]), row))
    return [row for row in order[:how_many] if ranks[row] > 1]


def most_confused(embeddings: Embeddings, how_many: int) -> list[ConfusedPair]:
    """Return the pairs of images where captions of the one most often find the other first."""
    images, texts = embeddings.images.float(), embeddings.texts.float()
    first = torch.cat([(rows @ images.T).argmax(1) for rows in texts.split(ROWS_AT_ONCE)]).tolist()
    owner = embeddings.caption_to_image.tolist()
    captions = Counter(owner)
    pairs: dict[tuple[int, int], list[int]] = {}
    for row, (own, found) in enumerate(zip(owner, first, strict=True)):
        if own != found:
            pairs.setdefault((own, found), []).append(row)
    ordered = sorted(pairs.items(), key=lambda entry: (-len(entry[1]), entry[1][0]))
    return [ConfusedPair(own, found, len(rows), captions[own], rows[0]) for (own, found), rows in ordered[:how_many]]
