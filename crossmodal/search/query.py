"""What is asked: sentences with signs and weights, photos, or both together, as one unit vector."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from crossmodal.errors import CrossmodalError

SIGN = re.compile(r"(?:^|\s+)([+-])(?=\s|$)")
# 2:dog is a weight; 3:15 is a time, 16:9 a ratio, and 2001: and 2001:odyssey begin titles.
TIME = r"(?:[ap]\.?m\b|noon\b|midnight\b|hours?\b|minutes?\b|o.?clock\b)"
WEIGHT = re.compile(rf"^(\d{{1,2}}(?:\.\d+)?|\d+(?:\.\d+)?[eE]\+?\d+):(?=[^\s\d])(?!{TIME})", re.IGNORECASE)
QUOTATION_MARKS = re.compile('["\u201c\u201d\u201e\u00ab\u00bb]')
HEAVIEST = 100.0
LONGEST_QUERY = 1000  # characters; a text tower reads far fewer
LEAST_LENGTH = 1e-6  # of a sum of unit vectors that says anything
LIGHTEST_PHOTO = 0.01  # a photo of no weight would be nothing to look for
EMPTY = "The query is empty; type a few words about the photo you are looking for."

Encode = Callable[[Sequence[str]], np.ndarray]  # sentences to unit vectors [N, D]
# Which calibration of the cut-off applies to a query; none where it has photos. Single words are less alike to the photos
# that show them than sentences are, so that they have thresholds of their own.
Calibration = Literal["sentence", "sum", "difference", "words", "sum of words", "difference of words"]
FEW_WORDS = 3  # a term of fewer is words, not a sentence


@dataclass(frozen=True)
class Term:
    """A sentence and its weight; a negative weight asks for photos that are unlike it."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Query:
    """A unit vector [D], the sentences that it is made of, and the calibration of the cut-off that applies, if any.

    `typed` are the sentences before taught words were replaced in them: so they are looked for in what is written.
    """

    vector: np.ndarray
    terms: tuple[Term, ...] = ()
    calibration: Calibration | None = None
    typed: tuple[Term, ...] = ()

    @staticmethod
    def of(
        terms: Sequence[Term],
        sentences: np.ndarray | None,
        photos: Sequence[tuple[np.ndarray, float]] = (),
        typed: Sequence[Term] | None = None,
    ) -> "Query":
        """Return the query of terms, whose unit vectors are `sentences` [N, D], and of photos' vectors with weights.

        Raises CrossmodalError when there is nothing to look for, or nothing is left of it.
        """
        weighted = (
            [] if sentences is None else [(vector, term.weight) for vector, term in zip(sentences, terms, strict=True)]
        )
        if not weighted and not photos:
            raise CrossmodalError(EMPTY)
        vector, calibration = combined([*weighted, *photos]), None if photos else _calibration(terms)
        return Query(vector, tuple(terms), calibration, tuple(terms if typed is None else typed))


def _calibration(terms: Sequence[Term]) -> Calibration | None:
    if not any(term.weight > 0 for term in terms):
        return None
    words = any(len(term.text.split()) < FEW_WORDS for term in terms)
    if any(term.weight < 0 for term in terms):
        return "difference of words" if words else "difference"
    if len(terms) > 1:
        return "sum of words" if words else "sum"
    return "words" if words else "sentence"


def parse_terms(text: str) -> list[Term]:
    """Return the terms of a query: separated by + and - between spaces, each with a weight before a colon.

    A query that ends with a sign, or has two in a row, is one sentence as it stands: its user is still
    typing. Raises CrossmodalError for a query without words, of more than LONGEST_QUERY characters, or with weights that
    are 0 or too large.
    """
    text = replaced_surrogates(text).strip()
    if not text:
        raise CrossmodalError(EMPTY)
    if len(text) > LONGEST_QUERY:
        raise CrossmodalError(f"The query has {len(text):,} characters; shorten it to {LONGEST_QUERY:,} at the most.")
    parts = SIGN.split(text)  # text, sign, text, sign, text ...
    signed = [("+", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
    if not parts[0].strip():
        signed = signed[1:]
    if any(not words.strip() for _, words in signed):
        return [Term(text)]
    terms = [_term(sign, words.strip()) for sign, words in signed]
    if all(term.weight == 0 for term in terms):
        raise CrossmodalError(f"All weights in {text!r} are 0, so there is nothing to look for.")
    return terms


def _term(sign: str, words: str) -> Term:
    match = WEIGHT.match(words)
    weight = checked_weight(float(match[1]), words) if match else 1.0
    text = words[match.end() :] if match else words
    # The marks keep words from being read as filters, and a shell takes them away; a text tower would read them.
    plain = " ".join(QUOTATION_MARKS.sub(" ", text).split())
    return Term(plain or text, -weight if sign == "-" else weight)


def checked_weight(weight: float, of: str, least: float = 0.0) -> float:
    """Return a weight as it is; raises CrossmodalError for one that is not a number from `least` to HEAVIEST."""
    if not math.isfinite(weight) or not least <= weight <= HEAVIEST:
        raise CrossmodalError(f"The weight of {of!r} is {weight:g}; give a number from {least:g} to {HEAVIEST:g}.")
    return weight


def texts_of(arguments: Sequence[str]) -> list[str]:
    """Return the queries of a command line's words: what was typed without quotes is one.

    An argument with a space in it was quoted, and is a query of its own; what was typed without quotes between two of them is
    another, but for a sign right before a quoted one, which is that one's. Their terms add up.
    """
    texts: list[str] = []
    typed: list[str] = []
    for argument in (argument for argument in arguments if argument.strip()):
        if " " not in argument.strip():
            typed.append(argument)
            continue
        sign = f"{typed.pop()} " if typed and typed[-1] in ("+", "-") else ""
        texts += [" ".join(typed)] if typed else []
        texts.append(sign + argument)
        typed = []
    return [*texts, " ".join(typed)] if typed else texts


def replaced_surrogates(text: str) -> str:
    """Return a text in which halves of characters, which no tokenizer can read, are replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def combined(parts: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """Return the weighted sum of unit vectors [D] as a unit vector, fp32.

    Raises CrossmodalError where nothing is left of it, and for vectors of several models.
    """
    if len({len(vector) for vector, _ in parts}) > 1:
        raise CrossmodalError("The words that this gallery was taught are not of its model; teach them again.")
    total = np.sum([weight * vector for vector, weight in parts], axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    if not length >= LEAST_LENGTH:
        raise CrossmodalError("The parts of this query cancel each other out; choose other words or weights.")
    return np.asarray(total / length, dtype=np.float32)
