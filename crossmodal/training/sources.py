"""The photos and captions that a run trains on, and what is wrong with them."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossmodal.data.dataset import Checked, Dataset, read_dataset, refuse_if_many_bad
from crossmodal.data.sample import NOTE, SEED, draw_sample
from crossmodal.data.splits import SPLITS
from crossmodal.errors import CrossmodalError
from crossmodal.files import write_text
from crossmodal.places import DRAWN, WORKPLACE
from crossmodal.progress import Bars
from crossmodal.recipe import Recipe
from crossmodal.training.distributed import first_process_first, is_first, say

CAPTIONS, IMAGES, SAMPLE = WORKPLACE / "captions.txt", WORKPLACE / "flickr30k_images", DRAWN
# Scenes that are trained on beside photos come from another seed than the sample that the page shows.
EXTRA_SEED = SEED + 1000
BAD_ROWS_SHOWN = 50
MOST_WEIGHT = 100


@dataclass(frozen=True)
class Sources:
    """What a user gave to train on; None is what lies in the default place."""

    captions: Path | None
    images: Path | None
    split: Sequence[float] | None  # shares of train, val and test, where the data set has no split
    skip_bad: bool
    scenes: int  # drawn ones, trained on beside the photos
    also: Sequence[Sequence[str]]  # captions, images and weight of further data sets
    listed: Path  # folder of the lists of bad rows

    @property
    def drawn_only(self) -> bool:
        """Whether there are no photos to train on, neither named nor in the default place."""
        return self.captions is None and self.images is None and not CAPTIONS.exists()

    def read(self, recipe: Recipe, bars: Bars) -> tuple[Dataset, Dataset, dict[str, Any]]:
        """Return the data set, the images that are trained on beside it, and where the data set lies.

        Raises CrossmodalError where too much of it cannot be used.
        """
        captions, images = self.captions or CAPTIONS, self.images or IMAGES
        if self.drawn_only:
            say(f"There is no captions.txt, so this trains on the drawn sample. {NOTE}")
            with first_process_first():
                captions, images = draw_sample(SAMPLE, bars=bars)
        ratios = tuple(self.split or recipe.split)
        if not all(map(math.isfinite, ratios)):
            raise CrossmodalError("--split should be three numbers that add up to 1.")
        dataset = self._usable(captions, images, "bad-rows.txt", recipe, bars)
        extra = Dataset(())
        if self.scenes:
            with first_process_first():
                drawn = draw_sample(SAMPLE.with_name("drawn-extra"), self.scenes, EXTRA_SEED, bars)
            extra = read_dataset(*drawn, ratios=(1, 0, 0), check=False).dataset
        for number, place in enumerate(self.also, start=2):
            others = self._others(place, f"bad-rows-{number}.txt", recipe, bars)
            extra = Dataset((*extra.images, *others.images))
        data = {
            "captions": str(captions.resolve()), "images": str(images.resolve()), "ratios": list(ratios),
        }  # fmt: skip
        return dataset, extra, data | ({"note": NOTE} if self.drawn_only else {})

    def _others(self, place: Sequence[str], listed: str, recipe: Recipe, bars: Bars) -> Dataset:
        """Return the train split of a data set that --also names."""
        try:
            times = float(place[2])
        except ValueError:
            times = math.nan
        if not 0 < times <= MOST_WEIGHT:
            raise CrossmodalError(
                f"--also {shlex.join(place)}: the weight should be greater than 0, and {MOST_WEIGHT} at most."
            )
        train = self._usable(Path(place[0]), Path(place[1]), listed, recipe, bars).split("train")
        return Dataset(tuple(replace(image, weight=times) for image in train.images))

    def _usable(self, captions: Path, images: Path, listed: str, recipe: Recipe, bars: Bars) -> Dataset:
        ratios = tuple(self.split or recipe.split)
        checked = read_dataset(captions, images, ratios, recipe.seed, bars)
        report(checked, captions, self.listed / listed)
        refuse_if_many_bad(checked, captions, self.skip_bad)
        return checked.dataset


def report(checked: Checked, captions: Path, listed: Path) -> None:
    """Name the bad rows, of many the first ones and all in the file `listed`, and say how many rows are left."""
    for row in checked.bad[:BAD_ROWS_SHOWN]:
        say(f"  {row}")
    if len(checked.bad) > BAD_ROWS_SHOWN:
        if is_first():
            write_text(listed, "\n".join(map(str, checked.bad)) + "\n")
        say(f"  ... and {len(checked.bad) - BAD_ROWS_SHOWN} more, all in {listed}")
    for note in checked.notes:
        say(f"{captions}: {note}")
    dataset = checked.dataset
    sizes = [f"{len(dataset.split(split)):,} {split}" for split in SPLITS]
    left = (
        f"{checked.rows - len(checked.bad):,} of {checked.rows:,} rows" if checked.bad else f"all {checked.rows:,} rows"
    )
    say(
        f"{captions}: {left} can be used; {len(dataset):,} images ({', '.join(sizes)}), {len(dataset.captions):,} captions."
    )
