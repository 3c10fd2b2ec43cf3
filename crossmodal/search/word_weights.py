"""Which words of a query made a photo match: how much its similarity falls without each (leave one out)."""

from collections.abc import Sequence

import numpy as np

from crossmodal.search.query import Encode, Term

WordWeights = tuple[tuple[str, float], ...]  # the words of a query in their order, each with how much it counts


def word_weights(encode: Encode, terms: Sequence[Term], photos: np.ndarray) -> list[WordWeights]:
    """Return for each photo how much its similarity with a term falls without each word, times the weight of the term.

    `photos` [N, D] are unit vectors, as `encode` gives them for sentences. A term of a single word has all of its similarity.
    """
    words: list[str] = []
    falls: list[np.ndarray] = []
    for term in terms:
        own = term.text.split()
        shorter = [" ".join(own[:left] + own[left + 1 :]) for left in range(len(own))] if len(own) > 1 else []
        whole, *without = encode([term.text, *shorter]) @ photos.T
        words += own
        falls += [term.weight * (whole - score) for score in without or [np.zeros_like(whole)]]
    return [tuple(zip(words, column, strict=True)) for column in np.reshape(falls, (len(words), -1)).T.tolist()]
