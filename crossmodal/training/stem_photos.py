"""The frozen stages' output of each photo, computed once and read in every epoch."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from crossmodal.data.dataset import Dataset
from crossmodal.encoding.cached_features import files_of, kept
from crossmodal.encoding.decoding_ahead import DecodedPhotos, slices
from crossmodal.progress import Bars
from crossmodal.towers.image import ALL, ImageTower

# Of the free memory, what the frozen stages' output may take.
CACHE_SHARE = 0.4


class StemPhotos:
    """The frozen stages' output of each photo and of some augmented views of it, in memory.

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

        # View 0 is the photo as it is, of all images; the others are of those trained on.
        def clean() -> Tensor:
            return _stem_of(tower, source.clean(everything, 32), len(everything), "Frozen stages", bars)

        whole = tower.frozen_stages == ALL
        self._clean = kept(features, tower, files_of(dataset.images), clean) if whole else clean()
        self._augmented = [
            _stem_of(tower, source.epoch(slices(trained, 32), view), len(trained), f"View {view} of {views}", bars)
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
        for chunk in slices(indices, at_once):
            yield self._clean[list(chunk)]


@torch.no_grad()
def _stem_of(tower: ImageTower, pixels: Iterator[Tensor], count: int, title: str, bars: Bars) -> Tensor:
    """Return the stem's output of all photos: grids fp16 in the memory order of the CPU's fast kernels."""
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
