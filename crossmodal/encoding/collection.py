"""Encodes all images and captions of a data set: the embeddings that metrics and search read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossmodal.data.dataset import Dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoder import Encoder
from crossmodal.encoding.decoding_ahead import DecodedPhotos, Photos
from crossmodal.encoding.embeddings import Embeddings
from crossmodal.encoding.views import encode_views
from crossmodal.progress import Bars, silent
from crossmodal.towers.text import TextTower

IMAGES_AT_ONCE = 64


@torch.inference_mode()
def image_features(
    model: DualEncoder,
    batches: Iterable[Tensor],
    compute: Callable[[Tensor], Tensor],
    count: int,
    bars: Bars,
    title: str,
) -> Tensor:
    """Return the image tower's features [count, F] of batches of inputs, fp32 on the CPU.

    `compute` is the tower itself, for pixels, or its trunk, for the stem's output.
    """
    model.eval()
    parts = []
    bf16 = model.device.type == "cuda"
    with bars(title, count, "photo") as advance:
        for inputs in batches:
            with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
                inputs = inputs.to(model.device, non_blocking=True)
                features = compute(inputs if inputs.dtype == torch.uint8 else inputs.to(model.logit_scale.dtype))
            parts.append(features.float().cpu())
            advance(len(inputs))
    return torch.cat(parts)


@torch.inference_mode()
def text_features(tower: TextTower, captions: Sequence[str], bars: Bars, bf16: bool = False) -> Tensor:
    """Return a text tower's features [len(captions), F], fp32 on the CPU; `bf16` is the arithmetic of the tower."""
    tower.eval()
    parts = []
    device = next(tower.parameters()).device.type
    with bars("Features of captions", len(captions), "caption") as advance:
        for start in range(0, len(captions), 512):
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                parts.append(tower(captions[start : start + 512]).float().cpu())
            advance(len(parts[-1]))
    return torch.cat(parts)


@torch.inference_mode()
def encode_captions(model: Encoder, captions: Sequence[str], bars: Bars = silent, bf16: bool = False) -> Tensor:
    """Return unit vectors [len(captions), D]; equal captions are encoded once. `bf16` is the arithmetic of the model."""
    model.eval()
    distinct = dict.fromkeys(captions)
    row = {caption: number for number, caption in enumerate(distinct)}
    parts = []
    with (
        bars("Encoding captions", len(distinct), "caption") as advance,
        torch.autocast(model.device.type, torch.bfloat16, enabled=bf16),
    ):
        for part in model.encode_sentences(list(distinct)):
            parts.append(part)
            advance(len(part))
    return torch.cat(parts)[[row[caption] for caption in captions]]


@torch.inference_mode()
def encode_photos(
    model: DualEncoder, photos: Photos, indices: Sequence[int], bars: Bars = silent, title: str = "Encoding photos"
) -> Tensor:
    """Return unit vectors [len(indices), D]."""
    batches = photos.clean(indices, IMAGES_AT_ONCE)
    compute = model.image_tower.trunk if photos.hidden else model.image_tower
    features = image_features(model, batches, compute, len(indices), bars, title)
    return torch.cat([model.project_image(part.to(model.device)).cpu() for part in features.split(4096)])


@torch.inference_mode()
def encode_files(model: Encoder, dataset: Dataset, workers: int, bars: Bars = silent, views: int = 1) -> Tensor:
    """Return unit vectors [len(dataset), D] of images that are read from their files; see encode_views for more than one view."""
    photos = DecodedPhotos(dataset, model.preparation, workers=workers)
    model.eval()
    parts = []
    with bars("Encoding photos", len(dataset), "photo") as advance:
        for inputs in photos.clean(range(len(dataset)), IMAGES_AT_ONCE):
            if views == 1:
                parts.append(_encoded(model, inputs))
            else:
                pixels = inputs.permute(0, 2, 3, 1).numpy()
                parts.append(torch.from_numpy(encode_views(partial(_encoded_pixels, model), pixels, views)))
            advance(len(inputs))
    return torch.cat(parts)


def _encoded(model: Encoder, inputs: Tensor) -> Tensor:
    with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda"):
        return model.encode_image(inputs.to(model.device, non_blocking=True)).float().cpu()


def _encoded_pixels(model: Encoder, pixels: np.ndarray) -> np.ndarray:
    return _encoded(model, torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()


def encode_dataset(
    model: Encoder, dataset: Dataset, data: Mapping[str, Any], workers: int, bars: Bars = silent, views: int = 1
) -> Embeddings:
    """Return the embeddings of all images and captions of a data set; images are read from their files."""
    images = encode_files(model, dataset, workers, bars, views)
    return as_embeddings(dataset, images, encode_captions(model, dataset.captions, bars), data)


def as_embeddings(dataset: Dataset, images: Tensor, texts: Tensor, data: Mapping[str, Any]) -> Embeddings:
    """Return vectors with the names, splits and captions of a data set, in the precision that is stored."""
    names, splits = [image.name for image in dataset.images], [image.split for image in dataset.images]
    owner = torch.tensor(dataset.caption_to_image)
    return Embeddings(images.half(), texts.half(), names, splits, dataset.captions, owner, data)
