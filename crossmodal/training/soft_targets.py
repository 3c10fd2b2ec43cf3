"""Soft targets: how well other captions and images of a batch fit, by a teacher or by caption similarity."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from crossmodal.data.dataset import Dataset
from crossmodal.encoding.cached_features import files_of, kept
from crossmodal.encoding.collection import encode_captions, encode_files, text_features
from crossmodal.recipe import Recipe
from crossmodal.runs.opening import open_encoder
from crossmodal.towers.text import text_tower
from crossmodal.training.batches import Batch
from crossmodal.training.setting import Setting


class SoftTargets:
    """Soft targets of the batches of a train split."""

    def __init__(self, captions: list[str], texts: Tensor, images: Tensor, temperature: float) -> None:
        """`texts` [len(captions), D] and `images` [N, D] are the vectors of the captions and of the split's N images."""
        self._row = {caption: row for row, caption in enumerate(captions)}
        self._texts, self._images, self._temperature = texts, images, temperature

    def logits(self, batch: Batch) -> Tensor:
        """Return the soft targets of a batch as logits [captions, images]."""
        rows = [self._row[caption] for caption in batch.captions]
        return self._texts[rows].float() @ self._images[list(batch.images)].float().T / self._temperature


def soft_targets(recipe: Recipe, dataset: Dataset, setting: Setting, device: torch.device) -> SoftTargets | None:
    """Return the soft targets of a recipe over the train split `dataset`; None where it has none.

    The vectors are computed once and cached in the run's folder. Raises WeightsError when a teacher cannot be had.
    """
    if recipe.soft_targets == "none":
        return None
    captions, folder, bars = list(dict.fromkeys(dataset.captions)), setting.features, setting.bars
    if recipe.soft_targets == "captions":
        # As it was published, also when a run is resumed with the tower half trained.
        tower = text_tower(replace(recipe, text_layers=""), setting.weights).to(device).eval()
        texts = kept(folder, tower, captions, lambda: text_features(tower, captions, bars))
        texts = F.normalize(texts, dim=1)
        return SoftTargets(captions, texts, _mean_of_captions(dataset, captions, texts), recipe.soft_temperature)
    teacher, _, _ = open_encoder(recipe.teacher, setting.weights)
    teacher = teacher.to(device)
    texts = kept(folder, teacher, captions, lambda: encode_captions(teacher, captions, bars))
    files = files_of(dataset.images)
    images = kept(folder, teacher, files, lambda: encode_files(teacher, dataset, setting.workers, bars))
    return SoftTargets(captions, texts, images, teacher.temperature)


def _mean_of_captions(dataset: Dataset, captions: list[str], texts: Tensor) -> Tensor:
    """Return the mean of each image's caption vectors: a product with it is the mean of their cosines."""
    row = {caption: number for number, caption in enumerate(captions)}
    return torch.stack([texts[[row[caption] for caption in image.captions]].mean(0) for image in dataset.images])
