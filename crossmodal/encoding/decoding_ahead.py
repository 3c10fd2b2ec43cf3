"""Decodes photos in worker processes, ahead of the model that reads them."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from crossmodal.data.dataset import CaptionedImage, Dataset
from crossmodal.data.decoding import load_photo
from crossmodal.encoder import Prepare
from crossmodal.errors import PhotoError


class Photos(Protocol):
    """A source of image inputs: pixels, or, where `hidden` is true, the output of the tower's stem."""

    hidden: bool

    def epoch(self, batches: Sequence[Sequence[int]], epoch: int) -> Iterator[Tensor]:
        """Yield the augmented input of each batch of image indices."""
        ...

    def clean(self, indices: Sequence[int], at_once: int) -> Iterator[Tensor]:
        """Yield the inputs of these images without augmentation, at most `at_once` together."""
        ...


class View(Protocol):
    """Makes a random view of a photo for training; the same for the same key."""

    def __call__(self, photo: Image.Image, image: CaptionedImage, key: str) -> Tensor:
        """Return uint8 [3, size, size]."""
        ...


class _Decoded(TorchDataset[Tensor | str]):
    """Decodes the photos of a batch in a worker; each item is a whole batch, or why there is none."""

    def __init__(
        self,
        images: Sequence[CaptionedImage],
        batches: Sequence[Sequence[int]],
        prepare: Prepare,
        augmentation: View | None,
        view: str,
    ) -> None:
        self.images, self.batches, self.prepare = images, batches, prepare
        self.augmentation, self.view = augmentation, view

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> Tensor | str:
        try:
            return torch.stack([self._pixels(index) for index in self.batches[step]])
        except PhotoError as error:  # of which a worker would send the whole traceback as its message
            return str(error)

    def _pixels(self, index: int) -> Tensor:
        image = self.images[index]
        photo = load_photo(image.path, at_least=self.prepare.size)
        if self.augmentation is None:
            return self.prepare(photo)
        return self.augmentation(photo, image, f"{self.view} {index}")


class DecodedPhotos:
    """Photos that worker processes decode once per epoch, ahead of the training step."""

    hidden = False

    def __init__(
        self,
        dataset: Dataset,
        prepare: Prepare,
        augmentation: View | None = None,
        seed: int = 0,
        workers: int = 0,
        pin: bool = False,
    ) -> None:
        self._images, self._prepare, self._augmentation, self._seed = dataset.images, prepare, augmentation, seed
        self._workers, self._pin = workers, pin

    def _load(
        self, batches: Sequence[Sequence[int]], augmentation: View | None = None, view: str = ""
    ) -> Iterator[Tensor]:
        decoded = _Decoded(self._images, batches, self._prepare, augmentation, view)
        loaded = DataLoader(
            decoded,
            batch_size=None,
            num_workers=self._workers,
            pin_memory=self._pin,
            prefetch_factor=4 if self._workers else None,
        )
        for batch in loaded:
            if isinstance(batch, str):
                raise PhotoError(batch)
            yield batch

    def epoch(self, batches: Sequence[Sequence[int]], epoch: int) -> Iterator[Tensor]:
        """Yield augmented uint8 [N, 3, S, S]; each photo is decoded once."""
        return self._load(batches, self._augmentation, f"{self._seed} {epoch}")

    def clean(self, indices: Sequence[int], at_once: int) -> Iterator[Tensor]:
        """Yield uint8 [N, 3, S, S]."""
        return self._load(slices(indices, at_once))


def slices(indices: Sequence[int], at_once: int) -> list[Sequence[int]]:
    """Return the indices in consecutive slices of `at_once`; the last may be shorter."""
    return [indices[start : start + at_once] for start in range(0, len(indices), at_once)]
