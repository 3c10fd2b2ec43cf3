"""What words that are written in photos add to a search by vectors: NDCG@10 of either alone, and of both.

    python -m benchmarks.written --captions captions.txt --images DIR [--photos 1000] [--seed 0]

The photos are copied into a temporary folder and filed as people do it, by a drawn plan: in albums of about a dozen, each of a
city (as the camera's position), most with somebody's or an event's name in the folder or among the keywords; a third of the
photos has some of the things that its captions name as keywords, and now and then a wrong one. 200 queries are made up, a
quarter of each kind: a thing in a city, a thing and a name, a thing alone, a caption. A photo is relevant when its captions name
the thing and its album has the city or the name; to a caption, the photo that it is of.
"""

import argparse
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path

from PIL import Image

from crossmodal.data.dataset import read_dataset
from crossmodal.galleries import Place, open_search
from crossmodal.photos.index import index_photos
from crossmodal.search.gallery import Match
from crossmodal.search.query import Query
from crossmodal.search.search import Search

QUERIES = 200
DEEP = 10  # photos of an answer that count
CITIES = {
    "Lisbon": (38.72, -9.14), "Porto": (41.15, -8.61), "Berlin": (52.52, 13.40), "Kyoto": (35.01, 135.77),
    "Melbourne": (-37.81, 144.96), "Chicago": (41.88, -87.63), "Oslo": (59.91, 10.75), "Mumbai": (19.08, 72.88),
}  # fmt: skip
NAMES = ("Anna", "Rex", "Tom and Mia", "grandma", "wedding", "birthday", "summer holiday", "Christmas")
THINGS = (
    "dog cat horse cow sheep elephant giraffe zebra bear bird train bus truck car motorcycle bicycle plane boat pizza cake sandwich "
    "banana kitchen bathroom bed couch toilet laptop clock umbrella kite skateboard surfboard snow beach tennis baseball frisbee "
    "bench flowers tower"
).split()


@dataclass(frozen=True)
class Filed:
    """A photo as it is filed: what its captions name, and where it lies."""

    source: Path
    captions: Sequence[str]
    things: frozenset[str]
    city: str
    name: str
    path: str


@dataclass(frozen=True)
class Question:
    """A query of a kind, and whether a photo is relevant to it."""

    kind: str
    text: str
    relevant: Callable[[Filed], bool]


