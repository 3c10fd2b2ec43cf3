"""The frozen first stages' output of each photo: cached where it fits, else computed in each epoch."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossmodal.data.dataset import Dataset
from crossmodal.encoding.cached_features import files_of, kept
from crossmodal.encoding.decoding_ahead import Photos, slices
from crossmodal.encoding.frozen_parts import stem_of
from crossmodal.progress import Bars
from crossmodal.recipe import WHOLE
from crossmodal.towers.image import ImageTower

# Of the free memory, what the frozen stages' output may take.
CACHE_SHARE = 0.4
PHOTOS_AT_ONCE = 32


class StemPhotos:
    """The frozen stages' output, computed in each epoch.

    The views of an epoch come again after `views` epochs, and grids are rounded to fp16, both as in the
    cache: a run is the same with and without it.
    """

    hidden = True

    def __init__(self, tower: ImageTower, source: Photos, views: int, bf16: bool = False) -> None:
        """`views` is 0 where the source has no views; on a CPU, `bf16` is the arithmetic of the stem."""
        self._tower, self._source, self._views = tower, source, views
        self._compute = stem_of(tower, bf16)

    def epoch(self, batches: Sequence[Sequence[int]], epoch: int) -> Iterator[Tensor]:
        """Yield the stem's output of a batch's views."""
        for pixels in self._source.epoch(batches, (epoch - 1) % self._views + 1 if self._views else 0):
            yield self._stem(pixels)

    def clean(self, indices: Sequence[int], at_once: int) -> Iterator[Tensor]:
        """Yield the stem's output of photos as they are."""
        for pixels in self._source.clean(indices, at_once):
            yield self._stem(pixels)

    @torch.no_grad()
    def _stem(self, pixels: Tensor) -> Tensor:
        """Grids in fp16, [N, C, H, W]; of a tower that is frozen whole, features in fp32, [N, F]."""
        device = self._tower.mean.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            parts = [self._compute(part.to(device, non_blocking=True)) for part in pixels.split(PHOTOS_AT_ONCE)]
        hidden = torch.cat(parts)
        return hidden.half() if hidden.dim() == 4 else hidden.float()


class CachedStemPhotos(StemPhotos):
    """The same, computed once and kept in memory, for the photos and for each of their views."""

    def __init__(
        self,
        tower: ImageTower,
        source: Photos,
        views: int,
        dataset: Dataset,
        bars: Bars,
        features: Path,
        drawn: Any,
        bf16: bool = False,
    ) -> None:
        """What a tower that is frozen whole gives is kept in the folder `features` too.

        `drawn` are the plain values that decide how views are drawn.
        """
        super().__init__(tower, source, views, bf16)
        trained = [index for index, image in enumerate(dataset.images) if image.split == "train"]
        self._row = {index: row for row, index in enumerate(trained)}
        files = files_of(dataset.images) if tower.frozen_stages == WHOLE else []

        def collected(view: int) -> Tensor:
            rows, title = (trained, f"View {view} of {views}") if view else (range(len(dataset)), "Frozen stages")
            batches = slices(rows, PHOTOS_AT_ONCE)
            hidden = StemPhotos.epoch(self, batches, view) if view else StemPhotos.clean(self, rows, PHOTOS_AT_ONCE)
            return _collected(hidden, len(rows), title, bars)

        def cached(view: int) -> Tensor:
            if not files:
                return collected(view)
            inputs = [files, [view, drawn, trained] if view else "as they are", "bf16" if bf16 else "fp32"]
            return kept(features, tower, inputs, partial(collected, view))

        self._clean = cached(0)
        self._cached = [cached(view) for view in range(1, views + 1)]

    @staticmethod
    def bytes_needed(dataset: Dataset, tower: ImageTower, views: int) -> int:
        """Return the memory that the cache will take."""
        size = tower.preprocessing.size
        with torch.no_grad():
            one = tower.stem(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=tower.mean.device)).numel()
        return 2 * one * (len(dataset) + views * len(dataset.split("train")))

    def epoch(self, batches: Sequence[Sequence[int]], epoch: int) -> Iterator[Tensor]:
        """Yield the stem's output of a batch's views, or of the photos as they are where there are no views."""
        for images in batches:
            if self._cached:
                yield self._cached[(epoch - 1) % self._views][[self._row[index] for index in images]]
            else:
                yield self._clean[list(images)]

    def clean(self, indices: Sequence[int], at_once: int) -> Iterator[Tensor]:
        """Yield the stem's output of photos as they are."""
        for chunk in slices(indices, at_once):
            yield self._clean[list(chunk)]


def _collected(batches: Iterator[Tensor], count: int, title: str, bars: Bars) -> Tensor:
    """Return all batches as one tensor: grids in the memory order of the CPU's fast kernels."""
    collected: Tensor | None = None
    row = 0
    with bars(title, count, "photo") as advance:
        for hidden in batches:
            if collected is None:
                collected = torch.empty((count, *hidden.shape[1:]), dtype=hidden.dtype)
                if hidden.dim() == 4:
                    collected = collected.contiguous(memory_format=torch.channels_last)
            collected[row : row + len(hidden)] = hidden
            row += len(hidden)
            advance(len(hidden))
    assert collected is not None and row == count
    return collected
