"""Albums of a gallery in Milvus: each is a row of what is said about the gallery, so that all its servers share them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from cachetools import TTLCache

from crossmodal.errors import CrossmodalError
from crossmodal.scale.milvus.connection import ALBUM, Milvus
from crossmodal.search.albums import FORM, MOST_ALBUMS, Album, Albums
from crossmodal.search.named_file import key_of

SECONDS_KEPT = 30.0  # that counts are kept, as a gallery in Milvus may be loaded anew meanwhile


class AlbumsInMilvus(Albums):
    """The albums of a gallery; of two that change one album at the same time the last one wins."""

    def __init__(self, milvus: Milvus) -> None:
        super().__init__(FORM)
        self._milvus = milvus
        self._counts = TTLCache(MOST_ALBUMS, SECONDS_KEPT)

    def entries(self) -> dict[str, Album]:
        """Return the albums by their keys, in the order they were added; raises UnavailableError."""
        try:
            rows = sorted((held["added"], held["name"], held["query"]) for held in self._milvus.albums().values())
            return {key_of(name): Album(name, query) for _, name, query in rows}
        except (KeyError, TypeError, AttributeError) as error:
            raise CrossmodalError(
                f"The albums of the gallery {self._milvus.name} are broken; load it again with --rebuild."
            ) from error

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Album]]:
        before = self.entries()
        kept = dict(before)
        yield kept
        new = {_row_of(key): FORM.plain(one) for key, one in kept.items() if before.get(key) != one}
        self._milvus.say_about({row: {**plain, "added": time.time()} for row, plain in new.items()})
        self._milvus.unsay([_row_of(key) for key in before if key not in kept])


def _row_of(key: str) -> str:
    """Return the key of a row, which holds fewer characters than a name may have."""
    return ALBUM + blake2b(key.encode(), digest_size=16).hexdigest()
