"""The campaign of recipes: its rows can be trained, its small sets are what they say."""

from pathlib import Path

import pytest

import training_script
from benchmarks.campaign import EVERY_RUN, ROWS, few, spread
from crossmodal.data.dataset import read_dataset
from model import RECIPES


@pytest.mark.parametrize("given", ROWS.values(), ids=ROWS.keys())
def test_a_row_is_a_recipe(given: str) -> None:
    options = training_script.parse([*EVERY_RUN.split(), *given.split()])
    recipe = training_script.overridden(RECIPES[options.recipe], options)
    assert recipe.head_start_epochs and recipe.always_frozen("image") == recipe.always_frozen("text") == -1


def test_few_photos_keep_the_validation_split(collection: tuple[Path, Path], tmp_path: Path) -> None:
    captions, images = collection
    whole = read_dataset(captions, images).dataset
    small = read_dataset(few(whole, 5, tmp_path / "few.csv"), images).dataset
    assert (len(small.split("train")), len(small)) == (5, 5 + len(whole.split("val")))
    assert {image.name: image.captions for image in whole.images}.items() >= {
        image.name: image.captions for image in small.images
    }.items()
    assert {image.name for image in small.split("val").images} == {image.name for image in whole.split("val").images}


def test_a_spread_by_hand() -> None:
    assert spread([1.0, 2.0, 6.0]) == "3.0 ±2.5"
    assert spread([]) == "-"