def main() -> None:
    """Make the folder, ask, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("captions", "images"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    images = read_dataset(options.captions, options.images).dataset.images
    rng = random.Random(options.seed)
    chosen = rng.sample(images, min(options.photos, len(images)))
    filed = [_filed(one.path, one.captions, place // 12, rng) for place, one in enumerate(chosen)]
    questions = made_up(filed, rng)
    with tempfile.TemporaryDirectory() as folder:
        for one in filed:
            _write(one, Path(folder), rng)
        index_photos(Path(folder))
        search = open_search(Place(photos=Path(folder)))
        by_path = {one.path: one for one in filed}
        print(f"{len(filed)} photos, {len(questions)} queries, seed {options.seed}; NDCG@{DEEP} in per cent")
        for kind in (*dict.fromkeys(one.kind for one in questions), "all"):
            asked = [one for one in questions if kind in (one.kind, "all")]
            told = [
                f"{name} {100 * sum(ndcg(one, answer(search, one.text), by_path) for one in asked) / len(asked):.1f}"
                for name, answer in ANSWERS.items()
            ]
            print(f"{kind:>20}: {', '.join(told)}")
        search.close()


def _filed(source: Path, captions: Sequence[str], album: int, rng: random.Random) -> Filed:
    drawn = random.Random(album)
    city, name = drawn.choice(list(CITIES)), drawn.choice([*NAMES, ""])
    said = " ".join(captions).lower().replace(".", " ").split()
    things = frozenset(thing for thing in THINGS if thing in said or f"{thing}s" in said)
    folder = f"{drawn.choice(range(2012, 2024))}/{name or 'various'} {album}" if album % 2 else f"DCIM/{100 + album}"
    return Filed(source, captions, things, city, name, f"{folder}/IMG_{rng.randrange(10**6):06d} {source.stem}.jpg")


def _write(one: Filed, folder: Path, rng: random.Random) -> None:
    """Copy a photo with what is written in it; the pixels stay as they are."""
    keywords = [one.name] if one.name and (one.path.startswith("DCIM") or rng.random() < 0.3) else []
    if rng.random() < 1 / 3:
        keywords += rng.sample(sorted(one.things), min(2, len(one.things)))
        keywords += [rng.choice(THINGS)] if rng.random() < 0.1 else []
    exif = Image.Exif()
    latitude, longitude = CITIES[one.city]
    exif.get_ifd(0x8825).update({
        1: "N" if latitude > 0 else "S", 2: (abs(latitude), 0.0, 0.0), 3: "E" if longitude > 0 else "W", 4: (abs(longitude), 0.0, 0.0),
    })  # fmt: skip
    exif[0x9C9E] = (";".join(keywords) + "\0").encode("utf-16-le")
    path = folder / one.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(one.source) as photo:
        photo.save(path, "JPEG", quality="keep", exif=exif)


def made_up(filed: Sequence[Filed], rng: random.Random) -> list[Question]:
    """Return queries that at least one photo answers, a quarter of each kind."""
    named, shown = [one for one in filed if one.things and one.name], [one for one in filed if one.things]

    def ask(kind: str, one: Filed) -> Question:
        thing = rng.choice(sorted(one.things)) if one.things else ""
        city, name = one.city, one.name
        if kind == "a thing in a city":
            text = rng.choice(("{} in {}", "a {} in {}", "{} {}")).format(thing, city)
            return Question(kind, text, lambda other: thing in other.things and other.city == city)
        if kind == "a thing and a name":
            text = rng.choice(("{1} with a {0}", "{1} {0}", "a {0} from {1}")).format(thing, name)
            return Question(kind, text, lambda other: thing in other.things and other.name == name)
        if kind == "a thing":
            return Question(kind, rng.choice(("{}", "a {}")).format(thing), lambda other: thing in other.things)
        return Question(kind, one.captions[0], lambda other: other is one)

    kinds = {"a thing in a city": shown, "a thing and a name": named, "a thing": shown, "a caption": filed}
    return [ask(kind, rng.choice(among)) for kind, among in kinds.items() for _ in range(QUERIES // len(kinds))]


def ndcg(asked: Question, answer: Sequence[Match], filed: dict[str, Filed]) -> float:
    """Return the normalised discounted cumulative gain of the first DEEP, each photo being relevant or not."""
    gain = sum(asked.relevant(filed[match.photo.path]) / log2(2 + rank) for rank, match in enumerate(answer[:DEEP]))
    most = min(DEEP, sum(map(asked.relevant, filed.values())))
    return gain / sum(1 / log2(2 + rank) for rank in range(most))


def _by_vectors(search: Search, text: str) -> list[Match]:
    return search.gallery.nearest(search.query(text).vector, DEEP, corrected=True)


def _by_words(search: Search, text: str) -> list[Match]:
    query: Query = search.query(text)
    found = search.gallery.written(query.terms, query.vector)
    # The gallery puts the most similar of equal ones first; here vectors do not count.
    return [one.match for one in sorted(found, key=lambda one: (not one.whole, -len(one.words), one.match.photo.path))]


def _by_both(search: Search, text: str) -> list[Match]:
    hits = search.photos(search.query(text), DEEP, cut_off=False, group=False).hits
    return [Match(hit.photo, hit.score, hit.score) for hit in hits]


ANSWERS = {"vectors alone": _by_vectors, "words alone": _by_words, "both": _by_both}

if __name__ == "__main__":
    main()
