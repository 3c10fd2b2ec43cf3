"""What was found, as every door shows it: page, API, command line, CSV and JSON."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossmodal.errors import CrossmodalError, printable
from crossmodal.files import shown
from crossmodal.search.language import HINT
from crossmodal.search.query import Query
from crossmodal.search.record import Photo, facts
from crossmodal.search.typed import Piece
from crossmodal.search.word_weights import WordWeights


@dataclass(frozen=True)
class Copy:
    """A copy of a photo that was found with it; an exact one has the same content, another only looks the same."""

    id: str
    photo: Photo
    exact: bool


@dataclass(frozen=True)
class Hit:
    """A photo that was found: its cosine similarity with the query, its record, its file, its copies."""

    id: str
    score: float
    photo: Photo
    path: Path
    copies: tuple[Copy, ...] = ()
    known: frozenset[str] = frozenset()  # the fields of the record that its gallery knows
    words: tuple[str, ...] = ()  # what is written of it that the query's words match
    word_weights: WordWeights | None = None  # how much each word of the query counts, where that was asked for

    @property
    def name(self) -> str:
        """The path from the root of the gallery, as it can be shown."""
        return self.photo.name

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the photo beside its captions, as plain values."""
        return facts(self.photo, self.known)

    @property
    def line(self) -> str:
        """The hit as a terminal shows it; with the weights of words, these stand on a line of their own."""
        copies = f"  ({len(self.copies)} {'copy' if len(self.copies) == 1 else 'copies'})" if self.copies else ""
        caption = f"  {printable(self.photo.captions[0])}" if self.photo.captions else ""
        weights = "".join(f"  {printable(one['word'])} {one['weight']:+.3f}" for one in self.weights())
        return f"{self.score:.3f}  {shown(str(self.path))}{copies}{caption}" + (f"\n     {weights}" if weights else "")

    def weights(self) -> list[dict[str, Any]]:
        """Return how much each word counts as plain values, rounded; none where that was not asked for."""
        return [{"word": word, "weight": round(weight, 4)} for word, weight in self.word_weights or ()]

    def plain(self) -> dict[str, Any]:
        """Return the hit as plain values."""
        copies = {
            title: [copy.photo.name for copy in self.copies if copy.exact == exact]
            for title, exact in (("exact_copies", True), ("similar_copies", False))
        }
        return {
            "id": self.id, "image": self.name, "path": shown(str(self.path)), "score": round(self.score, 4),
            "captions": list(self.photo.captions), **({"words": list(self.words)} if "keywords" in self.known else {}), **self.facts, **(copies if "look" in self.known else {}),
            **({} if self.word_weights is None else {"word_weights": self.weights()}),
        }  # fmt: skip


@dataclass(frozen=True)
class CaptionHit:
    """A caption that was found, and the id of the photo it was written for, where there is one."""

    caption: str
    score: float
    photo: str | None = None

    @property
    def line(self) -> str:
        """The hit as a terminal shows it."""
        return f"{self.score:.3f}  {printable(self.caption)}"

    def plain(self) -> dict[str, Any]:
        """Return the hit as plain values."""
        return {"caption": self.caption, "score": round(self.score, 4), "photo": self.photo}


@dataclass(frozen=True)
class Answer:
    """The hits for a query, best first, and what was left out of them."""

    hits: tuple[Hit, ...]
    passing: int  # photos that pass the filters
    alike: int | None = None  # photos that look like the query, where others were left out because they do not
    not_applied: tuple[str, ...] = ()  # filters of fields that this gallery does not know
    unknown_words: bool = False  # whether most words of the query are unknown to the model
    unexplained: bool = False  # whether the weights of words were asked for where there are no words
    understood: tuple[Piece, ...] = ()  # filters that stood in the words
    query: Query | None = None  # what was looked for; None where only filters were asked

    @property
    def cut_off(self) -> bool:
        """Whether photos were left out because they do not look like the query."""
        return self.alike is not None

    @property
    def notes(self) -> list[str]:
        """What a user has to be told, in sentences."""
        said = [HINT] if self.unknown_words else []
        said += ["There is nothing to explain: the query has no words to look for."] if self.unexplained else []
        if self.not_applied:
            names = ", ".join(name.replace("_", " ") for name in self.not_applied)
            said.append(f"Ignored, because this gallery has no such data: {names}.")
        return said

    @property
    def all_notes(self) -> list[str]:
        """The notes after what was understood of the words, for a door that has no other way to show it."""
        pieces = printable("; ".join(f"{one.text} ({one.meaning})" for one in self.understood))
        return [*([f"Understood: {pieces}."] if pieces else []), *self.notes]


def as_json(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as the text of a JSON file."""
    text = json.dumps(list(records), ensure_ascii=False, indent=2) + "\n"
    # JSON leaves these as they are, and some terminals take them as commands.
    return re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text)


def as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as the text of a CSV file with a header; lists are joined by semicolons."""
    columns = list(dict.fromkeys(key for record in records for key in record))
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in record.items()} for record in records)
    return file.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        value = "; ".join(" ".join(map(str, one.values())) if isinstance(one, dict) else str(one) for one in value)
    if not isinstance(value, str):
        return value
    value = printable(value)  # what others wrote into an index may command a terminal
    # A spreadsheet would compute what begins so; an apostrophe has it shown as text.
    return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value


def as_file(records: Sequence[Mapping[str, Any]], suffix: str) -> str:
    """Return records as the text of a .csv or .json file; raises CrossmodalError for another suffix."""
    forms = {".json": as_json, ".csv": as_csv}
    if suffix not in forms:
        raise CrossmodalError(f"Answers are written as .csv or .json, not {suffix or 'without an ending'}.")
    return forms[suffix](records)
