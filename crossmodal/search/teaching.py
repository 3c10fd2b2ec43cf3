"""Teaching a gallery a word: from photos and a kind to what is kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossmodal.errors import CrossmodalError, UnknownPhotoError
from crossmodal.files import shown
from crossmodal.search.gallery import Gallery
from crossmodal.search.named_file import key_of
from crossmodal.search.query import Encode
from crossmodal.search.words import Word, checked_name, name_in_queries

if TYPE_CHECKING:
    from crossmodal.search.search import Search

OF_KIND = 50  # photos at most whose mean is what a kind looks like
SHARE = 10  # of this many photos one, at most: in a small gallery fewer show the kind
# Candidate kinds where none is given: what people have photos of.
KINDS = (
    "man", "woman", "boy", "girl", "baby", "group of people", "dog", "cat", "horse", "bird", "fish", "rabbit", "cow", "sheep",
    "car", "truck", "bus", "train", "motorcycle", "bicycle", "boat", "airplane", "house", "building", "church", "bridge", "tower",
    "statue", "street", "room", "kitchen", "garden", "tree", "flower", "mountain", "lake", "river", "beach", "forest", "field",
    "chair", "table", "bed", "bag", "hat", "shirt", "dress", "shoe", "cup", "bottle", "cake", "food", "fruit", "toy", "ball",
    "doll", "guitar", "book", "phone", "computer", "painting", "sign",
)  # fmt: skip


def teach(
    search: "Search",
    name: str,
    examples: Sequence[Path | str] = (),
    negatives: Sequence[Path | str] = (),
    kind: str | None = None,
) -> Word:
    """Teach a gallery a word, or more of one that it knows, and keep it; return it.

    `examples` are photos that show it, and `negatives` photos that do not, though they might seem to: paths of the gallery, or
    files of anywhere. Without a `kind` it is the one that it had, else the one of KINDS that its examples look most like. A photo
    that was given before may change sides. Raises CrossmodalError for a name or a kind that cannot stand in a query, for a word
    without examples and for a gallery that cannot be taught; PhotoError and UnknownPhotoError for photos.
    """
    file, fingerprint, encode = search.taught, search.gallery.about.fingerprint, search.runtime.encode_sentences
    name, kind = name_in_queries(name), checked_name(kind, "kind") if kind is not None else None
    before = file.entries().get(key_of(name))
    if before and before.fingerprint != fingerprint:  # its vectors say nothing to this model
        before = None
    shows, shows_not = _vectors(search, examples), _vectors(search, negatives)
    if both := shows.keys() & shows_not.keys():
        raise CrossmodalError(f"{min(both)} is said to show {name!r} and not to; give it once.")
    if before:
        old = {**before.examples}, {**before.negatives}
        shows = {path: vector for path, vector in old[0].items() if path not in shows_not} | shows
        shows_not = {path: vector for path, vector in old[1].items() if path not in shows} | shows_not
    if not shows:
        raise CrossmodalError(f"Nothing shows what {name!r} is; give a few photos of it, three to ten are enough.")
    kind = kind or (before.kind if before else guessed_kind(shows, encode))
    usual = usual_look(search.gallery, encode([kind])[0], shows)
    word = Word(name, kind, fingerprint, shows, shows_not, usual)
    file.keep(word)
    return word


def guessed_kind(examples: Mapping[str, np.ndarray], encode: Encode) -> str:
    """Return the kind that unit vectors [D] of photos look most like, on average."""
    scores = encode(KINDS) @ np.mean(list(examples.values()), axis=0)
    return KINDS[int(scores.argmax())]


def usual_look(gallery: Gallery, kind: np.ndarray, examples: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the mean vector [D] of the photos of a gallery that are most like a kind's unit vector [D], examples left out.

    Where the examples are most of their kind in this gallery, it is close to theirs, and the kind alone finds them. Where there
    are no other photos it is the examples' mean.
    """
    wanted = max(1, min(OF_KIND, gallery.count() // SHARE))
    found = gallery.nearest(kind, wanted + len(examples), corrected=True)
    others = [match.photo for match in found if match.photo.name not in examples][:wanted]
    vectors = [gallery.vector(gallery.id_of(photo)) for photo in others] or list(examples.values())
    return np.asarray(np.mean(vectors, axis=0), dtype=np.float32)


def _vectors(search: "Search", photos: Sequence[Path | str]) -> dict[str, np.ndarray]:
    """Return photos' unit vectors [D] by their names: paths from the root for those of the gallery, else their own paths."""
    found = {}
    for photo in photos:
        path = str(photo)
        try:
            one = search.gallery.id_at(path)
        except UnknownPhotoError:
            if not Path(path).is_file():
                raise
            found[shown(path)] = search.encode_photo(Path(path))
        else:
            found[search.gallery.photo(one).name] = search.gallery.vector(one)
    return found
