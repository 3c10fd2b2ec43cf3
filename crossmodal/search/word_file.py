"""The file that holds the words which a gallery was taught, and the file of one word that travels."""

import base64
import json
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from crossmodal.errors import CrossmodalError
from crossmodal.files import FINGERPRINT, shown, write_text
from crossmodal.search.words import Word, checked_name, key_of

WORDS = "words.json"
FORMAT, VERSION = "crossmodal-words", 1
WAIT = 10.0  # seconds for another process that is teaching
MOST_BYTES = 256 << 20
WIDEST = 1 << 16  # dimensions
NORM = (0.5, 1.5)  # of what should be a unit vector, generously


class WordFile:
    """The words in a file, read again when it changes; several threads and processes may use it."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._read: tuple[object, dict[str, Word]] = (None, {})

    def words(self) -> dict[str, Word]:
        """Return the words by their keys (see `key_of`), in the order they were taught; none where there is no file.

        Raises CrossmodalError for a broken file, which may be another's.
        """
        try:
            stat = self.path.stat()
        except OSError:
            return {}
        state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        known, words = self._read
        if known != state:
            words = {key_of(word.name): word for word in read_words(self.path)}
            self._read = (state, words)
        return words

    def word(self, name: str) -> Word:
        """Return a word by its name; raises CrossmodalError, with the names there are, for an unknown one."""
        words = self.words()
        if key_of(name) not in words:
            known = ", ".join(word.name for word in words.values()) or "none yet"
            raise CrossmodalError(f"Nothing was taught under the name {name!r:.80}; the words here are: {known}.")
        return words[key_of(name)]

    def keep(self, *words: Word) -> None:
        """Write words, in place of those of the same names."""
        with self._changed() as kept:
            kept.update({key_of(word.name): word for word in words})

    def rename(self, old: str, new: str) -> Word:
        """Give a word another name; raises CrossmodalError for one that another word has."""
        word = self.word(old).renamed(new)
        with self._changed() as kept:
            if key_of(new) != key_of(old) and key_of(new) in kept:
                raise CrossmodalError(f"There is a word {new!r} already; forget it first, or choose another name.")
            kept.pop(key_of(old), None)
            kept[key_of(new)] = word
        return word

    def forget(self, name: str) -> None:
        """Take a word out of the file; raises CrossmodalError for an unknown one."""
        self.word(name)
        with self._changed() as kept:
            kept.pop(key_of(name), None)

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Word]]:
        """Yield the words as they are now, to be changed and written; nothing is written where an error is raised."""
        lock = filelock.FileLock(self.path.with_name(f"{self.path.name}.lock"), timeout=WAIT)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise CrossmodalError(f"Another program is changing {self.path}; try again in a moment.") from error
        except OSError as error:
            raise CrossmodalError(
                f"{self.path} cannot be written ({error.strerror}); words are kept beside the index, in a folder that can."
            ) from error
        try:
            kept = dict(self.words())
            yield kept
            write_words(self.path, kept.values())
        finally:
            lock.release()


def write_words(path: Path, words: Iterable[Word]) -> None:
    """Write words into a file, whole or not at all."""
    content = {"format": FORMAT, "version": VERSION, "words": [_plain(word) for word in words]}
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_words(path: Path) -> list[Word]:
    """Read the words of a file; raises CrossmodalError for one that is absent, broken or of another format.

    The message names the file without its folders, since a server may show it.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode) or state.st_size > MOST_BYTES:
            raise CrossmodalError(
                f"{path.name} is no regular file, or too large to hold words that were taught; delete it, and teach them again."
            )
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CrossmodalError(f"{path.name} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise _broken(path, "it is not JSON") from error
    if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (FORMAT, VERSION):
        raise CrossmodalError(f"{path.name} is not a file of taught words of this version ({FORMAT} {VERSION}).")
    try:
        return [_word(plain) for plain in content["words"]]
    except (CrossmodalError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _broken(path, str(error)) from error


def _broken(path: Path, what: str) -> CrossmodalError:
    return CrossmodalError(f"{path.name} is broken ({what:.120}); delete it, and teach the words again.")


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
    vector = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    if not 1 <= len(vector) <= WIDEST or not sound(float(np.linalg.norm(vector))):
        raise ValueError("its vectors are impossible")
    return vector
