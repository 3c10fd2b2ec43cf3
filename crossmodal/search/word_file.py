"""The file that holds the words which a gallery was taught, and the file of one word that travels."""

import base64
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.files import FINGERPRINT, shown
from crossmodal.search.named_file import Form, NamedFile, read_entries, write_entries
from crossmodal.search.words import Word, checked_name

WORDS = "words.json"
MOST_BYTES = 256 << 20
WIDEST = 1 << 16  # dimensions
NORM = (0.5, 1.5)  # of what should be a unit vector, generously


class WordFile(NamedFile[Word]):
    """The words in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, FORM)


def write_words(path: Path, words: Iterable[Word]) -> None:
    """Write words into a file, whole or not at all."""
    write_entries(path, FORM, words)


def read_words(path: Path) -> list[Word]:
    """Read the words of a file; raises CrossmodalError as `read_entries`."""
    return read_entries(path, FORM)


def _plain(word: Word) -> dict[str, Any]:
    photos = {
        title: [{"photo": shown(path), "vector": _text(vector)} for path, vector in group.items()]
        for title, group in (("examples", word.examples), ("negatives", word.negatives))
    }
    return {"name": word.name, "kind": word.kind, "fingerprint": word.fingerprint, **photos, "usual": _text(word.usual)}


def _word(plain: Mapping[str, Any]) -> Word:
    if not FINGERPRINT.fullmatch(plain["fingerprint"]):
        raise ValueError("its fingerprint is none")
    usual = _vector(plain["usual"], lambda norm: norm <= NORM[1])
    groups = {
        title: {
            str(one["photo"]): _vector(one["vector"], lambda norm: NORM[0] <= norm <= NORM[1]) for one in plain[title]
        }
        for title in ("examples", "negatives")
    }
    if not groups["examples"] or any(len(one) != len(usual) for group in groups.values() for one in group.values()):
        raise ValueError("its vectors do not belong together")
    return Word(
        checked_name(plain["name"]), checked_name(plain["kind"], "kind"), plain["fingerprint"], **groups, usual=usual
    )  # fmt: skip


def _text(vector: np.ndarray) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def _vector(text: str, sound: Callable[[float], bool]) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # of NaNs that signal
        vector = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float64)
    if not 1 <= len(vector) <= WIDEST or not sound(float(np.linalg.norm(vector))):
        raise ValueError("its vectors are impossible")
    return vector.astype(np.float32)


FORM = Form("word", "teach the words again", MOST_BYTES, _plain, _word)
