"""How well a taught word finds its photos, against plain words and the nearest neighbours of its examples.

    python -m benchmarks.teach                                        drawn scenes, whose contents are known
    python -m benchmarks.teach --captions captions.txt --images DIR   real photos, by what their captions agree on

A word is a colour of a kind ("brown dog"), taught from five photos under a name that says no colour. Its photos
are those that show it; for "NAME + scene", those in one place. Mean average precision over the gallery without
the examples. 'words' know the kind alone, 'told' the colour too, which is what a user without the feature would have
to find words for. STRENGTHS of the offset are tried on one half of the words, and the best is measured on the other.
"""

import argparse
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from crossmodal.data.dataset import Dataset, read_dataset
from crossmodal.data.drawn.scenes import FURS, KINDS, PAINTS, PLACES, describe, imagine_scene
from crossmodal.data.sample import draw_sample
from crossmodal.encoding.collection import encode_dataset
from crossmodal.encoding.devices import worker_count
from crossmodal.hubs import Banks
from crossmodal.progress import terminal
from crossmodal.runs.opening import checkpoint_of, open_encoder
from crossmodal.search.feedback import feedback
from crossmodal.search.gallery import About
from crossmodal.search.query import Query, Term
from crossmodal.search.run_gallery import RunGallery
from crossmodal.search.teaching import usual_look
from crossmodal.search.words import Word, expanded

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES, FEWEST = 5, 4  # photos that teach a word, and those that must be left to find
STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
JUDGED, LOOKED_AT = 3, 20  # photos of each side that feedback is given on, among the first so many
AGREED = 2  # captions that say a thing before it counts as shown
COLOURS = {*PAINTS, *FURS, "tan"}
NOUNS = (
    "dog",
    "dogs",
    "shirt",
    "jacket",
    "dress",
    "hat",
    "car",
    "horse",
    "bike",
    "ball",
    "boat",
    "suit",
    "coat",
    "pants",
    "shorts",
)
SCENES = {
    "snow": "in the snow", "grass": "on the grass", "beach": "on the beach", "water": "in the water", "street": "on the street",
    "field": "in a field", "sand": "in the sand",
}  # fmt: skip
NAME = "Rex"
Encode = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Shown:
    """What a photo shows: colours of kinds, and places, each as words that continue a sentence."""

    things: frozenset[tuple[str, str]]
    places: frozenset[str]


