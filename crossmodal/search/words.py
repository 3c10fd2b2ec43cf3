"""Words that a gallery was taught from a few photos each, and queries that name them.

A word's offset is what sets its photos apart from others of its kind: the mean of its examples less the mean of photos that
look like the kind, both of images, so that the gap between images and texts falls out. "Rex on the beach" is the vector of
"dog on the beach" plus the offset. PALAVRA (Cohen et al. 2022, arXiv 2204.01694) learns a token of the text tower instead, which
takes gradients through it; here nothing is trained, and the word is there at once.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crossmodal.errors import CrossmodalError
from crossmodal.search.named_file import key_of, one_line
from crossmodal.search.query import SIGN, WEIGHT, Term
from crossmodal.search.typed import has_pieces

STRENGTH = 1.0  # of the offset, beside a sentence's unit vector
AWAY = 0.2  # weight of the negatives beside the examples, as Rocchio's 0.15 is to 0.75


@dataclass(frozen=True, eq=False)
class Word:
    """A name, what it is in words that the model knows, and the photos that show it and that do not.

    Photos are unit vectors [D] by their paths; `usual` [D] is the mean vector of photos that look like the kind. All are of
    the model with the fingerprint.
    """

    name: str
    kind: str
    fingerprint: str
    examples: Mapping[str, np.ndarray]
    negatives: Mapping[str, np.ndarray]
    usual: np.ndarray

    @property
    def offset(self) -> np.ndarray:
        """What sets its examples apart from their kind, and away from its negatives, fp32 [D]; no unit vector."""
        apart = _mean(self.examples) - self.usual
        if self.negatives:
            apart = apart - AWAY * (_mean(self.negatives) - self.usual)
        return np.asarray(apart, dtype=np.float32)

    @property
    def summary(self) -> str:
        """The word in a line: its name, its kind, and how many photos it was taught from."""
        said = [f"{len(self.examples)} {'photo shows' if len(self.examples) == 1 else 'photos show'} it"]
        if self.negatives:
            said.append(f"{len(self.negatives)} {'does' if len(self.negatives) == 1 else 'do'} not")
        return f"{self.name}: {self.kind}, {', '.join(said)}"

    def renamed(self, name: str) -> "Word":
        """Return the word under another name; raises CrossmodalError for a name that no query could hold."""
        return replace(self, name=name_in_queries(name))


def _mean(photos: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.asarray(np.mean(list(photos.values()), axis=0))


def checked_name(name: str, what: str = "name") -> str:
    """Return a name, or a kind, in single spaces; raises CrossmodalError for one that could not stand in a query."""
    name = one_line(name, what)
    if SIGN.search(name) or WEIGHT.match(name) or not (name[0].isalnum() and name[-1].isalnum()):
        raise CrossmodalError(
            f"{name!r} cannot be a {what}: it begins and ends with a letter or a digit, and has no sign or weight of a query."
        )
    return name


def name_in_queries(name: str) -> str:
    """Return `checked_name` of a word; raises as it does, also for a name that queries take for a filter or a date."""
    name = checked_name(name)
    if has_pieces(name):
        raise CrossmodalError(f"{name!r} cannot be a name: a query takes it, or a part of it, for a filter or a date.")
    return name


def expanded(
    terms: Sequence[Term], words: Collection[Word], fingerprint: str
) -> tuple[list[Term], list[tuple[np.ndarray, float]]]:
    """Return the terms with each name of a word replaced by its kind, and the words' offsets [D] with their weights.

    Names are found as whole words in any case, the longest first. Raises CrossmodalError for a word that another model than the
    one with the fingerprint was taught.
    """
    by_key = {key_of(word.name): word for word in words}
    if not by_key:
        return list(terms), []
    names = "|".join(re.escape(key).replace(r"\ ", r"\s+") for key in sorted(by_key, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:{names})(?!\w)", re.IGNORECASE)
    replaced, offsets = [], []
    for term in terms:
        met = {key: by_key[key] for found in pattern.findall(term.text) if (key := key_of(found)) in by_key}
        for word in met.values():
            if word.fingerprint != fingerprint:
                raise CrossmodalError(
                    f"{word.name!r} was taught to another model than the one of this index; forget it and teach it again: "
                    "python -m crossmodal teach --help"
                )
            offsets.append((word.offset, STRENGTH * term.weight))
        text = pattern.sub(lambda found: _kind(by_key, found[0]), term.text)
        replaced.append(replace(term, text=text))
    return replaced, offsets


def _kind(by_key: Mapping[str, Word], found: str) -> str:
    word = by_key.get(key_of(found))
    return word.kind if word else found
