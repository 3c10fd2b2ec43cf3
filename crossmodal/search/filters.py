"""Which photos may be found. A filter is declared here once: every door and every gallery reads it from `Filters`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, time, timedelta
from functools import cache
from math import ceil
from typing import Any, Literal

import numpy as np

from crossmodal.data.limits import KEYWORDS
from crossmodal.errors import CrossmodalError
from crossmodal.search.record import FIELDS, ORIENTATIONS, Photo

Comparison = Literal[">=", "<", "==", "contains", "begins", "has"]
MATCHES: Mapping[Comparison, Callable[[Any, Any], bool]] = {
    ">=": lambda value, asked: value >= asked,
    "<": lambda value, asked: value < asked,
    "==": lambda value, asked: value == asked,
    "contains": lambda value, asked: asked.casefold() in value.casefold(),
    "begins": lambda value, asked: value.startswith(asked),
    "has": lambda value, asked: asked.casefold() in value.casefold().split(KEYWORDS),
}
# Outside of these years no photo is dated, and a system's clock functions may fail.
YEARS = (1900, 2400)


Kind = Literal["day", "number", "choice", "text"]


@dataclass(frozen=True)
class FilterKind:
    """A filter as a door shows it: its name, what it takes, words for it, the field that it reads, how it begins in words."""

    name: str
    kind: Kind
    label: str
    help: str
    choices: tuple[str, ...]
    field: str
    typed: str

    @property
    def chosen_from(self) -> str | None:
        """The field whose values a door offers, or whose first and last day; None for a filter that takes any number, or `choices`."""
        if self.kind == "day":
            return self.field
        return (self.name if self.name in FIELDS else self.field) if self.kind == "text" else None


@dataclass(frozen=True)
class Condition:
    """A comparison of a record's field with values, one of which must hold; a photo passes when all conditions do."""

    field: str
    comparison: Comparison
    values: tuple[Any, ...]

    def holds(self, photo: Photo) -> bool:
        """Say whether a photo meets it."""
        value = FIELDS[self.field].of(photo)
        return any(MATCHES[self.comparison](value, asked) for asked in self.values)


def _filter(
    kind: Kind,
    label: str,
    help_: str,
    of: str,
    comparison: Comparison,
    value: Callable[[Any], Any] = lambda asked: asked,
    choices: Sequence[str] = (),
    typed: str = "",
) -> Any:
    """Declare a filter: what it takes, how it is labelled and explained, which field compares how with which value.

    In the words of a query it begins with its name and a colon, and with what is `typed` for it.
    """
    shown_as = FilterKind("", kind, label, help_, tuple(choices), of, typed)
    return field(default=None, metadata={"kind": shown_as, "comparison": comparison, "value": value})


def several(value: Any) -> tuple[Any, ...]:
    """Return the values of a filter that takes one or some."""
    return value if isinstance(value, tuple) else () if value is None else (value,)


def below(folder: str) -> str:
    """Return what the path of every photo in a folder, or below it, begins with."""
    folder = folder.strip("/")
    return "" if folder in ("", ".") else f"{folder}/"


def _start(day: date) -> float:
    """Return when a day begins, in seconds of local time; infinite outside of the years that photos are dated in."""
    if not YEARS[0] <= day.year <= YEARS[1]:
        return float("-inf") if day.year < YEARS[0] else float("inf")
    return datetime.combine(day, time()).timestamp()


def _end(day: date) -> float:
    return _start(day + timedelta(days=1)) if day < date.max else float("inf")


Texts = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Filters:
    """What a photo must be; None lets every photo pass. Of several texts one is enough."""

    folder: Texts = _filter(
        "text", "Folder", "only photos in this folder and below it, from the top folder", "path", "begins", below
    )
    after: date | None = _filter("day", "Taken from", "taken on this day or later", "date", ">=", _start)
    before: date | None = _filter("day", "Taken until", "taken on this day or earlier", "date", "<", _end)
    megapixels: float | None = _filter(
        "number", "Megapixels", "of at least so many megapixels", "pixels", ">=", lambda million: ceil(million * 1e6)
    )
    orientation: Texts = _filter(
        "choice", "Orientation", "landscape, portrait or square", "orientation", "==", choices=ORIENTATIONS
    )
    camera: Texts = _filter("text", "Camera", "a part of the camera's name", "camera", "contains")
    place: Texts = _filter("text", "Place", "a part of the place's name", "place", "contains", typed="in")
    keywords: Texts = _filter(
        "text", "Keyword", "a keyword that is written in the photo", "keywords", "has", typed="keyword"
    )

    def given(self) -> dict[str, Any]:
        """Return the filters that ask for something, with their values."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) not in (None, "", ())}

    def only(self, known: frozenset[str]) -> tuple["Filters", tuple[str, ...]]:
        """Return the filters that a gallery can apply, by the fields that it knows, and the names of the others."""
        can = {one.name for one in filters_on(known)}
        given = self.given()
        others = tuple(name for name in given if name not in can)
        return Filters(**{name: value for name, value in given.items() if name in can}), others

    def check(self) -> None:
        """Raise CrossmodalError for values that nothing can be."""
        for one in fields(self):
            value, choices = getattr(self, one.name), one.metadata["kind"].choices
            unknown = [asked for asked in several(value) if choices and asked not in choices]
            if unknown:
                raise CrossmodalError(f"The {one.name} {unknown[0]} is not known; there is {', '.join(choices)}.")
        if self.megapixels is not None and not 0 <= self.megapixels < 1e6:
            raise CrossmodalError(f"{self.megapixels} is not a number of megapixels.")
        if self.after and self.before and self.after > self.before:
            raise CrossmodalError(f"Nothing was taken after {self.after} and before {self.before}.")

    def conditions(self) -> Iterator[Condition]:
        """Yield what has to hold; raises CrossmodalError as `check` does."""
        self.check()
        for one in fields(self):
            asked = getattr(self, one.name)
            if asked not in (None, "", ()):
                values = tuple(map(one.metadata["value"], several(asked)))
                yield Condition(one.metadata["kind"].field, one.metadata["comparison"], values)

    def mask(self, photos: Sequence[Photo]) -> np.ndarray | None:
        """Return which photos pass [N], or None where all do."""
        conditions = list(self.conditions())
        if not conditions:
            return None
        return np.fromiter((all(one.holds(photo) for one in conditions) for photo in photos), bool, len(photos))


NO_FILTERS = Filters()


@cache
def filters_on(known: frozenset[str] = frozenset(FIELDS)) -> tuple[FilterKind, ...]:
    """Return the filters that photos can be narrowed by where these fields of a record are known."""
    declared = ((one.name, one.metadata["kind"]) for one in fields(Filters))
    kinds = (replace(kind, name=name, typed=kind.typed or name) for name, kind in declared)
    return tuple(kind for kind in kinds if kind.field in known)
