"""compare --photos: a blind vote between two models on a folder of one's own, which needs no captions."""

import argparse
import hashlib
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from crossmodal.commands.photos import shown_on
from crossmodal.commands.scripts import become_page
from crossmodal.errors import CrossmodalError

if TYPE_CHECKING:
    from crossmodal.evaluation.votes import Ballot

SHOWN = 6  # photos of each model
EVERYDAY = slice(0, 37, 4)  # ten of the everyday scenes, each of another group
OF_CAPTIONS = ("captions", "images", "split", "split_file", "skip_bad", "json")
Answers = list[tuple[str, ...]]  # to each query the paths of photos, most similar first


def compare_on_photos(options: argparse.Namespace) -> None:
    """Index a folder with both models, write the ballot, and open the page that asks; once all is voted, print the count.

    Raises CrossmodalError for options that do not go together, and a folder without photos.
    """
    from crossmodal.evaluation.votes import read_ballot, write_ballot
    from crossmodal.photos.store import index_folder
    from crossmodal.runs.opening import checkpoint_of, fingerprint_at

    queries = _checked(options)
    paths = [checkpoint_of(model) for model in options.checkpoints]
    fingerprints = [fingerprint_at(path, options.weights) for path in paths]
    if fingerprints[0] == fingerprints[1]:
        raise CrossmodalError(f"{paths[0]} and {paths[1]} are the same model; name two.")
    of = _digest(*fingerprints, options.quality, *queries)
    file = (index_folder(options.photos, options.index) / f"vote-{of}.json").resolve()
    if not file.is_file():
        names, answers = [], []
        for path, fingerprint in zip(paths, fingerprints, strict=True):
            name, found = _answers(options, path, fingerprint, queries)
            names.append(name)
            answers.append(found)
        write_ballot(file, _ballot(names, queries, answers))
    ballot = read_ballot(file)
    if ballot.next == len(ballot.questions):
        print("\n".join([*ballot.summary(), f"The votes are kept in {file}; remove it to vote again."]))
        return
    print(f"Votes are kept in {file}. Once all are in, this command prints their count.")
    become_page("--photos", str(options.photos.resolve()), "--votes", str(file))


def _checked(options: argparse.Namespace) -> list[str]:
    """Return the queries; raises CrossmodalError for what cannot be compared."""
    from crossmodal.commands.sentences import is_readable, read_lines_of
    from crossmodal.data.everyday import everyday_scenes

    if len(options.checkpoints) != 2:
        raise CrossmodalError(f"A vote on photos is between two models, not {len(options.checkpoints)}; name two.")
    if given := [f"--{name.replace('_', '-')}" for name in OF_CAPTIONS if getattr(options, name)]:
        raise CrossmodalError(f"{', '.join(given)} is for captioned photos; leave it out, or leave out --photos.")
    if not options.photos.is_dir():
        raise CrossmodalError(f"The folder of photos {options.photos} is not there.")
    if not options.queries:
        return everyday_scenes()[EVERYDAY]
    queries = [line.strip() for line in read_lines_of(options.queries) if line.strip()]
    if not queries or not all(map(is_readable, queries)):
        wrong = "is not UTF-8 text" if queries else "holds no query"
        raise CrossmodalError(f"{options.queries} {wrong}; it should hold a query a line.")
    return queries


def _answers(options: argparse.Namespace, model: Path, fingerprint: str, queries: list[str]) -> tuple[str, Answers]:
    """Return a model's name and the first photos that it finds for each query, in an index of its own in the cache."""
    from crossmodal.files import cache_folder
    from crossmodal.galleries import Place, open_search
    from crossmodal.photos.index import index_photos

    index = (
        cache_folder()
        / "compared"
        / _digest(os.fsencode(options.photos.resolve()))
        / f"{fingerprint}-{options.quality}"
    )
    excluded, included = _patterns(options)
    bar = tqdm(unit="photo", desc=f"Preparing {model}", disable=None, leave=False)
    with bar:
        index_photos(
            options.photos, index, None, excluded, watch=shown_on(bar), default=model, included=included,
            quality=options.quality, weights=options.weights,
        )  # fmt: skip
    search = open_search(Place(options.photos, index, weights=options.weights))
    try:
        if not search.gallery.count():
            raise CrossmodalError(f"There is no photo in {options.photos} that can be read.")
        # Not by what is written in photos, which is the same for both, and not below a cut-off, which not each model has.
        asked = [replace(search.query(query), typed=()) for query in queries]
        found = [search.photos(query, SHOWN, cut_off=False).hits for query in asked]
        recipe = search.gallery.about.recipe
        name = str(model) if str(model) == recipe else f"{model} ({recipe})"
        return name, [tuple(hit.photo.path for hit in hits) for hits in found]
    finally:
        search.close()


def _patterns(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return what the folder's own index excludes and includes, where there is one."""
    from crossmodal.photos.store import DATABASE, Store, index_folder

    own = index_folder(options.photos, options.index)
    if not (own / DATABASE).is_file():
        return [], []
    with Store(own, writable=False) as store:
        return store.meta["excluded"], store.meta["included"]


def _ballot(names: list[str], queries: list[str], answers: list[Answers]) -> "Ballot":
    from crossmodal.evaluation.votes import Ballot, Question

    drawn = random.SystemRandom()
    found = zip(queries, *answers, strict=True)
    questions = [Question(query, (first, second), drawn.randrange(2)) for query, first, second in found]
    return Ballot((names[0], names[1]), tuple(questions))


def _digest(*parts: str | bytes) -> str:
    text = b"\0".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    return hashlib.blake2b(text, digest_size=4).hexdigest()
