"""Whether the words of a query are English."""

import json
import re
import unicodedata
from functools import lru_cache
from pathlib import Path

from crossmodal.encoding.runtime import exported_folder
from crossmodal.errors import CrossmodalError
from crossmodal.search.gallery import About

SHORT = 3  # letters; words this short are alike in many languages
# Words of German, French, Spanish, Italian, Portuguese, Dutch and Swedish that English has not, and a tokenizer may.
FOREIGN = frozenset(
    "ein eine einen einem einer der das dem des und im am auf mit ist un une le la les du et sur dans avec au aux una uno "
    "del il lo gli di che nel um uma een het op ett och".split()
)
HINT = "This model understands English, and most of these words are unknown to it; try them in English."


def mostly_unknown(words: str, vocabulary: frozenset[str]) -> bool:
    """Say whether a query is in another language: by its small words, its script, or since most are neither English nor of the vocabulary.

    False where the vocabulary, which is the model's, is empty, and for text without letters.
    """
    letters = re.findall(r"[^\W\d_]+", words.lower())
    telling = [word for word in letters if len(word) > SHORT or not word.isascii() or word in FOREIGN]
    unknown = sum(_is_unknown(word, vocabulary) for word in telling)
    return bool(vocabulary) and (2 * unknown > len(telling) or len(FOREIGN.intersection(letters)) > 1)


def _is_unknown(word: str, vocabulary: frozenset[str]) -> bool:
    # A tokenizer may know single characters of scripts that its model has never read a sentence in.
    if word in FOREIGN or not all(unicodedata.name(letter, "").startswith("LATIN") for letter in word):
        return True
    if word in vocabulary:
        return False
    import simplemma  # its list takes a fifth of a second

    return not simplemma.is_known(word, lang="en")


def vocabulary_of(about: About) -> frozenset[str]:
    """Return the tokens that a gallery's model knows; none where they cannot be found."""
    return _vocabulary(about.fingerprint, str(about.checkpoint))


@lru_cache(maxsize=4)
def _vocabulary(fingerprint: str, checkpoint: str) -> frozenset[str]:
    try:
        exported = exported_folder(fingerprint) / "tokenizer.json"
        if exported.is_file():
            return _tokens(exported.read_text(encoding="utf-8"))
        from crossmodal.runs.opening import about_checkpoint

        return _tokens(about_checkpoint(Path(checkpoint))["text_tower"]["tokenizer"])
    except (CrossmodalError, OSError, ValueError, KeyError, TypeError):
        return frozenset()


def _tokens(tokenizer: str) -> frozenset[str]:
    """Return the whole words of a vocabulary; none of those that mark the beginning of words, as those of many languages do."""
    vocabulary = json.loads(tokenizer)["model"]["vocab"]
    if isinstance(vocabulary, list) or "\u2581the" in vocabulary:
        return frozenset()
    return frozenset(token.removesuffix("</w>") for token in vocabulary)
