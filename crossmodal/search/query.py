"""Queries of several terms: `dog + beach - people`, `2:dog + cat`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crossmodal.errors import CrossmodalError

SIGN = re.compile(r"(?:^|\s+)([+-])(?=\s|$)")
WEIGHT = re.compile(r"^(\d+(?:\.\d+)?):\s*(?=\S)")
EMPTY = "The query is empty; type a few words about the photo you are looking for."


@dataclass(frozen=True)
class Term:
    """A sentence and its weight; a negative one is to be unlike."""

    text: str
    weight: float = 1.0


def parse_terms(query: str) -> list[Term]:
    """Return the terms of a query: parted by + and - that stand between spaces, each with a weight before a colon.

    A query with a sign and no words to it is one sentence as it stands: somebody is still typing.
    Raises CrossmodalError for a query without words, or without weight.
    """
    if not query.strip():
        raise CrossmodalError(EMPTY)
    parts = SIGN.split(query.strip())  # text, sign, text, sign, text ...
    signed = [("+", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
    if not parts[0].strip():
        signed = signed[1:]
    if any(not text.strip() for _, text in signed):
        return [Term(query.strip())]
    terms = []
    for sign, text in signed:
        match = WEIGHT.match(text.strip())
        words = text.strip()[match.end() if match else 0 :]
        weight = float(match[1]) if match else 1.0
        terms.append(Term(words, -weight if sign == "-" else weight))
    if all(term.weight == 0 for term in terms):
        raise CrossmodalError(f"All weights in {query!r} are 0, so there is nothing to look for.")
    return terms


def combine(parts: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """Return the weighted sum of unit vectors [D] as a unit vector, fp32.

    Raises CrossmodalError where nothing is left of it.
    """
    total = np.sum([weight * vector for vector, weight in parts], axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    if not parts or length < 1e-6:
        raise CrossmodalError("The parts of this query cancel each other out; take other words or weights.")
    return np.asarray(total / length, dtype=np.float32)


def encode_terms(
    terms: Sequence[Term], encode: Callable[[Sequence[str]], np.ndarray]
) -> list[tuple[np.ndarray, float]]:
    """Return each term's vector with its weight; `encode` gives unit vectors [N, D]."""
    vectors = encode([term.text for term in terms])
    return [(vector, term.weight) for vector, term in zip(vectors, terms, strict=True)]
