"""Whether the words of a query are known to the model."""

import json
import re
from functools import lru_cache
from pathlib import Path

from crossmodal.encoding.runtime import exported_folder
from crossmodal.errors import CheckpointError
from crossmodal.search.gallery import About

SHORT = 3  # letters; words this short are alike in many languages
HINT = "This model understands English, and most of these words are unknown to it; try them in English."


def mostly_unknown(words: str, vocabulary: frozenset[str]) -> bool:
    """Say whether most words of a query are no whole words of the model's vocabulary; False where that is empty."""
    letters = re.findall(r"[^\W\d_]+", words.lower())
    telling = [word for word in letters if len(word) > SHORT or not word.isascii()]
    return bool(vocabulary) and 2 * sum(word not in vocabulary for word in telling) > len(telling)


def vocabulary_of(about: About) -> frozenset[str]:
    """Return the tokens that a gallery's model knows; none where they cannot be found."""
    return _vocabulary(about.fingerprint, str(about.checkpoint))


@lru_cache(maxsize=4)
def _vocabulary(fingerprint: str, checkpoint: str) -> frozenset[str]:
    exported = exported_folder(fingerprint) / "tokenizer.json"
    try:
        if exported.is_file():
            return _tokens(exported.read_text(encoding="utf-8"))
        from crossmodal.runs.opening import about_checkpoint

        return _tokens(about_checkpoint(Path(checkpoint))["text_tower"]["tokenizer"])
    except (CheckpointError, OSError, ValueError, KeyError, TypeError):
        return frozenset()


def _tokens(tokenizer: str) -> frozenset[str]:
    return frozenset(json.loads(tokenizer)["model"]["vocab"])
