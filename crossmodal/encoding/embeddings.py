"""The embedding files of an epoch: all images and all captions, with the fingerprint of the model that made them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossmodal.checkpoint_format import check_format
from crossmodal.data.splits import SPLITS
from crossmodal.errors import CheckpointError
from crossmodal.files import load_tensors, save_tensors
from crossmodal.hubs import MOST_BIAS, Banks
from crossmodal.unit_vectors import have_unit_length

IMAGE_FORMAT, TEXT_FORMAT = "crossmodal-image-embeddings", "crossmodal-text-embeddings"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors fp16 of a captioned collection: images [N, D], texts [M, D], and what they are of.

    Where the model has banks, `biases` are those of images [N] and texts [M] (see crossmodal.hubs).
    """

    images: Tensor
    texts: Tensor
    image_names: Sequence[str]
    splits: Sequence[str]
    captions: Sequence[str]
    caption_to_image: Tensor
    data: Mapping[str, Any]
    biases: tuple[Tensor, Tensor] | None = None

    def with_banks(self, banks: Banks | None) -> "Embeddings":
        """Return the embeddings with the biases that the model's banks give."""
        if banks is None:
            return self
        images, texts = map(torch.from_numpy, banks.biases(self.images.numpy(), self.texts.numpy()))
        return replace(self, biases=(images, texts))

    def only(self, split: str) -> "Embeddings":
        """Return one split ("all" for everything); `caption_to_image` then counts the images of that split."""
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
            (self.biases[0][chosen], self.biases[1][captions]) if self.biases else None,
        )  # fmt: skip


def model_path(folder: Path, epoch: int) -> Path:
    """Return the path of an epoch's checkpoint."""
    return Path(folder) / f"model_epoch_{epoch}.pt"


def image_path(folder: Path, epoch: int) -> Path:
    """Return the path of an epoch's image embeddings."""
    return Path(folder) / f"img_embeds_epoch_{epoch}.pt"


def text_path(folder: Path, epoch: int) -> Path:
    """Return the path of an epoch's caption embeddings."""
    return Path(folder) / f"txt_embeds_epoch_{epoch}.pt"


def save_embeddings(folder: Path, epoch: int, fingerprint: str, embeddings: Embeddings) -> None:
    """Write both files of an epoch, each whole or not at all."""
    common = {
        "version": FORMAT_VERSION, "fingerprint": fingerprint, "epoch": epoch, "data": dict(embeddings.data),
        "image_names": list(embeddings.image_names), "splits": list(embeddings.splits),
        "captions": list(embeddings.captions), "caption_to_image": embeddings.caption_to_image,
    }  # fmt: skip
    parts = (
        (image_path(folder, epoch), IMAGE_FORMAT, embeddings.images), (text_path(folder, epoch), TEXT_FORMAT, embeddings.texts)
    )  # fmt: skip
    for (path, kind, vectors), bias in zip(parts, embeddings.biases or (None, None), strict=True):
        save_tensors(path, {"format": kind, **common, "embeds": vectors.half(), "bias": bias})


def load_embeddings(folder: Path, epoch: int, fingerprint: str, rebuild: str) -> Embeddings:
    """Read both files of an epoch, mapped into memory, and check all that they hold.

    Raises CheckpointError, with the command `rebuild` that writes them again, when one is absent, broken or
    inconsistent, or was made by another model than the one with this fingerprint.
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
        problem = _problem(images, texts)
    except KeyError as error:
        problem = f"lack {error}"
    if problem:
        raise CheckpointError(f"The embeddings of epoch {epoch} in {folder} {problem}; {advice}")
    return Embeddings(
        images["embeds"], texts["embeds"], images["image_names"], images["splits"], texts["captions"],
        texts["caption_to_image"], images["data"],
        (images["bias"], texts["bias"]) if images.get("bias") is not None else None,
    )  # fmt: skip


def _is_bias(bias: object, vectors: Tensor) -> bool:
    return isinstance(bias, Tensor) and bias.shape == vectors.shape[:1] and bool((bias.abs() <= MOST_BIAS).all())


def _problem(images: Mapping[str, Any], texts: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the contents of the two files, or None; raises KeyError for what they lack."""
    vectors, captions, owner = (images["embeds"], texts["embeds"]), texts["captions"], texts["caption_to_image"]
    names, splits = images["image_names"], images["splits"]
    if not all(isinstance(part, Tensor) and part.ndim == 2 and part.is_floating_point() for part in vectors):
        return "are not matrices of numbers"
    if not all(
        isinstance(part, list) and all(isinstance(text, str) for text in part) for part in (names, splits, captions)
    ):
        return "have names, splits or captions that are not lists of texts"
    if not isinstance(owner, Tensor) or owner.dtype != torch.long or not isinstance(images["data"], dict):
        return "have no index of each caption's image, or no data"
    counts = (len(names), len(splits), len(captions), owner.numel())
    if counts != (len(vectors[0]), len(vectors[0]), len(vectors[1]), len(vectors[1])) or 0 in counts or owner.ndim != 1:
        return "have names, splits, captions or indices in other numbers than vectors"
    if vectors[0].shape[1] != vectors[1].shape[1] or vectors[0].shape[1] == 0:
        return "have images and captions of different sizes"
    if len(set(names)) < len(names):
        return "name an image twice"
    if not set(splits) <= set(SPLITS):
        return f"have splits other than {', '.join(SPLITS)}"
    if owner.min() < 0 or owner.max() >= len(names):
        return "have a caption of an image that is not there"
    # Written together, but a kill between the two leaves one old.
    other = images["caption_to_image"]
    same_owner = isinstance(other, Tensor) and other.tolist() == owner.tolist()
    if not same_owner or any(images[key] != texts[key] for key in ("image_names", "splits", "captions")):
        return "are of different images and captions in the two files"
    biases = (images.get("bias"), texts.get("bias"))
    if biases != (None, None) and not all(map(_is_bias, biases, vectors)):
        return "have biases that do not fit the vectors"
    # NaN and infinity show in the extremes, which are found several times faster than by looking at each number.
    if not all(torch.stack(torch.aminmax(part)).isfinite().all() for part in vectors):
        return "have vectors with numbers that are not finite"
    if not all(have_unit_length(part.numpy()) for part in vectors):
        return "have vectors that are not of unit length"
    return None
