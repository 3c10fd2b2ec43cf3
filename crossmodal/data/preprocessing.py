"""How an image becomes an image tower's input."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

RESIZING = ("squash", "crop")
LARGEST = 1024  # pixels a side
LEAST_STD = 1e-3


@dataclass(frozen=True)
class Preprocessing:
    """The input that a tower's weights need; it comes with the weights and is stored with the model."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize: str
    crop_share: float

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "Preprocessing":
        """Rebuild from plain values, in which tuples may have become lists; raises ValueError for impossible ones."""
        made = Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        if (
            type(made.size) is not int
            or not 1 <= made.size <= LARGEST
            or [len(made.mean), len(made.std)] != [3, 3]
            or not all(abs(value) <= 10 for value in made.mean)
            or not all(LEAST_STD <= value <= 10 for value in made.std)
            or made.interpolation.upper() not in Image.Resampling.__members__
            or made.resize not in RESIZING
            or not 0 < made.crop_share <= 1
        ):
            raise ValueError(f"impossible preprocessing: {made}")
        return made

    def __call__(self, image: Image.Image) -> "Tensor":
        """Return an RGB image as uint8 [3, size, size]."""
        return to_pixels(self.square(image))

    def array(self, image: Image.Image) -> np.ndarray:
        """Return an RGB image as uint8 [size, size, 3], without torch."""
        return np.asarray(self.square(image))

    def square(self, image: Image.Image) -> Image.Image:
        """Return the part of an image that the tower sees, in the tower's size."""
        resample = Image.Resampling[self.interpolation.upper()]
        if self.resize == "squash":
            same = image.size == (self.size, self.size)
            return image if same else image.resize((self.size, self.size), resample)
        side = min(image.size) * self.crop_share
        left, top = (image.width - side) / 2, (image.height - side) / 2
        return image.resize((self.size, self.size), resample, box=(left, top, left + side, top + side))


def to_pixels(image: Image.Image) -> "Tensor":
    """Return an RGB image as uint8 [3, height, width]."""
    # Imported here, since a search in an index needs no torch.
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)))
