"""Random views: the same for the same key, flipped where allowed, in colours that keep their names."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from crossmodal.data.dataset import CaptionedImage
from crossmodal.data.preprocessing import Preprocessing, to_pixels
from crossmodal.dual_encoder import DualEncoder
from crossmodal.training.augmentation import Augmentation, may_flip

PLAIN = CaptionedImage("a", Path("a"), ("A dog.",))
SIDED = CaptionedImage("a", Path("a"), ("A dog on the LEFT.",))


@pytest.fixture
def prepare(model: DualEncoder) -> Preprocessing:
    return model.image_tower.preprocessing


def test_views_are_the_same_for_the_same_key(prepare: Preprocessing, photo: Image.Image) -> None:
    augment = Augmentation(prepare, colour=0.3)
    assert torch.equal(augment(photo, PLAIN, "a"), augment(photo, PLAIN, "a"))
    assert not torch.equal(augment(photo, PLAIN, "a"), augment(photo, PLAIN, "b"))


def test_a_view_leaves_the_generator_alone(prepare: Preprocessing, photo: Image.Image) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Augmentation(prepare)(photo, PLAIN, "a")
    assert torch.equal(torch.get_rng_state(), before)


def test_half_are_flipped_but_none_with_a_left_or_right(prepare: Preprocessing, photo: Image.Image) -> None:
    photo = photo.rotate(90, expand=True)  # its gradient from side to side
    augment = Augmentation(prepare, crop_area=1)
    as_it_is = prepare(photo)
    mirrored = to_pixels(prepare.square(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    views = [augment(photo, PLAIN, str(key)) for key in range(100)]
    assert all(torch.equal(view, as_it_is) or torch.equal(view, mirrored) for view in views)
    assert 30 < sum(torch.equal(view, mirrored) for view in views) < 70
    assert all(torch.equal(augment(photo, SIDED, str(key)), as_it_is) for key in range(20))
    never = Augmentation(prepare, crop_area=1, flip=False)
    assert all(torch.equal(never(photo, PLAIN, str(key)), as_it_is) for key in range(20))


def test_left_is_a_word_of_its_own() -> None:
    assert not may_flip(SIDED)
    assert may_flip(CaptionedImage("a", Path("a"), ("Leftovers on a bright plate.",)))


def test_colours_vary_and_a_grey_stays_grey(prepare: Preprocessing) -> None:
    augment = Augmentation(prepare, crop_area=1, flip=False, colour=0.4)
    red, grey = (Image.new("RGB", (40, 40), colour) for colour in ((200, 40, 40), (120, 120, 120)))
    seen = [augment(red, PLAIN, str(key))[:, 0, 0].tolist() for key in range(20)]
    assert len({tuple(colour) for colour in seen}) > 10
    assert all(colour[0] > colour[1] == colour[2] for colour in seen)  # red still
    assert all(len(set(augment(grey, PLAIN, str(key))[:, 0, 0].tolist())) == 1 for key in range(20))


def test_hue_turns_colours_and_leaves_greys(prepare: Preprocessing) -> None:
    augment = Augmentation(prepare, crop_area=1, flip=False, hue=0.05)
    red, grey = (Image.new("RGB", (40, 40), colour) for colour in ((200, 40, 40), (120, 120, 120)))
    seen = [augment(red, PLAIN, str(key))[:, 0, 0].tolist() for key in range(20)]
    assert len({tuple(colour) for colour in seen}) > 5
    assert all(colour[0] == max(colour) for colour in seen)  # red still
    assert augment(grey, PLAIN, "a")[:, 0, 0].tolist() == [120, 120, 120]
