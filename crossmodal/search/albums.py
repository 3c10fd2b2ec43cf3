"""Albums: searches that are kept with an index under a name, and hold what answers them whenever they are opened."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cachetools import Cache, LRUCache

from crossmodal.errors import CrossmodalError, has_controls
from crossmodal.search.filters import NO_FILTERS, Filters
from crossmodal.search.named_file import Form, NamedFile, NamedThings, one_line
from crossmodal.search.query import LONGEST_QUERY
from crossmodal.search.typed import ALBUM, Understood, spelled, with_filters

if TYPE_CHECKING:
    from crossmodal.search.search import Search

ALBUMS = "albums.json"
MOST_BYTES = 4 << 20
MOST_ALBUMS = 256  # as many as counts are kept of


@dataclass(frozen=True)
class Album:
    """A name, and a query as it is typed: words with signs and weights, and filters among them."""

    name: str
    query: str

    def __post_init__(self) -> None:
        """Raise CrossmodalError for a name or a query that no album can have."""
        if one_line(self.name) != self.name:
            raise CrossmodalError(f"{self.name!r:.80} has more than single spaces.")
        if not 0 < len(self.query) <= LONGEST_QUERY or has_controls(self.query):
            raise CrossmodalError(f"The query of an album has 1 to {LONGEST_QUERY} characters, on one line.")
        _ = self.typed

    @property
    def typed(self) -> str:
        """The query that opens it."""
        return spelled(ALBUM, self.name)

    def renamed(self, name: str) -> "Album":
        """Return the album under another name; raises CrossmodalError for a name that no query could hold."""
        return replace(self, name=one_line(name))


def _album(plain: Mapping[str, Any]) -> Album:
    return Album(plain["name"], plain["query"])


FORM = Form("album", "save the albums again", MOST_BYTES, vars, _album)


class Albums(NamedThings[Album]):
    """The albums of a gallery, and how many photos they held when they were counted last."""

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self._counts: Cache[object, int] = LRUCache(MOST_ALBUMS)
        self._lock = threading.Lock()

    def count(self, album: Album, search: "Search") -> int:
        """Return how many photos an album holds now, copies included; counted once for as long as nothing changes.

        Where its words are not cut off, it holds all photos that pass its filters. Raises CrossmodalError for a query that can no
        longer be answered, as where its folder is gone.
        """
        key = album.query, date.today(), search.taught.state if search.gallery.about.words else None
        with self._lock:
            if key in self._counts:
                return self._counts[key]
        understood = search.understood(album.query)
        query = search.query(understood.terms) if understood.terms else None
        count = search.count(query, understood.filters)
        with self._lock:
            self._counts[key] = count
        return count


class AlbumFile(Albums, NamedFile[Album]):
    """The albums in a file beside an index."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, FORM)


def save_album(search: "Search", name: str, query: str, filters: Filters = NO_FILTERS) -> Album:
    """Keep a query, and filters that were chosen beside it, as an album; return it.

    Raises CrossmodalError for a name that an album has, a query that is empty, cannot be read or names an album, one album too many,
    and a gallery that keeps no albums.
    """
    albums, query = search.albums, " ".join(query.split())
    understood = search.understood(query) if query or not filters.given() else Understood()
    if any(piece.kind == ALBUM for piece in understood.pieces):
        raise CrossmodalError(
            "An album is not made of another one; open that one, and save its query with what you add."
        )
    if len(albums.entries()) >= MOST_ALBUMS:
        raise CrossmodalError(f"There are {MOST_ALBUMS} albums already; forget one first.")
    album = Album(one_line(name), with_filters(query, understood, filters))
    search.understood(album.query).filters.check()
    albums.add(album)
    return album
