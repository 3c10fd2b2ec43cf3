"""Sentences that a user gives in a file."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossmodal.errors import CrossmodalError


def read_sentences(path: Path) -> list[str]:
    """Return the lines of a text file, or of the list that comes along where it is called everyday."""
    from crossmodal.data.everyday import everyday_scenes

    if str(path) == "everyday":
        return everyday_scenes()
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CrossmodalError(f"The list of captions {path} cannot be read as text ({error}).") from error


def sentences_to_ask(options: argparse.Namespace) -> list[str]:
    """Return the sentences of `--queries`; raises CrossmodalError where they, or a place for the answers, are missing."""
    from crossmodal.search.answers import as_file

    if not options.output:
        raise CrossmodalError("--queries needs --output FILE, a .csv or .json.")
    as_file([], options.output.suffix)  # refuses another kind before the work is done
    sentences = [line for line in read_sentences(options.queries) if line.strip()]
    if not sentences:
        raise CrossmodalError(f"{options.queries} holds no sentence; it should hold one a line.")
    return sentences


def write_answers(path: Path, records: Sequence[Mapping[str, Any]], sentences: int) -> None:
    """Write what was found for so many sentences, and say so."""
    from crossmodal.files import write_text
    from crossmodal.search.answers import as_file

    write_text(path, as_file(records, path.suffix))
    print(f"Wrote {len(records)} answers to {sentences} sentences into {path}")
