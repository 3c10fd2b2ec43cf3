"""Soft targets: how well other captions and images of a batch fit, by teachers or by caption similarity."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Judge:
    """One model's vectors of the captions, texts [M, D], and of a train split, images [N, D]."""

    texts: Tensor
    images: Tensor
    temperature: float

    def logits(self, captions: Sequence[int], images: Sequence[int]) -> Tensor:
        """Return how well these rows fit each other, [captions, images]."""
        return self.texts[captions].float() @ self.images[images].float().T / self.temperature


class SoftTargets:
    """Soft targets of the batches of a train split: the mean of what one or several models say."""

    def __init__(self, captions: list[str], judges: Sequence[Judge]) -> None:
        """`captions` are those of the rows of the judges' texts."""
        self._row = {caption: row for row, caption in enumerate(captions)}
        self._judges = judges

    def logits(self, batch: Batch) -> Tensor:
        """Return the soft targets of a batch as logits [captions, images]."""
        rows, images = [self._row[caption] for caption in batch.captions], list(batch.images)
        return torch.stack([judge.logits(rows, images) for judge in self._judges]).mean(0)


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
        means = _mean_of_captions(dataset, captions, texts)
        return SoftTargets(captions, [Judge(texts, means, recipe.soft_temperature)])
    names = [name.strip() for name in recipe.teacher.split(",")]
    return SoftTargets(captions, [_teacher(name, dataset, captions, setting, device) for name in names])


def _teacher(name: str, dataset: Dataset, captions: list[str], setting: Setting, device: torch.device) -> Judge:
    teacher, _, _ = open_encoder(name, setting.weights)
    teacher, folder, bars = teacher.to(device), setting.features, setting.bars
    texts = kept(folder, teacher, captions, lambda: encode_captions(teacher, captions, bars))
    files = files_of(dataset.images)
    images = kept(folder, teacher, files, lambda: encode_files(teacher, dataset, setting.workers, bars))
    return Judge(texts, images, teacher.temperature)


def _mean_of_captions(dataset: Dataset, captions: list[str], texts: Tensor) -> Tensor:
    """Return the mean of each image's caption vectors: a product with it is the mean of their cosines."""
    row = {caption: number for number, caption in enumerate(captions)}
    return torch.stack([texts[[row[caption] for caption in image.captions]].mean(0) for image in dataset.images])
