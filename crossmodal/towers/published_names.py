"""How published models are named; it needs none of the libraries that load them."""

from pathlib import Path

OPEN_CLIP, SENTENCE_TRANSFORMERS = "open_clip:", "sentence-transformers:"
SHORT = ("clip-ViT-B-32", "clip-ViT-B-16", "clip-ViT-L-14")  # of sentence-transformers, known without the prefix
NAMES = (
    f"{OPEN_CLIP}MODEL/WEIGHTS (for example {OPEN_CLIP}ViT-B-32/openai), {SENTENCE_TRANSFORMERS}NAME, "
    f"{SENTENCE_TRANSFORMERS}FOLDER, {', '.join(SHORT)}"
)


def is_published(name: Path | str) -> bool:
    """Say whether a name is that of a published model rather than the path of a checkpoint."""
    return str(name).startswith((OPEN_CLIP, SENTENCE_TRANSFORMERS)) or short_name(name) in SHORT


def short_name(name: Path | str) -> str:
    """Return the name, or the folder, of a model of sentence-transformers without the prefix and that owner."""
    return str(name).removeprefix(SENTENCE_TRANSFORMERS).removeprefix("sentence-transformers/")


def kept_name(name: Path | str) -> Path:
    """Return a published model's name as others keep it: a folder in it by its whole path."""
    folder = Path(short_name(name)).expanduser()
    if str(name).startswith(SENTENCE_TRANSFORMERS) and folder.is_dir():
        return Path(f"{SENTENCE_TRANSFORMERS}{folder.resolve()}")
    return Path(name)
