"""The embedding files of an epoch: all images and all captions, bound to the model that made them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossmodal.checkpoint_format import check_format
from crossmodal.errors import CheckpointError
from crossmodal.files import load_tensors, save_tensors

IMAGE_FORMAT, TEXT_FORMAT = "crossmodal-image-embeddings", "crossmodal-text-embeddings"
SENTENCES_FORMAT = "crossmodal-sentence-embeddings"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors fp16 of a captioned collection: images [N, D], texts [M, D], and what they are of."""

    images: Tensor
    texts: Tensor
    image_names: Sequence[str]
    splits: Sequence[str]
    captions: Sequence[str]
    caption_to_image: Tensor
    data: Mapping[str, Any]

    def only(self, split: str) -> "Embeddings":
        """Return one split ("all" for everything), its captions' images counted anew."""
        chosen = torch.tensor([row for row, name in enumerate(self.splits) if split in ("all", name)], dtype=torch.long)
        if len(chosen) == len(self.splits):
            return self
        new_row = torch.full((len(self.splits),), -1)
        new_row[chosen] = torch.arange(len(chosen))
        captions = (new_row[self.caption_to_image] >= 0).nonzero()[:, 0]
        rows, kept = chosen.tolist(), captions.tolist()
        return Embeddings(
            self.images[chosen], self.texts[captions], [self.image_names[row] for row in rows],
            [self.splits[row] for row in rows], [self.captions[index] for index in kept],
            new_row[self.caption_to_image[captions]], self.data,
        )  # fmt: skip


def model_path(folder: Path, epoch: int) -> Path:
    """Return the place of an epoch's checkpoint."""
    return Path(folder) / f"model_epoch_{epoch}.pt"


def image_path(folder: Path, epoch: int) -> Path:
    """Return the place of an epoch's image embeddings."""
    return Path(folder) / f"img_embeds_epoch_{epoch}.pt"


def text_path(folder: Path, epoch: int) -> Path:
    """Return the place of an epoch's caption embeddings."""
    return Path(folder) / f"txt_embeds_epoch_{epoch}.pt"


def save_embeddings(folder: Path, epoch: int, fingerprint: str, embeddings: Embeddings) -> None:
    """Write both files of an epoch, each whole or not at all."""
    common = {
        "version": FORMAT_VERSION, "fingerprint": fingerprint, "epoch": epoch, "data": dict(embeddings.data),
        "image_names": list(embeddings.image_names), "splits": list(embeddings.splits),
        "captions": list(embeddings.captions), "caption_to_image": embeddings.caption_to_image,
    }  # fmt: skip
    save_tensors(image_path(folder, epoch), {"format": IMAGE_FORMAT, **common, "embeds": embeddings.images.half()})
    save_tensors(text_path(folder, epoch), {"format": TEXT_FORMAT, **common, "embeds": embeddings.texts.half()})


def load_embeddings(folder: Path, epoch: int, fingerprint: str, rebuild: str) -> Embeddings:
    """Read both files of an epoch.

    Raises CheckpointError, with the command `rebuild` that makes them anew, when one is absent,
    broken, or was made by another model than the one with this fingerprint.
    """
    advice = f"make the embeddings with `{rebuild}`."
    contents = []
    for path, kind in ((image_path(folder, epoch), IMAGE_FORMAT), (text_path(folder, epoch), TEXT_FORMAT)):
        content = load_tensors(path, advice=advice, mmap=True)
        check_format(content, path, kind, FORMAT_VERSION)
        if content.get("fingerprint") != fingerprint:
            raise CheckpointError(f"{path} was made by another model than {model_path(folder, epoch).name}; {advice}")
        contents.append(content)
    images, texts = contents
    try:
        return Embeddings(
            images["embeds"], texts["embeds"], images["image_names"], images["splits"], texts["captions"],
            texts["caption_to_image"], images["data"],
        )  # fmt: skip
    except KeyError as error:
        raise CheckpointError(f"The embeddings of epoch {epoch} in {folder} lack {error}; {advice}") from error


def everyday_path(folder: Path, epoch: int) -> Path:
    """Return the place of an epoch's embeddings of the everyday scenes."""
    return Path(folder) / f"everyday_epoch_{epoch}.pt"


def save_everyday(folder: Path, epoch: int, fingerprint: str, sentences: Sequence[str], embeds: Tensor) -> None:
    """Write the embeddings of the everyday scenes, whole or not at all."""
    content = {"version": FORMAT_VERSION, "fingerprint": fingerprint, "epoch": epoch, "sentences": _digest(sentences)}
    save_tensors(everyday_path(folder, epoch), {"format": SENTENCES_FORMAT, **content, "embeds": embeds.half()})


def load_everyday(path: Path, fingerprint: str, sentences: Sequence[str]) -> Tensor:
    """Return the embeddings [N, D] of the everyday scenes.

    Raises CheckpointError where there are none, or of another model or other sentences.
    """
    advice = "delete it; the scenes are encoded again when they are needed."
    content = load_tensors(path, advice=advice)
    check_format(content, path, SENTENCES_FORMAT, FORMAT_VERSION)
    if (content.get("fingerprint"), content.get("sentences")) != (fingerprint, _digest(sentences)):
        raise CheckpointError(f"{path} is of another model, or of other sentences; {advice}")
    return content["embeds"]


def _digest(sentences: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sentences).encode()).hexdigest()
