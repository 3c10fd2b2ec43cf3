"""The gallery of an indexed folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossmodal.errors import CrossmodalError
from crossmodal.files import shown
from crossmodal.photos.own_captions import OWN_CAPTIONS
from crossmodal.photos.store import Store
from crossmodal.photos.written import find
from crossmodal.search.albums import ALBUMS, AlbumFile, Albums
from crossmodal.search.cutoff import Cutoff, cutoff_folder
from crossmodal.search.filters import NO_FILTERS, Filters
from crossmodal.search.gallery import About, Match, Written
from crossmodal.search.in_memory import PhotosInMemory
from crossmodal.search.query import Term
from crossmodal.search.record import DESCRIBED
from crossmodal.search.vector_index import DAMAGED, WORTH_A_COPY, PlainIndex, scored
from crossmodal.search.word_file import WORDS
from crossmodal.unit_vectors import have_unit_length


class FolderGallery(PhotosInMemory):
    """An index as it was when it was opened; what is indexed later is in the next one that is opened."""

    def __init__(self, folder: Path, to_stay: bool = False) -> None:
        """Open the index in `folder`; with `to_stay` prepare for many searches where that pays.

        Raises CrossmodalError when there is no index, or it is damaged.
        """
        with Store(folder, writable=False) as store:
            photos, vectors, meta = list(store.photos()), store.vectors(), store.meta
            self.maker, root = store.maker, store.root
            store.check_words()
        self._folder = Path(folder)
        slots = np.array([photo.slot for photo in photos], dtype=np.int64)
        if len(slots) and slots.max() >= len(vectors):
            raise CrossmodalError(f"The index in {folder} has lost vectors; make it again with --rebuild.")
        if len(slots) != len(vectors) or not np.array_equal(slots, np.arange(len(slots))):
            vectors = np.ascontiguousarray(vectors[slots])
        unit, bias = (vectors[:, :-1], -vectors[:, -1]) if meta["bank"] else (vectors, None)
        calibrated = (
            Cutoff.read(cutoff_folder(self.maker.checkpoint, meta["fingerprint"])) if self.maker.published else None
        )
        about = About(
            shown(str(root)), root, meta["fingerprint"], Path(meta["checkpoint"]), meta["recipe"], DESCRIBED,
            calibrated or Cutoff.from_plain(meta.get("cutoff")), words=folder / WORDS, albums=True,
            own_captions=folder / OWN_CAPTIONS,
        )  # fmt: skip
        if not have_unit_length(unit):
            raise CrossmodalError(DAMAGED)
        super().__init__(about, photos, unit, PlainIndex(vectors), bias=bias)
        if to_stay and len(photos) >= WORTH_A_COPY:
            from crossmodal.search.coded_index import index_to_stay  # imports torch, which one search does without

            self.index = index_to_stay(vectors)

    def albums(self) -> Albums:
        """Return the albums in the file beside the index."""
        return AlbumFile(self._folder / ALBUMS)

    def written(
        self, terms: Sequence[Term], vector: np.ndarray, filters: Filters = NO_FILTERS, corrected: bool = False
    ) -> list[Written]:
        """Return the photos that pass of which words of each wanted term are written, as Gallery.written says."""
        among = self._among(filters)
        matches: list[Written] = []
        for path, whole, words in find(self._folder, terms):
            row = self._row_of_path.get(path)
            if row is None or not (among is None or among[row]):  # indexed since this was opened, or does not pass
                continue
            score = float(scored(self.vectors[row : row + 1], vector)[0])
            ranked_by = score if self.bias is None or not corrected else score - float(self.bias[row])
            matches.append(Written(Match(self.photos[row], score, ranked_by), words, whole))
        return sorted(matches, key=lambda one: (not one.whole, -len(one.words), -one.match.ranked_by))
