"""How published models are named; it needs none of the libraries that load them."""

from pathlib import Path

OPEN_CLIP = "open_clip:"
SENTENCE_TRANSFORMERS = ("clip-ViT-B-32", "clip-ViT-B-16", "clip-ViT-L-14")
NAMES = f"{OPEN_CLIP}MODEL/WEIGHTS (for example {OPEN_CLIP}ViT-B-32/openai), {', '.join(SENTENCE_TRANSFORMERS)}"


def is_published(name: Path | str) -> bool:
    """Say whether a name is that of a published model rather than the path of a checkpoint."""
    return str(name).startswith(OPEN_CLIP) or short_name(name) in SENTENCE_TRANSFORMERS


def short_name(name: Path | str) -> str:
    """Return the name of a model of sentence-transformers without its owner."""
    return str(name).removeprefix("sentence-transformers/")
