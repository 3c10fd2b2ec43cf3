"""The frozen first stages of an image tower, computed by OpenVINO on a CPU, where torch takes several times as long."""

import contextlib
import io
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from crossmodal.encoding.runtime import compiled
from crossmodal.towers.image import ImageTower


def stem_of(tower: ImageTower) -> Callable[[Tensor], Tensor]:
    """Return what computes the stem's output of pixels, uint8 [N, 3, size, size], without a gradient.

    It is the tower's own `stem` on a GPU and where OpenVINO cannot hold the tower; both compute in fp32.
    """
    if tower.mean.device.type != "cpu" or not tower.frozen_stages:
        return tower.stem
    try:
        return _in_openvino(tower)
    except Exception:  # no OpenVINO, or its converter raised, as it may, anything at all
        return tower.stem


def _in_openvino(tower: ImageTower) -> Callable[[Tensor], Tensor]:
    import openvino as ov

    size = tower.preprocessing.size
    # The tracer warns of every condition in the tower's code, and the converter prints its arguments.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        converted = ov.convert_model(
            _Stem(tower).eval(),
            example_input=torch.zeros(2, 3, size, size, dtype=torch.uint8),
            input=[ov.PartialShape([1, 3, size, size])],
        )
    stem = compiled(converted, {"INFERENCE_PRECISION_HINT": "f32"})

    def compute(pixels: Tensor) -> Tensor:
        # One image at a time is no slower, and its output does not depend on the batch.
        return torch.from_numpy(np.concatenate([stem([image])[0] for image in pixels.numpy()[:, None]]))

    return compute


class _Stem(nn.Module):
    def __init__(self, tower: ImageTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Tensor) -> Tensor:
        return self.tower.stem_at_once(pixels)
