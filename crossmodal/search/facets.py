"""Facets: how many photos there are of each month, and of each place, to narrow a search by."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

import numpy as np

from crossmodal.search.filters import MATCHES, YEARS
from crossmodal.search.record import Photo

Facet = Literal["month", "place"]
FIELD_OF: Mapping[Facet, str] = {"month": "date", "place": "place"}  # the field of a record that it comes from
MOST_PLACES = 200  # that are listed, those of most photos


@dataclass(frozen=True)
class Coded:
    """What photos say of a facet: the different values, in order, and which of them each photo has [N], -1 for none."""

    values: tuple[str, ...]
    codes: np.ndarray

    @staticmethod
    def of(photos: Sequence[Photo], facet: Facet) -> "Coded":
        """Read all photos; a photo of no month that a filter can ask for has none, as one of no known place."""
        said = [month_of(photo.date) if facet == "month" else photo.described.place for photo in photos]
        values = tuple(sorted({*said} - {""}))
        number = {value: code for code, value in enumerate(values)}
        return Coded(values, np.array([number.get(value, -1) for value in said], dtype=np.int32))

    def counts(self, among: np.ndarray | None) -> dict[str, int]:
        """Return how many photos have each value, of those of a mask [N]; values that none has are left out."""
        codes = self.codes if among is None else self.codes[among]
        counts = np.bincount(codes[codes >= 0], minlength=len(self.values)).tolist()
        return {value: count for value, count in zip(self.values, counts, strict=True) if count}


def month_of(seconds: float) -> str:
    """Return the month of a time ("2023-06", local time), "" where no filter could ask for it."""
    taken = datetime.fromtimestamp(seconds)
    return f"{taken.year}-{taken.month:02}" if YEARS[0] <= taken.year <= YEARS[1] else ""


def counted(photos: Iterable[Photo]) -> dict[Facet, dict[str, int]]:
    """Return how many photos are of each month, and found by each name of a place, without keeping them in memory."""
    months, places = Counter[str](), Counter[str]()
    for photo in photos:
        months[month_of(photo.date)] += 1
        places[photo.described.place] += 1
    del months[""], places[""]
    return {"month": dict(sorted(months.items())), "place": names_of_places(places)}


class Spot(NamedTuple):
    """A town, or what else a place begins with: where its photos were taken on average, in degrees, and how many they are."""

    name: str
    latitude: float
    longitude: float
    photos: int


def positions_of(photos: Sequence[Photo]) -> np.ndarray:
    """Return latitudes and longitudes [N, 2], NaN where a camera wrote none."""
    said = [(photo.described.latitude, photo.described.longitude) for photo in photos]
    return np.array(said, dtype=np.float64).reshape(-1, 2)


def spots_of(places: Coded, positions: np.ndarray, among: np.ndarray | None) -> list[Spot]:
    """Return the places with the positions [N, 2] of their photos, of those of a mask [N]; those of most photos first.

    They are told to a hundredth of a degree, about a kilometre: a map shows no more, and an address is nobody's business.
    """
    there = (places.codes >= 0) & ~np.isnan(positions[:, 0])
    there = there if among is None else there & among
    codes, size = places.codes[there], len(places.values)
    counts = np.bincount(codes, minlength=size)
    means = [np.bincount(codes, positions[there, side], size) / np.maximum(counts, 1) for side in (0, 1)]
    found = [
        Spot(place.partition(", ")[0], round(latitude, 2), round(longitude, 2), count)
        for place, latitude, longitude, count in zip(places.values, *(mean.tolist() for mean in means), counts.tolist(), strict=True)
        if count and '"' not in place.partition(", ")[0]
    ]  # fmt: skip
    return sorted(found, key=lambda spot: (-spot.photos, spot.name))[:MOST_PLACES]


def names_of_places(counts: Mapping[str, int]) -> dict[str, int]:
    """Return how many photos each name of a place finds as a filter, those of most first, by counts of whole places.

    A place is named from its town to its country, with commas, and is found by each of these names, and by a part of them. A name with
    a quotation mark cannot be typed, and is left out.
    """
    exactly: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for place, count in counts.items():
        for name in {name for name in place.split(", ") if name and '"' not in name}:
            exactly[spelled.setdefault(name.casefold(), name)] += count
    contains = MATCHES["contains"]
    listed = [name for name, _ in sorted(exactly.items(), key=lambda one: (-one[1], one[0]))[:MOST_PLACES]]
    found = {name: sum(count for place, count in counts.items() if contains(place, name)) for name in listed}
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))
