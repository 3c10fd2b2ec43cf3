"""Examples of queries that fit a gallery."""

from collections.abc import Iterable, Iterator
from itertools import islice

from crossmodal.errors import CheckpointError
from crossmodal.search.captions import CaptionList
from crossmodal.search.gallery import Gallery

EXAMPLES = 4
LONGEST = 38  # characters of a caption that fits on a button
LOOKED_AT = 40  # photos
ANYWHERE = ("two dogs in the snow", "a red car on a street", "a boat at sunset", "children playing in a park")


def examples(gallery: Gallery) -> tuple[str, ...]:
    """Return a few queries that photos of the gallery answer: captions of its own, else everyday scenes."""
    found = _captions(gallery) if gallery.about.has_captions else _scenes(gallery)
    return tuple(islice(_different(found), EXAMPLES)) or ANYWHERE


def _captions(gallery: Gallery) -> Iterator[str]:
    for photo in gallery.newest(LOOKED_AT):
        yield from (caption for caption in sorted(photo.captions, key=len)[:1] if len(caption) <= LONGEST)


def _scenes(gallery: Gallery) -> Iterator[str]:
    """Yield everyday scenes that look like some photos, where the model's embeddings of the scenes are on disk."""
    try:
        scenes = CaptionList.stored(gallery.about)
    except CheckpointError:
        return
    photos = gallery.newest(LOOKED_AT)
    best = [scenes.nearest(gallery.vector(gallery.id_of(photo)), 1)[0] for photo in photos]
    for match in sorted(best, key=lambda match: -match.score):
        yield match.caption.removeprefix("A photo of ").removesuffix(".")


def _different(sentences: Iterable[str]) -> Iterator[str]:
    """Yield each sentence without its full stop unless one before it begins alike."""
    begun: set[str] = set()
    for sentence in sentences:
        words = sentence.strip().rstrip(" .").lower()
        beginning = " ".join(words.split()[:2])
        if words and beginning not in begun:
            begun.add(beginning)
            yield words
