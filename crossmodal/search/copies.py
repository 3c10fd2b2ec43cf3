"""Copies among the photos that were found: exact by content, similar by look; never by meaning alone."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from crossmodal.search.gallery import Match
from crossmodal.search.record import Described, Photo

FEW_BITS = 4  # of 64, by which copies in other sizes and qualities may differ
ASPECT = 0.05  # relative difference of width to height that a copy may have
# A look of nearly no edges, or nearly all one way, is that of any plain photo.
PLAIN = 6


@dataclass
class Group:
    """The best-ranked of some copies, its score, and the others, each with whether it is an exact copy."""

    best: Photo
    score: float
    copies: list[tuple[Photo, bool]] = field(default_factory=list)


def group_copies(ranked: Iterable[Match], count: int) -> list[Group]:
    """Return the first `count` groups of ranked photos in their order; only as many are read as that takes."""
    groups: list[Group] = []
    by_digest: dict[bytes, Group] = {}
    for photo, score, _ in ranked:
        digest = photo.described.digest
        known = by_digest.get(digest)
        group = known or next((group for group in groups if look_alike(group.best.described, photo.described)), None)
        if group is not None:
            group.copies.append((photo, known is not None))
        elif len(groups) == count:
            break
        else:
            groups.append(group := Group(photo, score))
        by_digest[digest] = group
    return groups


def look_alike(one: Described, other: Described) -> bool:
    """Say whether two photos are copies by their looks and shapes."""
    if not PLAIN <= (one.look & (1 << 64) - 1).bit_count() <= 64 - PLAIN:
        return False
    if ((one.look ^ other.look) & (1 << 64) - 1).bit_count() > FEW_BITS:
        return False
    ratios = one.width / one.height, other.width / other.height
    return abs(ratios[0] - ratios[1]) <= ASPECT * max(ratios)
