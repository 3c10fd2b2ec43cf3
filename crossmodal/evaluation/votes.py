"""A blind vote between two models: what each finds first for the same queries, which side was chosen, and what that says."""

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import comb
from pathlib import Path
from typing import Any

from crossmodal.errors import CrossmodalError
from crossmodal.files import read_bounded, stays_below, write_text

SIDES = ("left", "right")
NEITHER = "neither"
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Question:
    """A query, what both models find, and which of them, 0 or 1, is shown on the left."""

    query: str
    found: tuple[
        tuple[str, ...], tuple[str, ...]
    ]  # photos of each model, most similar first, as paths below one folder
    left: int
    vote: str = ""  # one of SIDES, NEITHER, or nothing yet

    def side(self, side: str) -> tuple[str, ...]:
        """Return the photos that are shown on a side."""
        return self.found[self._model_at(side)]

    @property
    def winner(self) -> int | None:
        """The model that was voted for, None for neither and before a vote."""
        return self._model_at(self.vote) if self.vote in SIDES else None

    def _model_at(self, side: str) -> int:
        return self.left if side == "left" else 1 - self.left


@dataclass(frozen=True)
class Ballot:
    """The names of two models, and the questions that are voted on in turn."""

    models: tuple[str, str]
    questions: tuple[Question, ...]

    @property
    def next(self) -> int:
        """The number of the first question without a vote; of one past the last where all have one."""
        votes = [question.vote for question in self.questions]
        return votes.index("") if "" in votes else len(votes)

    def summary(self) -> list[str]:
        """Return the count in sentences, with the sign test."""
        won = [question.winner for question in self.questions]
        counts = [won.count(model) for model in (0, 1)]
        votes = [f"{name}: {count} of {len(won)}." for name, count in zip(self.models, counts, strict=True)]
        both = sum(counts)
        tested = f"Two-sided sign test over the {both} for one of them: p = {sign_test(*counts):.3f}."
        return [*votes, f"Neither: {len(won) - both} of {len(won)}.", tested]


def sign_test(first: int, second: int) -> float:
    """Return the two-sided p-value of so many votes for either of two, if each were as likely; 1 without votes."""
    votes = first + second
    return min(1.0, 2 * sum(comb(votes, k) for k in range(min(first, second) + 1)) / 2**votes)


def write_ballot(path: Path, ballot: Ballot) -> None:
    """Write a ballot as JSON, whole or not at all."""
    write_text(path, json.dumps(asdict(ballot), indent=1) + "\n")


def read_ballot(path: Path) -> Ballot:
    """Read what `write_ballot` wrote; raises CrossmodalError for anything else, as paths that leave the folder."""
    try:
        content = json.loads(read_bounded(path))
        first, second = map(_text, content["models"])
        return Ballot((first, second), tuple(map(_question, content["questions"])))
    except OSError as error:
        raise CrossmodalError(f"The votes in {path} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CrossmodalError(
            f"{path} is no file of votes that this program wrote; remove it to begin anew."
        ) from error


def cast(path: Path, number: int, vote: str) -> None:
    """Write the vote on a question into the file of a ballot; an empty one takes a vote back."""
    with _LOCK:
        ballot = read_ballot(path)
        questions = list(ballot.questions)
        questions[number] = replace(questions[number], vote=vote)
        write_ballot(path, replace(ballot, questions=tuple(questions)))


def _question(plain: Any) -> Question:
    first, second = map(_photos, plain["found"])
    question = Question(_text(plain["query"]), (first, second), plain["left"], plain["vote"])
    if question.left not in (0, 1) or question.vote not in ("", NEITHER, *SIDES):
        raise ValueError("neither a side nor a vote")
    return question


def _photos(paths: Sequence[Any]) -> tuple[str, ...]:
    if not all(stays_below(_text(path)) for path in paths):
        raise ValueError("outside the folder")
    return tuple(paths)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