def main() -> None:
    """Print a line for each way to ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "model-checkpoints" / "shipped")
    parser.add_argument("--captions", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--split", default="val", help="of the real photos (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=2000, help="drawn ones (default: %(default)s)")
    options = parser.parse_args()
    model, content, title = open_encoder(checkpoint_of(options.checkpoint))
    with tempfile.TemporaryDirectory() as folder:
        if options.captions:
            dataset = read_dataset(options.captions, options.images, check=False).dataset.split(options.split)
            shown = [said(image.captions) for image in dataset.images]
        else:
            dataset, shown = drawn(Path(folder), options.scenes)
        embeddings = encode_dataset(model, dataset, {}, worker_count(), terminal).with_banks(Banks.of(content))
    about = About(title, Path(), content["fingerprint"], Path(), "", frozenset())
    measured = measure(RunGallery(embeddings, about), shown, lambda texts: np.concatenate(_vectors(model, texts)))
    print(f"{title}: {len(dataset):,} photos, {len(measured.words)} words, {measured.scenes} of a word with a scene")
    for line in measured.lines():
        print(line)


def _vectors(model: torch.nn.Module, texts: Sequence[str]) -> list[np.ndarray]:
    return [part.numpy() for part in model.encode_sentences(list(texts))]  # type: ignore[operator]


def drawn(folder: Path, scenes: int, seed: int = 99) -> tuple[Dataset, list[Shown]]:
    """Draw scenes, and return them with what they show."""
    captions, images = draw_sample(folder / "drawn", scenes, seed, terminal)
    dataset = read_dataset(captions, images, check=False).dataset
    rng, contents = random.Random(seed), {}
    for number in range(scenes):  # as draw_sample imagines them
        scene = imagine_scene(rng)
        describe(scene, rng)
        things = frozenset((group.colour, KINDS[group.kind].words[0]) for group in scene.groups)
        contents[f"scene_{seed}_{number:04d}.jpg"] = Shown(things, frozenset({PLACES[scene.place].words[0]}))
    return dataset, [contents[image.name] for image in dataset.images]


def said(captions: Sequence[str]) -> Shown:
    """Return what enough captions of a photo say that it shows."""
    things: dict[tuple[str, str], int] = defaultdict(int)
    places: dict[str, int] = defaultdict(int)
    for caption in captions:
        words = caption.lower().replace(",", " ").split()
        for colour, kind in {*pairwise(words)}:
            if colour in COLOURS and kind in NOUNS:
                things[colour, kind] += 1
        for place in SCENES.keys() & set(words):
            places[SCENES[place]] += 1
    return Shown(
        frozenset(thing for thing, times in things.items() if times >= AGREED),
        frozenset(place for place, times in places.items() if times >= AGREED),
    )


@dataclass
class Measured:
    """Average precisions by the way to ask, one a word (`alone`) and one a word and place (`placed`)."""

    words: list[tuple[str, str]]
    scenes: int
    alone: dict[str, list[float]]
    placed: dict[str, list[float]]

    def lines(self) -> Iterator[str]:
        """Yield the table: mean average precision, and for taught words the strength that the first half chose."""
        yield f"{'':28} {'NAME':>8} {'NAME + scene':>14}"
        for way in self.alone:
            placed = f"{np.mean(self.placed[way]):14.3f}" if self.placed[way] else f"{'':14}"
            yield f"{way:28} {np.mean(self.alone[way]):8.3f} {placed}"
        for title, found in (("NAME", self.alone), ("NAME + scene", self.placed)):
            halves = {strength: found[f"taught, strength {strength:g}"] for strength in STRENGTHS}
            if min(map(len, halves.values())) > 1:
                best = max(halves, key=lambda strength: np.mean(halves[strength][::2]))
                yield f"{title}: {best:g} is best on one half; {np.mean(halves[best][1::2]):.3f} on the other"


def measure(gallery: RunGallery, shown: Sequence[Shown], encode: Encode, seed: int = 0) -> Measured:
    """Ask for every colour of a kind that enough photos show, taught from EXAMPLES of them."""
    rng = np.random.default_rng(seed)
    of_thing: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, one in enumerate(shown):
        for thing in sorted(one.things):
            of_thing[thing].append(row)
    measured = Measured([], 0, defaultdict(list), defaultdict(list))
    for (colour, kind), rows in sorted(of_thing.items()):
        if len(rows) < EXAMPLES + FEWEST:
            continue
        examples = sorted(rng.choice(rows, EXAMPLES, replace=False).tolist())
        asked = Asked(gallery, encode, colour, kind, examples)
        measured.words.append((colour, kind))
        left = set(rows) - set(examples)
        for way, query in asked.ways(""):
            measured.alone[way].append(asked.precision(query, left))
        for way, precision in asked.judged(left):
            measured.alone[way].append(precision)
        for place in sorted({place for row in left for place in shown[row].places}):
            there = {row for row in left if place in shown[row].places}
            if len(there) < 2:
                continue
            measured.scenes += 1
            for way, query in asked.ways(place):
                measured.placed[way].append(asked.precision(query, there))
    return measured


class Asked:
    """A word in a gallery: the ways to ask for it, and how precise each is."""

    def __init__(self, gallery: RunGallery, encode: Encode, colour: str, kind: str, examples: Sequence[int]) -> None:
        self.gallery, self.encode, self.kind, self.examples = gallery, encode, kind, {*examples}
        self.told = f"{colour} {kind}"
        vectors = {gallery.photos[row].name: gallery.vectors[row].astype(np.float32) for row in examples}
        usual = usual_look(gallery, encode([kind])[0], vectors)
        self.word = Word(NAME, kind, gallery.about.fingerprint, vectors, {}, usual)
        self.mean = np.mean(list(vectors.values()), axis=0)

    def ways(self, place: str) -> Iterator[tuple[str, Query]]:
        """Yield the ways to ask for the word, in a place or anywhere."""
        words, told, named = (f"{what} {place}".strip() for what in (self.kind, self.told, NAME))
        yield "words", self.query(words)
        yield "told", self.query(told)
        yield "nearest to the mean", Query.of([], None, [(self.mean, 1.0)])
        yield "words and the mean", self.query(words, [(self.mean, 1.0)])
        terms, offsets = expanded([Term(named)], [self.word], self.word.fingerprint)
        for strength in STRENGTHS:
            parts = [(offset, strength * weight) for offset, weight in offsets]
            yield f"taught, strength {strength:g}", self.query(terms[0].text, parts)

    def query(self, text: str, parts: Sequence[tuple[np.ndarray, float]] = ()) -> Query:
        """Return the query of a sentence and more parts."""
        return Query.of([Term(text)], self.encode([text]), parts)

    def ranked(self, query: Query) -> list[int]:
        """Return the rows of the gallery without the examples, best first."""
        row_of = {id(photo): row for row, photo in enumerate(self.gallery.photos)}
        found = self.gallery.nearest(query.vector, self.gallery.count(), corrected=bool(query.terms))
        return [row for match in found if (row := row_of[id(match.photo)]) not in self.examples]

    def precision(self, query: Query, right: set[int], without: Sequence[int] = ()) -> float:
        """Return the average precision of a query whose right answers are the rows `right`."""
        return average_precision([row in right for row in self.ranked(query) if row not in without])

    def judged(self, right: set[int]) -> Iterator[tuple[str, float]]:
        """Yield the precision of the words over photos that were not judged, before and after some are."""
        plain = self.query(self.kind)
        first = self.ranked(plain)[:LOOKED_AT]
        more = [row for row in first if row in right][:JUDGED]
        less = [row for row in first if row not in right][:JUDGED]
        if not more or len(right) <= len(more):
            return
        vectors = ([self.gallery.vectors[row].astype(np.float32) for row in rows] for rows in (more, less))
        after = self.query(self.kind, feedback(*vectors))
        left, seen = right - {*more}, [*more, *less]
        yield "words, of photos not judged", self.precision(plain, left, seen)
        yield "more of these, less of those", self.precision(after, left, seen)


def average_precision(right: Sequence[bool]) -> float:
    """Return the mean of the precision at each right answer of a whole ranking."""
    at = np.flatnonzero(right) + 1
    return float(np.mean(np.arange(1, len(at) + 1) / at))


if __name__ == "__main__":
    main()
