"""The one search: queries and answers over any gallery, for the page, the API and the command line alike."""

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossmodal.data.names import is_photo
from crossmodal.encoding.runtime import Runtime
from crossmodal.errors import CrossmodalError, PhotoError, UnknownNameError, UnknownPhotoError
from crossmodal.files import stays_below
from crossmodal.search.albums import Albums
from crossmodal.search.captions import CaptionList, different
from crossmodal.search.copies import Group, group_copies
from crossmodal.search.facets import Facet, Spot
from crossmodal.search.feedback import feedback
from crossmodal.search.filters import NO_FILTERS, Filters
from crossmodal.search.folders import as_spelled
from crossmodal.search.gallery import UNKNOWN_PHOTO, Gallery, Match
from crossmodal.search.hit import Answer, CaptionHit, Copy, Hit
from crossmodal.search.language import mostly_unknown, vocabulary_of
from crossmodal.search.query import LIGHTEST_PHOTO, Query, Term, checked_weight, parse_terms
from crossmodal.search.record import Photo
from crossmodal.search.typed import Understood, understood
from crossmodal.search.word_file import WordFile
from crossmodal.search.word_weights import WordWeights, word_weights
from crossmodal.search.wording import PLACES, kept_of
from crossmodal.search.words import expanded

if TYPE_CHECKING:
    from PIL import Image

NOTHING: Mapping[str, tuple[str, ...]] = {}
INDEXED = "index it with `python -m crossmodal index DIR`, and name it with --photos DIR."
FETCHED = 4  # how many times the photos asked for are looked at for copies, at first


def _opens(path: Path) -> bool:
    """Say whether a file has the header of a photo; stores of files by content leave out endings."""
    from crossmodal.data.decoding import opened_photo

    try:
        with opened_photo(path, ""):
            return True
    except PhotoError:
        return False


