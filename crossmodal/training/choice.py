"""Which source of photos a run reads: files, a cache of decoded ones, or the frozen stages' output."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import psutil

from crossmodal.data.dataset import Dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.decoding_ahead import DecodedPhotos, Photos
from crossmodal.encoding.devices import trains_in_bf16
from crossmodal.errors import CrossmodalError
from crossmodal.progress import Bars
from crossmodal.recipe import WHOLE
from crossmodal.training.augmentation import Augmentation, may_flip
from crossmodal.training.cached_photos import CachedPhotos
from crossmodal.training.stem_photos import CACHE_SHARE, CachedStemPhotos, StemPhotos

Say = Callable[[str], None]


def choose_photos(
    model: DualEncoder, dataset: Dataset, folder: Path, workers: int, processes: int, bars: Bars, say: Say
) -> Photos:
    """Return the source of photos for the model's recipe, and say what memory it takes before filling it.

    `folder` is that of what is cached on disk. Raises CrossmodalError for a cache in memory that does
    not fit.
    """
    recipe, tower = model.recipe, model.image_tower
    pin = model.device.type == "cuda"
    augmentation = Augmentation.of(recipe, tower.preprocessing)
    decoded = DecodedPhotos(dataset, tower.preprocessing, augmentation, recipe.seed, workers, pin)
    frozen = recipe.always_frozen("image")
    if not frozen or (recipe.augment and not recipe.views):  # new views in each epoch leave nothing to cache
        return decoded if recipe.cache == "none" else _cached(model, dataset, decoded, folder, processes, bars, say)
    views = recipe.views if recipe.augment else 0
    bf16 = trains_in_bf16(recipe.precision, model.device)
    what = "The whole image tower is" if frozen == WHOLE else f"The first {frozen} stages of the image tower are"
    needed, free = CachedStemPhotos.bytes_needed(dataset, tower, views), psutil.virtual_memory().available
    fits = needed * processes < CACHE_SHARE * free
    say(
        f"{what} frozen: the output for {len(dataset):,} photos "
        + (f"({views} views each) " if views else "")
        + f"takes {needed / 1e9:.1f} GB of memory"
        + (" in each process." if processes > 1 else ".")
        + ("" if fits else f" That is more than {CACHE_SHARE:.0%} of what is free, so it is computed in each step.")
    )
    if not fits:
        return StemPhotos(tower, decoded, views, bf16)
    drawn = [asdict(augmentation), recipe.seed, [*map(may_flip, dataset.images)]] if augmentation else []
    return CachedStemPhotos(tower, decoded, views, dataset, bars, folder, drawn, bf16)


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
