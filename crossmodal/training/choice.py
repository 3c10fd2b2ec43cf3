"""Which source of photos a run reads: files, a cache of decoded ones, or the frozen stages' output."""

from collections.abc import Callable
from pathlib import Path

import psutil

from crossmodal.data.dataset import Dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.decoding_ahead import DecodedPhotos, Photos
from crossmodal.errors import CrossmodalError
from crossmodal.progress import Bars
from crossmodal.training.augmentation import Augmentation
from crossmodal.training.cached_photos import CachedPhotos
from crossmodal.training.stem_photos import CACHE_SHARE, StemPhotos

Say = Callable[[str], None]


def choose_photos(
    model: DualEncoder, dataset: Dataset, folder: Path, workers: int, processes: int, bars: Bars, say: Say
) -> Photos:
    """Return the source that the model's recipe asks for, and say what it takes before filling it.

    `folder` is where what is kept on disk lies. Raises CrossmodalError for a cache in memory that
    does not fit.
    """
    recipe, tower = model.recipe, model.image_tower
    pin = model.device.type == "cuda"
    augmentation = Augmentation.of(recipe, tower.preprocessing)
    decoded = DecodedPhotos(dataset, tower.preprocessing, augmentation, recipe.seed, workers, pin)
    if not recipe.frozen_stages:
        return decoded if recipe.cache == "none" else _cached(model, dataset, decoded, folder, processes, bars, say)
    views = recipe.views if recipe.augment else 0
    needed, free = StemPhotos.bytes_needed(dataset, tower, views), psutil.virtual_memory().available
    fits = needed * processes < CACHE_SHARE * free
    frozen = f"The first {recipe.frozen_stages} stages are" if recipe.frozen_stages > 0 else "The whole image tower is"
    say(
        f"{frozen} frozen: the output for {len(dataset):,} photos "
        + (f"({views} views each) " if views else "")
        + f"takes {needed / 1e9:.1f} GB of memory"
        + ("." if fits else f", more than {CACHE_SHARE:.0%} of what is free, so it is computed anew in each step.")
    )
    return StemPhotos(dataset, tower, decoded, views, recipe.seed, bars, folder) if fits else decoded


def _cached(
    model: DualEncoder, dataset: Dataset, decoded: DecodedPhotos, folder: Path, processes: int, bars: Bars, say: Say
) -> Photos:
    recipe, prepare = model.recipe, model.image_tower.preprocessing
    needed, on_disk = CachedPhotos.bytes_needed(dataset, prepare), recipe.cache == "disk"
    say(f"The decoded photos take {needed / 1e9:.1f} GB {'on disk' if on_disk else 'of memory in each process'}.")
    if not on_disk and needed * processes > CACHE_SHARE * psutil.virtual_memory().available:
        raise CrossmodalError(
            f"That is more than {CACHE_SHARE:.0%} of the free memory; keep them on disk with --cache disk."
        )
    augmentation = Augmentation.of(recipe, prepare)
    return CachedPhotos(dataset, prepare, decoded, augmentation, recipe.seed, bars, folder if on_disk else None)