class Search:
    """A gallery, and the runtime of the model that made it, which encodes queries."""

    def __init__(self, gallery: Gallery, runtime: Runtime) -> None:
        self.gallery, self.runtime = gallery, runtime
        self._everyday: CaptionList | None = None
        self._words = WordFile(gallery.about.words) if gallery.about.words else None
        self._albums = gallery.albums() if gallery.about.albums else None
        self._lock = threading.Lock()

    # --- queries ---

    def query(
        self,
        text: str | Sequence[Term] = "",
        image: np.ndarray | None = None,
        image_weight: float = 1.0,
        like: str | None = None,
        more: Sequence[str] = (),
        less: Sequence[str] = (),
    ) -> Query:
        """Turn words, a photo, a photo of the gallery (`like`, its id), or several of them into a query.

        Words may be terms with signs and weights, as text or parsed, and name what the gallery was taught; `image` is a vector
        that `encode_photo` gives. `more` and `less` are ids of photos to find more, or fewer, like. Raises
        CrossmodalError when there is nothing to look for, UnknownPhotoError for an unknown id.
        """
        typed = list(text) if not isinstance(text, str) else parse_terms(text) if text.strip() else []
        terms, learned = self.with_taught(typed)
        photos = [] if image is None else [image]
        photos += [] if like is None else [self.gallery.vector(like)]
        checked_weight(image_weight, "the photo", LIGHTEST_PHOTO)
        sentences = self.runtime.encode_sentences([term.text for term in terms]) if terms else None
        judged = feedback(*([self.gallery.vector(one) for one in ids] for ids in (more, less)))
        return Query.of(terms, sentences, [*((photo, image_weight) for photo in photos), *learned, *judged], typed)

    def understood(self, *texts: str) -> Understood:
        """Take the filters that stand in words out of them; several texts add up. Raises as crossmodal.search.typed does."""
        albums = self._albums
        query_of = (lambda name: albums.entry(name).query) if albums else None
        read = [understood(text, self.gallery, query_of=query_of) for text in texts]
        return reduce(Understood.and_also, read) if read else Understood()

    def narrowed(self, text: str, filters: Filters) -> Filters:
        """Return the filters that stand in some words, if there are any, within others; raises as `understood`."""
        return self.understood(text).within(filters) if text.strip() else filters

    @property
    def albums(self) -> Albums:
        """The searches that are saved with the gallery; raises UnknownNameError for a gallery that keeps none."""
        if self._albums is None:
            raise UnknownNameError(
                f"Albums are kept with a gallery in Milvus, and with an indexed folder of photos: {INDEXED}"
            )
        return self._albums

    @property
    def taught(self) -> WordFile:
        """The words that the gallery was taught; raises CrossmodalError for a gallery that cannot be taught any."""
        if self._words is None:
            raise CrossmodalError(f"Words are taught to an indexed folder of photos: {INDEXED}")
        return self._words

    def with_taught(self, terms: Sequence[Term]) -> tuple[list[Term], list[tuple[np.ndarray, float]]]:
        """Return terms whose taught words are replaced by what they are, and what these add to a query, with weights."""
        words = self._words.entries() if self._words else {}
        return expanded(terms, words.values(), self.gallery.about.fingerprint)

    def encode_photo(self, photo: "Path | bytes | Image.Image", name: str | None = None) -> np.ndarray:
        """Return a photo's unit vector [D]; raises PhotoError for a broken one, and BusyError for bytes where many are decoded."""
        prepare = self.runtime.preprocessing
        if isinstance(photo, bytes):  # which came from elsewhere, and is decoded in a process of its own
            from crossmodal.data.decoders import uploads
            from crossmodal.data.prepared import Wanted

            pixels = uploads()(photo, Wanted(prepare, label=name or "The photo")).pixels
        else:
            from crossmodal.data.decoding import load_photo

            image = load_photo(photo, at_least=prepare.size, name=name) if isinstance(photo, Path) else photo
            pixels = prepare.array(image)
        assert pixels is not None
        return self.runtime.encode_pixels(pixels[None])[0]

    # --- answers ---

    def answer(
        self, understood: Understood, query: Query | None = None, count: int = 10, filters: Filters = NO_FILTERS,
        by_date: bool = False, cut_off: bool = True, group: bool = True, explain: bool = False,
    ) -> Answer:  # fmt: skip
        """Answer what was understood of some words; the rest is as in `photos`, and `filters` count beside those in the words.

        `query` is what is asked where photos stand beside the words, or where the words are encoded already; without it the words
        alone are asked. Words that are nothing but filters list the newest photos that pass. With `explain` the hits have the
        weights of the words.
        """
        filters = understood.within(filters)
        query = self.query(understood.terms) if query is None and understood.terms else query
        if query:
            found = self.photos(query, count, filters, by_date, cut_off, group)
        else:
            applied, others = self._applied(filters)
            found = Answer(tuple(self.newest(count, applied)), self.gallery.count(applied), not_applied=others)
        if explain and query:
            weights = self.word_weights(query, [hit.id for hit in found.hits])
            hits = (replace(hit, word_weights=one) for hit, one in zip(found.hits, weights, strict=True))
            found = replace(found, hits=tuple(hits))
        unexplained = explain and not (query and query.terms)
        return replace(found, query=query, understood=understood.pieces, unexplained=unexplained)

    def photos(
        self, query: Query, count: int = 10, filters: Filters = NO_FILTERS, by_date: bool = False, cut_off: bool = True,
        group: bool = True, without: str | None = None,
    ) -> Answer:  # fmt: skip
        """Return the photos most similar to a query, best first, or the newest of those first with `by_date`.

        Copies of a photo are put under the best-ranked of them with `group`. With `cut_off` nothing comes back
        where nothing looks like the query, and photos that do not are left out, for the kinds of queries that
        the gallery's cut-off is calibrated for; a photo of which all words of the query are written is shown whatever it
        looks like. `without` is the id of a photo that is left out. Filters of fields that the gallery does not know are
        not applied, and the answer names them.
        """
        about, (filters, not_applied) = self.gallery.about, self._applied(filters)
        passing = self.gallery.count(filters)
        wanted = count + (without is not None)
        group = group and "look" in about.fields
        asked = FETCHED * wanted if group else wanted
        written = self.gallery.written(query.typed, query.vector, filters, bool(query.terms)) if passing else []
        asked = max(asked, PLACES) if written else asked
        while True:
            found = self._nearest(query, min(asked, passing), filters)
            kept, alike = kept_of(found, written, lambda scores: self._worth(scores, passing, query, cut_off))
            # A gallery may give fewer than it is asked for, and then has no more.
            ended = len(found) < asked or alike < len(found)
            groups = group_copies(kept, wanted) if group else [Group(one.photo, one.score) for one in kept[:wanted]]
            if ended or len(groups) == wanted:
                break
            asked *= 4
        said = {one.match.photo.path: one.words for one in written}
        # With the photo go its copies, which are the same picture.
        others = (hit for hit in self._hits(groups, said) if without not in (hit.id, *(copy.id for copy in hit.copies)))
        hits = list(islice(others, count))
        if by_date and "date" in about.fields:
            hits.sort(key=lambda hit: -hit.photo.date)
        else:
            not_applied += ("by_date",) if by_date else ()
        words = " ".join(term.text for term in query.terms)
        known = not words or any(one.whole for one in written)
        unknown = not known and mostly_unknown(words, vocabulary_of(about))
        return Answer(tuple(hits), passing, len(kept) if alike < len(found) else None, not_applied, unknown)

    def _applied(self, filters: Filters) -> tuple[Filters, tuple[str, ...]]:
        """Return the filters that the gallery can apply, folders as it spells them, and the names of the others."""
        filters.check()
        known, others = filters.only(self.gallery.about.fields)
        return as_spelled(known, self.gallery), others

    def count(self, query: Query | None, filters: Filters = NO_FILTERS) -> int:
        """Return how many photos pass, and of these look like the query, if there is one; copies count each."""
        filters, _ = self._applied(filters)
        passing = self.gallery.count(filters)
        if query is None or not passing:
            return passing
        found = self._nearest(query, passing, filters)
        written = self.gallery.written(query.typed, query.vector, filters, bool(query.terms))
        return len(kept_of(found, written, lambda scores: self._worth(scores, passing, query, True))[0])

    def facet(self, facet: Facet, filters: Filters = NO_FILTERS) -> dict[str, int]:
        """Return how many photos that pass are of each month, or found by each name of a place, as Gallery.facet says."""
        return self.gallery.facet(facet, self._applied(filters)[0])

    def spots(self, filters: Filters = NO_FILTERS) -> list[Spot]:
        """Return where the photos that pass were taken, by place."""
        return self.gallery.spots(self._applied(filters)[0])

    def _nearest(self, query: Query, most: int, filters: Filters) -> list[Match]:
        return self.gallery.nearest(query.vector, most, filters, bool(query.terms)) if most else []

    def _worth(self, scores: list[float], passing: int, query: Query, cut_off: bool) -> int:
        """Return how many of some scores, best first, are of photos that look like the query; all without a cut-off."""
        limits = self.gallery.about.cutoff if cut_off else None
        return len(scores) if limits is None else limits.worth_showing(scores, passing, query.calibration)

    def newest(self, count: int, filters: Filters = NO_FILTERS) -> list[Hit]:
        """Return photos to show before anything is asked, without scores."""
        filters, _ = self._applied(filters)
        return list(self._hits(Group(photo, 0.0) for photo in self.gallery.newest(count, filters)))

    def hit(self, photo_id: str, score: float = 0.0) -> Hit:
        """Return a photo as a hit; raises UnknownPhotoError."""
        return self._hit(Group(self.gallery.photo(photo_id), score))

    def _hits(self, groups: Iterable[Group], words: Mapping[str, tuple[str, ...]] = NOTHING) -> Iterator[Hit]:
        """Yield hits, with the query's words that are written of them by path; a photo whose file is not to be shown is left out."""
        for group in groups:
            with contextlib.suppress(UnknownPhotoError):
                yield self._hit(group, words.get(group.best.path, ()))

    def _hit(self, group: Group, words: tuple[str, ...] = ()) -> Hit:
        gallery, about = self.gallery, self.gallery.about
        copies = tuple(Copy(gallery.id_of(photo), photo, exact) for photo, exact in group.copies)
        return Hit(
            gallery.id_of(group.best), group.score, group.best, self.path(group.best), copies, about.fields, words
        )  # fmt: skip

    def word_weights(self, query: Query, photo_ids: Sequence[str]) -> list[WordWeights]:
        """Return for each photo how much each word of a query counts; a taught word stands as its kind.

        Raises UnknownPhotoError.
        """
        if not photo_ids or not query.terms:
            return [() for _ in photo_ids]
        vectors = np.stack([self.gallery.vector(one) for one in photo_ids])
        return word_weights(self.runtime.encode_sentences, query.terms, vectors)

    def path(self, photo: Photo) -> Path:
        """Return the file of a photo.

        An index, and a run's embeddings, may be untrusted: raises UnknownPhotoError for a path that leaves the gallery's folder,
        and for a file, or the target of a link, that is no photo by its name or header.
        """
        path = self.gallery.about.root / photo.path
        # Only where the file itself is a link has its target another name; to resolve each folder takes longer than the search.
        real = os.path.realpath(path) if os.path.islink(path) else str(path)
        if not stays_below(photo.path) or not (is_photo(real) or _opens(Path(real))):
            raise UnknownPhotoError(UNKNOWN_PHOTO)
        return path

    def captions(self, query: Query, count: int = 10, among: CaptionList | None = None) -> list[CaptionHit]:
        """Return the captions most similar to a query, best first, of which no two say the same.

        They are those of `among`, else the gallery's own, else everyday scenes.
        """
        if among is None and not self.gallery.about.has_captions:
            among = self.everyday
        nearest = self.gallery.captions if among is None else among.nearest
        return [CaptionHit(one.caption, one.score, one.photo) for one in different(nearest, query.vector, count)]

    @property
    def everyday(self) -> CaptionList:
        """Everyday scenes, the captions of photos that have none of their own; encoded when they are first asked for."""
        with self._lock:
            self._everyday = self._everyday or CaptionList.everyday(self.gallery.about, self.runtime.encode_sentences)
            return self._everyday

    def close(self) -> None:
        """Close the gallery."""
        self.gallery.close()
