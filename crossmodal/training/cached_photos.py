"""Decoded photos kept in memory or on disk, so that an epoch decodes nothing."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from crossmodal.data.dataset import Dataset
from crossmodal.data.preprocessing import Preprocessing
from crossmodal.encoding.cached_features import files_of
from crossmodal.encoding.decoding_ahead import DecodedPhotos
from crossmodal.files import whole_file
from crossmodal.progress import Bars
from crossmodal.training.augmentation import Augmentation


class CachedPhotos:
    """All photos as the tower's input, uint8 [N, 3, S, S]; views are cropped out of these."""

    hidden = False

    def __init__(
        self,
        dataset: Dataset,
        prepare: Preprocessing,
        source: DecodedPhotos,
        augmentation: Augmentation | None,
        seed: int,
        bars: Bars,
        folder: Path | None,
    ) -> None:
        """With `folder` the photos lie on disk, and a later run finds them there; else in memory."""
        self._images, self._augmentation, self._seed = dataset.images, augmentation, seed
        shape = (len(dataset), 3, prepare.size, prepare.size)
        if folder is None:
            self._pixels = np.empty(shape, dtype=np.uint8)
            self._fill(self._pixels, source, bars)
            return
        key = hashlib.sha256(json.dumps([asdict(prepare), files_of(dataset.images)]).encode()).hexdigest()[:24]
        path = folder / f"photos-{key}.u8"
        if not path.is_file() or path.stat().st_size != np.prod(shape):
            with whole_file(path) as temporary:
                self._fill(np.memmap(temporary, np.uint8, "w+", shape=shape), source, bars)
        self._pixels = np.memmap(path, np.uint8, "r", shape=shape)

    @staticmethod
    def bytes_needed(dataset: Dataset, prepare: Preprocessing) -> int:
        """Return how large the cache will be."""
        return len(dataset) * 3 * prepare.size**2

    def _fill(self, pixels: np.ndarray, source: DecodedPhotos, bars: Bars) -> None:
        row = 0
        with bars("Caching photos", len(pixels), "photo") as advance:
            for batch in source.clean(range(len(pixels)), 64):
                pixels[row : row + len(batch)] = batch.numpy()
                row += len(batch)
                advance(len(batch))

    def epoch(self, batches: Sequence[Sequence[int]], epoch: int) -> Iterator[Tensor]:
        """Yield uint8 [N, 3, S, S], augmented."""
        for images in batches:
            if self._augmentation:
                yield torch.stack([self._view(self._augmentation, index, epoch) for index in images])
            else:
                yield torch.from_numpy(self._pixels[list(images)])

    def _view(self, augmentation: Augmentation, index: int, epoch: int) -> Tensor:
        photo = Image.fromarray(np.ascontiguousarray(self._pixels[index].transpose(1, 2, 0)))
        return augmentation(photo, self._images[index], f"{self._seed} {epoch} {index}")

    def clean(self, indices: Sequence[int], at_once: int) -> Iterator[Tensor]:
        """Yield uint8 [N, 3, S, S]."""
        for start in range(0, len(indices), at_once):
            yield torch.from_numpy(self._pixels[list(indices[start : start + at_once])])
