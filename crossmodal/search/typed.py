"""Filters and albums that stand in the words of a query: beach 2023 in:lisbon -people camera:nikon album:Family."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from crossmodal.errors import CrossmodalError
from crossmodal.search.dates import DATE, FIRST_YEAR, days_of, is_bare_year
from crossmodal.search.facets import Facet
from crossmodal.search.filters import NO_FILTERS, FilterKind, Filters, filters_on, several
from crossmodal.search.folders import known_folders
from crossmodal.search.gallery import Gallery
from crossmodal.search.query import Term, parse_terms, replaced_surrogates

QueryOf = Callable[[str], str]
DATE_KIND, UNWANTED = "date", "unwanted"
ALBUM = "album"  # begins the name of a saved search
KINDS = {name: kind for kind in filters_on() for name in (kind.name, kind.typed)}
VALUE = r'(?:"[^"]*"|[^\s",])+'
# What stands in quotation marks is words. A sign right before a word takes that word away.
PIECE = re.compile(
    rf"(?<!\S)(?P<sign>-?)(?P<key>{'|'.join((*KINDS, ALBUM))}):(?P<values>{VALUE}(?:,{VALUE})*)"
    rf'|(?<!\S)-(?P<unwanted>"[^"]+"|[^\W\d_]\S*)|"[^"]*"|{DATE}',
    re.IGNORECASE,
)
IDLE_SIGNS = re.compile(r"(?:^|\s+)[+-](?=\s+[+-](?:\s|$)|\s*$)|^\s*\+\s")


@dataclass(frozen=True)
class Piece:
    """A piece of a query that is more than words: as it was typed, what it is understood as, and of which kind it is.

    The kind is the filter's name, DATE_KIND for a date in words, ALBUM for a saved search, UNWANTED for a word taken away.
    """

    text: str
    meaning: str
    kind: str


@dataclass(frozen=True)
class Understood:
    """A query as it is understood: the terms to look for, none where only filters were typed, and the filters."""

    terms: tuple[Term, ...] = ()
    filters: Filters = NO_FILTERS
    pieces: tuple[Piece, ...] = ()

    def within(self, others: Filters) -> Filters:
        """Return these filters and others; of the same one that in the words counts, and of dates both."""
        given = others.given() | self.filters.given()
        if days := [day for day in (others.after, self.filters.after) if day]:
            given["after"] = max(days)
        if days := [day for day in (others.before, self.filters.before) if day]:
            given["before"] = min(days)
        return Filters(**given)

    def and_also(self, other: "Understood") -> "Understood":
        """Return two queries as one."""
        return Understood((*self.terms, *other.terms), other.within(self.filters), (*self.pieces, *other.pieces))


def understood(text: str, gallery: Gallery, today: date | None = None, query_of: QueryOf | None = None) -> Understood:
    """Take the filters out of a query; of dates, where the gallery knows them, the first.

    A bare year is a date where photos are of that year. `query_of` returns the query of an album by its name; what it asks for is
    asked for with the rest. Raises CrossmodalError for a value that its filter cannot have, and as `parse_terms` does.
    """
    text = replaced_surrogates(text)
    if not has_pieces(text):
        return Understood(tuple(parse_terms(text.strip())))
    reader = _Reader(gallery, today or date.today(), query_of)
    words = PIECE.sub(reader.read, text)
    if reader.pieces:
        words = IDLE_SIGNS.sub("", " ".join(words.split()))
    words = " ".join([words.strip(), *(f"- {word}" for word in reader.unwanted)]).strip()
    terms = () if reader.pieces and not words else tuple(parse_terms(words))
    return reader.albums.and_also(Understood(terms, Filters(**reader.values), tuple(reader.pieces)))


def has_pieces(text: str) -> bool:
    """Say whether something in a query may be a filter, an album, a date or a word to take away; else it is words alone."""
    return any(match.lastgroup for match in PIECE.finditer(text))


def spelled(key: str, value: str) -> str:
    """Return a filter as it is typed; raises CrossmodalError for a value that cannot be, since it has a quotation mark."""
    if '"' in value:
        raise CrossmodalError(f"{value!r:.80} cannot stand in a query, since it has a quotation mark.")
    return f"{key}:{value}" if re.fullmatch(VALUE, value) else f'{key}:"{value}"'


def with_filters(text: str, read: Understood, filters: Filters) -> str:
    """Return a query, which is understood as `read`, with those of other filters in its words that narrow it further.

    Raises as `spelled`.
    """
    together, own = read.within(filters).given(), read.filters.given()
    kinds = {kind.name: kind for kind in filters_on()}
    pieces = [_typed(kinds[name], value) for name, value in together.items() if value != own.get(name)]
    return " ".join([text, *pieces]).strip()


def facet_typed(facet: Facet, value: str) -> str:
    """Return the filter that narrows a query to a month, a year or a name of a place, as it is typed."""
    return spelled("in", value) if facet == "place" else value


def without(text: str, pieces: Iterable[Piece]) -> str:
    """Return a query without some of its pieces."""
    for piece in pieces:
        text = re.sub(rf"(?<![\w:/.,-]){re.escape(piece.text)}", " ", text, count=1)
    return " ".join(text.split())


def _typed(kind: FilterKind, value: Any) -> str:
    if kind.kind == "number":
        return f"{kind.typed}:{value:g}"
    top = "/" if kind.name == "folder" else ""  # which no other folder of its name is meant by
    values = [spelled(kind.typed, top + str(one)).partition(":")[2] for one in several(value)]
    return f"{kind.typed}:{','.join(values)}"


class _Reader:
    """Reads the pieces of one query."""

    def __init__(self, gallery: Gallery, today: date, query_of: QueryOf | None) -> None:
        self._gallery, self._today, self._query_of = gallery, today, query_of
        self.albums = Understood()
        self.values: dict[str, Any] = {}
        self.pieces: list[Piece] = []
        self.unwanted: list[str] = []
        self._dated = False

    def read(self, match: re.Match[str]) -> str:
        """Return what stays in the words in place of a piece."""
        if match["key"]:
            return self._filter(match)
        if match["unwanted"]:
            word = match["unwanted"].strip('"')
            self.unwanted.append(word)
            self.pieces.append(Piece(match[0], f"Without: {word}", UNWANTED))
            return " "
        return self._date(match) if match["date"] else match[0]

    def _filter(self, match: re.Match[str]) -> str:
        if match["sign"]:
            raise CrossmodalError(f"{match[0]} cannot be read: filters narrow a search, and none can be taken away.")
        values = [value.replace('"', "") for value in re.findall(VALUE, match["values"])]
        if match["key"].casefold() == ALBUM:
            return self._album(match[0], values)
        kind = KINDS[match["key"].casefold()]
        read: dict[str, Callable[[], Any]] = {
            "day": lambda: self._day(kind, match[0], values), "number": lambda: _number(match[0], values),
            "choice": lambda: tuple(value.casefold() for value in values), "text": lambda: self._texts(kind, values),
        }  # fmt: skip
        value = self.values[kind.name] = read[kind.kind]()
        said = " or ".join(value) if isinstance(value, tuple) else str(value)
        self.pieces.append(Piece(match[0], f"{kind.label}: {said}", kind.name))
        return " "

    def _album(self, text: str, values: list[str]) -> str:
        if len(values) != 1:
            raise CrossmodalError(
                f'{text} cannot be read; name one album, in quotation marks: album:"ours, and theirs".'
            )
        if self._query_of is None:
            raise CrossmodalError(
                f"{text} cannot be opened: albums are kept with an indexed folder of photos or a gallery in Milvus, and hold no others."
            )
        query = self._query_of(values[0])
        held = understood(query, self._gallery, self._today)
        self.albums = self.albums.and_also(replace(held, pieces=()))
        self.pieces.append(Piece(text, f"Album: {query}", ALBUM))
        return " "

    def _day(self, kind: FilterKind, text: str, values: list[str]) -> date:
        days = days_of(values[0], self._today) if len(values) == 1 else None
        if days is None:
            raise CrossmodalError(
                f'{text} is no date; write it as {kind.name}:2024-08-31, or {kind.name}:"last summer".'
            )
        # As the filters say it, a day is one that passes; of what is longer, nothing does that is before it.
        if kind.name == "before" and days[0] < days[1]:
            return max(days[0], date.min + timedelta(days=1)) - timedelta(days=1)
        return days[0]

    def _texts(self, kind: FilterKind, values: list[str]) -> tuple[str, ...]:
        before = self.values.get(kind.name, ())
        if kind.name == "folder" and "folder" in self._gallery.about.fields:
            values = [folder for value in values for folder in _folders(value, self._gallery)]
        return (*before, *values)

    def _date(self, match: re.Match[str]) -> str:
        text = match["date"]
        if self._dated or "date" not in self._gallery.about.fields:
            return match[0]
        days = days_of(text, self._today)
        if days is None or (is_bare_year(text) and not self._has_photos_of(days)):
            return match[0]
        self._dated = True
        first = max(filter(None, (self.values.get("after"), days[0])))
        last = min(filter(None, (self.values.get("before"), days[1])))
        self.values |= {"after": first, "before": last}
        self.pieces.append(
            Piece(
                match[0].strip(),
                f"Taken from {days[0]} until {days[1]}" if days[0] < days[1] else f"Taken on {days[0]}",
                DATE_KIND,
            )
        )
        return " "

    def _has_photos_of(self, days: tuple[date, date]) -> bool:
        there = FIRST_YEAR <= days[0].year <= self._today.year
        return there and self._gallery.count(Filters(after=days[0], before=days[1])) > 0


def _number(text: str, values: list[str]) -> float:
    try:
        (value,) = map(float, values)
        return value
    except ValueError:
        raise CrossmodalError(f"{text} cannot be read; give one number.") from None


def _folders(asked: str, gallery: Gallery) -> list[str]:
    """Return the folders of this name or path in any case, else those whose names hold it, else what was asked for.

    A path that begins with a slash is from the top.
    """
    known = sorted(known_folders(gallery))
    key = asked.strip("/").casefold()
    if asked.startswith("/"):
        return [one for one in known if one.casefold() == key] or [asked.strip("/")]
    same = [one for one in known if f"/{one.casefold()}".endswith(f"/{key}")]
    return same or [one for one in known if key in one.rpartition("/")[2].casefold()] or [asked]
