"""The pictures of an epoch: decoded as they are needed, or kept as the frozen stages' output."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from crossmodal.data.dataset import CaptionedImage, Dataset
from crossmodal.data.pictures import load_picture
from crossmodal.encoder import Prepare
from crossmodal.progress import Bars
from crossmodal.towers.image import ALL, ImageTower
from crossmodal.training.augmentation import Augmentation
from crossmodal.training.features import files_of, kept

# Of the free memory, what the frozen stages' output may take.
CACHE_SHARE = 0.4


class Photos(Protocol):
    """A source of image inputs; `hidden` says whether they are pixels or the stem's output."""

    hidden: bool

    def epoch(self, batches: Sequence[Sequence[int]], epoch: int) -> Iterator[Tensor]:
        """Yield one input a batch of image indices, augmented."""
        ...

    def clean(self, indices: Sequence[int], at_once: int) -> Iterator[Tensor]:
        """Yield the named images as they are, at most `at_once` together."""
        ...


class _Decoded(TorchDataset[Tensor]):
    """Decodes the pictures of one batch, in a worker; an item is a whole batch."""

    def __init__(
        self,
        images: Sequence[CaptionedImage],
        batches: Sequence[Sequence[int]],
        prepare: Prepare,
        augmentation: Augmentation | None,
        view: str,
    ) -> None:
        self.images, self.batches, self.prepare = images, batches, prepare
        self.augmentation, self.view = augmentation, view

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> Tensor:
        return torch.stack([self._pixels(index) for index in self.batches[step]])

    def _pixels(self, index: int) -> Tensor:
        image = self.images[index]
        picture = load_picture(image.path, at_least=self.prepare.size)
        if self.augmentation is None:
            return self.prepare(picture)
        return self.augmentation(picture, image, f"{self.view} {index}")


class DecodedPhotos:
    """Pictures decoded once an epoch by worker processes, ahead of the step."""

    hidden = False

    def __init__(
        self,
        dataset: Dataset,
        prepare: Prepare,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        workers: int = 0,
        pin: bool = False,
    ) -> None:
        self._images, self._prepare, self._augmentation, self._seed = dataset.images, prepare, augmentation, seed
        self._workers, self._pin = workers, pin

    def _load(
        self, batches: Sequence[Sequence[int]], augmentation: Augmentation | None = None, view: str = ""
    ) -> Iterator[Tensor]:
        decoded = _Decoded(self._images, batches, self._prepare, augmentation, view)
        yield from DataLoader(
            decoded,
            batch_size=None,
            num_workers=self._workers,
            pin_memory=self._pin,
            prefetch_factor=4 if self._workers else None,
        )

    def epoch(self, batches: Sequence[Sequence[int]], epoch: int) -> Iterator[Tensor]:
        """Yield uint8 [N, 3, S, S], each picture decoded once."""
        return self._load(batches, self._augmentation, f"{self._seed} {epoch}")

    def clean(self, indices: Sequence[int], at_once: int) -> Iterator[Tensor]:
        """Yield uint8 [N, 3, S, S]."""
        return self._load(_slices(indices, at_once))


class StemPhotos:
    """The frozen stages' output of each picture and of some augmented views of it, in memory.

    What is frozen gives the same output in every epoch, so it is computed once.
    """

    hidden = True

    def __init__(
        self,
        dataset: Dataset,
        tower: ImageTower,
        source: DecodedPhotos,
        views: int,
        seed: int,
        bars: Bars,
        features: Path,
    ) -> None:
        """What a tower that is frozen whole gives is kept in the folder `features` too."""
        self._seed, self._views = seed, views
        everything = range(len(dataset))
        trained = [index for index, image in enumerate(dataset.images) if image.split == "train"]
        self._row = {index: row for row, index in enumerate(trained)}

        # View 0 is the picture as it is, of all images; the others are of those trained on.
        def clean() -> Tensor:
            return _stem_of(tower, source.clean(everything, 32), len(everything), "Frozen stages", bars)

        whole = tower.frozen_stages == ALL
        self._clean = kept(features, tower, files_of(dataset.images), clean) if whole else clean()
        self._augmented = [
            _stem_of(tower, source.epoch(_slices(trained, 32), view), len(trained), f"View {view} of {views}", bars)
            for view in range(1, views + 1)
        ]

    @staticmethod
    def bytes_needed(dataset: Dataset, tower: ImageTower, views: int) -> int:
        """Return the memory that the cache will take."""
        size = tower.preprocessing.size
        with torch.no_grad():
            one = tower.stem(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=tower.mean.device)).numel()
        return 2 * one * (len(dataset) + views * len(dataset.split("train")))

    def epoch(self, batches: Sequence[Sequence[int]], epoch: int) -> Iterator[Tensor]:
        """Yield fp16 [N, C, H, W]; each image shows another of its views each epoch."""
        for images in batches:
            if not self._augmented:
                yield self._clean[list(images)]
                continue
            picks = [
                (random.Random(f"view {self._seed} {index}").randrange(self._views) + epoch) % self._views
                for index in images
            ]
            yield torch.stack(
                [self._augmented[view][self._row[index]] for view, index in zip(picks, images, strict=True)]
            )

    def clean(self, indices: Sequence[int], at_once: int) -> Iterator[Tensor]:
        """Yield fp16 [N, C, H, W]."""
        for chunk in _slices(indices, at_once):
            yield self._clean[list(chunk)]


def _slices(indices: Sequence[int], at_once: int) -> list[Sequence[int]]:
    return [indices[start : start + at_once] for start in range(0, len(indices), at_once)]


@torch.no_grad()
def _stem_of(tower: ImageTower, pixels: Iterator[Tensor], count: int, title: str, bars: Bars) -> Tensor:
    """Return the stem's output of all pictures: grids fp16 in the memory order of the CPU's fast kernels."""
    kept: Tensor | None = None
    row = 0
    with bars(title, count, "photo") as advance:
        for batch in pixels:
            hidden = tower.stem(batch.to(tower.mean.device)).cpu()
            if kept is None:
                grid = hidden.dim() == 4  # a whole tower gives vectors, small enough for fp32
                kept = torch.empty((count, *hidden.shape[1:]), dtype=torch.half if grid else torch.float)
                kept = kept.contiguous(memory_format=torch.channels_last) if grid else kept
            kept[row : row + len(hidden)] = hidden
            row += len(hidden)
            advance(len(hidden))
    assert kept is not None and row == count
    return kept
