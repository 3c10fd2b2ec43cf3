"""How a picture becomes an image tower's input."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Preprocessing:
    """What a tower's weights ask for; it comes with them and travels with the model."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize: str
    crop_share: float

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "Preprocessing":
        """Rebuild from plain values, in which tuples may have become lists."""
        return Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def __call__(self, picture: Image.Image) -> "Tensor":
        """Return an RGB picture as uint8 [3, size, size]."""
        return to_pixels(self.square(picture))

    def array(self, picture: Image.Image) -> np.ndarray:
        """Return an RGB picture as uint8 [size, size, 3], without torch."""
        return np.asarray(self.square(picture))

    def square(self, picture: Image.Image) -> Image.Image:
        """Return the part of a picture that the tower sees, in the tower's size."""
        resample = Image.Resampling[self.interpolation.upper()]
        if self.resize == "squash":
            same = picture.size == (self.size, self.size)
            return picture if same else picture.resize((self.size, self.size), resample)
        side = min(picture.size) * self.crop_share
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        return picture.resize((self.size, self.size), resample, box=(left, top, left + side, top + side))


def to_pixels(picture: Image.Image) -> "Tensor":
    """Return an RGB picture as uint8 [3, height, width]."""
    # Here, since a search in an index does without torch.
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)))
