"""Random views of the photos that are trained on: crops, flips, colour jitter."""

import random
import re
from dataclasses import dataclass

import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.functional import adjust_hue

from crossmodal.data.dataset import CaptionedImage
from crossmodal.data.preprocessing import Preprocessing, to_pixels
from crossmodal.recipe import Recipe

SIDES = re.compile(r"\b(left|right)\b", re.IGNORECASE)
CROP_RATIO = (3 / 4, 4 / 3)
ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def may_flip(image: CaptionedImage) -> bool:
    """Say whether a photo may be mirrored: not where a caption says left or right."""
    return not any(SIDES.search(caption) for caption in image.captions)


@dataclass(frozen=True)
class Augmentation:
    """Random views: crops of at least `crop_area`, flips, and jitter of colour and hue."""

    prepare: Preprocessing
    crop_area: float = 0.6
    flip: bool = True
    colour: float = 0.0
    hue: float = 0.0  # small or none, since captions name colours

    @staticmethod
    def of(recipe: Recipe, prepare: Preprocessing) -> "Augmentation | None":
        """Return the views of a recipe, or None where it trains on the photos as they are."""
        if not recipe.augment:
            return None
        return Augmentation(prepare, recipe.crop_area, bool(recipe.flip), recipe.colour, recipe.hue)

    def __call__(self, photo: Image.Image, image: CaptionedImage, key: str) -> Tensor:
        """Return a view of a photo, uint8 [3, size, size]; the same for the same key."""
        rng = random.Random(key)
        view = self._crop(photo, rng) if self.crop_area < 1 else self.prepare.square(photo)
        if self.flip and may_flip(image) and rng.random() < 0.5:
            view = ImageOps.mirror(view)
        if self.colour:
            for enhancer in ENHANCERS:
                view = enhancer(view).enhance(rng.uniform(1 - self.colour, 1 + self.colour))
        if self.hue:
            view = adjust_hue(view, rng.uniform(-self.hue, self.hue))
        return to_pixels(view)

    def _crop(self, photo: Image.Image, rng: random.Random) -> Image.Image:
        # torchvision draws from torch's generator; forked, so that nothing else depends on it.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.randrange(2**62))
            area = [self.crop_area, 1.0]
            top, left, height, width = RandomResizedCrop.get_params(photo, area, list(CROP_RATIO))
        side, resample = self.prepare.size, Image.Resampling[self.prepare.interpolation.upper()]
        return photo.resize((side, side), resample, box=(left, top, left + width, top + height))
