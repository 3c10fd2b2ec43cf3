"""The embeddings of the everyday scenes beside a checkpoint, so that nobody waits for some 2,000 sentences to be encoded."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from crossmodal.checkpoint_format import check_format
from crossmodal.errors import CheckpointError
from crossmodal.files import load_tensors, save_tensors

FORMAT, FORMAT_VERSION = "crossmodal-sentence-embeddings", 1


def everyday_path(folder: Path, epoch: int) -> Path:
    """Return their place for an epoch's checkpoint."""
    return Path(folder) / f"everyday_epoch_{epoch}.pt"


def save_everyday(folder: Path, epoch: int, fingerprint: str, sentences: Sequence[str], embeds: Tensor) -> None:
    """Write them, whole or not at all."""
    content = {"format": FORMAT, "version": FORMAT_VERSION, "fingerprint": fingerprint, "epoch": epoch}
    save_tensors(everyday_path(folder, epoch), {**content, "sentences": _digest(sentences), "embeds": embeds.half()})


def load_everyday(path: Path, fingerprint: str, sentences: Sequence[str]) -> Tensor:
    """Return them [N, D].

    Raises CheckpointError where there are none, or they are of another model or of other sentences.
    """
    advice = "delete it; the scenes are encoded again when they are needed."
    content = load_tensors(path, advice=advice)
    check_format(content, path, FORMAT, FORMAT_VERSION)
    embeds = content.get("embeds")
    belongs = (content.get("fingerprint"), content.get("sentences")) == (fingerprint, _digest(sentences))
    if not belongs or not isinstance(embeds, Tensor) or embeds.dim() != 2 or len(embeds) != len(sentences):
        raise CheckpointError(f"{path} is of another model, or of other sentences; {advice}")
    return embeds


def _digest(sentences: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sentences).encode()).hexdigest()
