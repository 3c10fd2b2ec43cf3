"""The words of a query as they are looked for in what is written of photos, and two rankings made one."""

import re
from collections.abc import Callable, Sequence

from crossmodal.search.calibration import EMPTY_WORDS
from crossmodal.search.gallery import Match, Written
from crossmodal.search.query import Term

# Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009), with their constant.
CONSTANT = 60
# Weights of the ranking by words beside that by vectors: of photos of which all words are written, and of the others. Of 0.1 to
# 2, chosen by benchmarks/written.py with --seed 1 and 800 photos.
WHOLE, PART = 1.0, 0.3
PLACES = 200  # of the ranking by vectors that are told apart; a photo beyond has the place after them
# Words that say nothing of what a photo shows, and those that say that it is a photo.
UNTOLD = EMPTY_WORDS | frozenset(
    "i my me we our us you your was were some which photo photos picture pictures image".split()
)


def content_words(text: str) -> list[str]:
    """Return the words of a text that may be written of a photo, in lower case, each once."""
    words = re.findall(r"\w+", text.casefold())
    return list(dict.fromkeys(word for word in words if word not in UNTOLD))


def wanted_words(terms: Sequence[Term]) -> tuple[list[list[str]], list[list[str]]]:
    """Return the words of each term that is wanted, and of each that is not; terms without such words are left out."""
    said = [(term.weight > 0, content_words(term.text)) for term in terms]
    wanted, unwanted = ([words for is_wanted, words in said if words and is_wanted == side] for side in (True, False))
    return wanted, unwanted


def fused(found: Sequence[Match], kept: int, written: Sequence[Written]) -> list[Match]:
    """Return the first `kept` of what vectors `found`, and what is `written`, both best first, in one order."""
    if not written:
        return list(found[:kept])
    place = {match.photo.path: number for number, match in enumerate(found)}
    matches = {match.photo.path: match for match in found[:kept]}
    points = {path: 1 / (CONSTANT + 1 + place[path]) for path in matches}
    for number, one in enumerate(written):
        path = one.match.photo.path
        matches.setdefault(path, one.match)
        by_vector = 1 / (CONSTANT + 1 + place.get(path, max(PLACES, len(found))))
        points[path] = by_vector + (WHOLE if one.whole else PART) / (CONSTANT + 1 + number)
    return sorted(matches.values(), key=lambda match: -points[match.photo.path])


def kept_of(
    found: Sequence[Match], written: Sequence[Written], worth: Callable[[list[float]], int]
) -> tuple[list[Match], int]:
    """Return the photos that are shown, best first, and how many of those that vectors found are among them.

    `worth` says how many of some scores, best first, are worth showing.
    """
    alike = worth([match.ranked_by for match in found])
    best = [match.ranked_by for match in found[:1]]
    shown = [one for one in written if one.whole or worth([*best, one.match.ranked_by]) > 1]
    return fused(found, alike, shown), alike
