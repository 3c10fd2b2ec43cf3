"""Parts of an image tower that do not change, computed by OpenVINO on a CPU, where torch takes several times as long."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from crossmodal.encoding.openvino_core import compiled, openvino
from crossmodal.progress import unprinted
from crossmodal.recipe import WHOLE
from crossmodal.towers.image import ImageTower


def stem_of(tower: ImageTower, bf16: bool = False) -> Callable[[Tensor], Tensor]:
    """Return what computes the stem's output of pixels, uint8 [N, 3, size, size], without a gradient.

    It is the tower's own `stem` on a GPU and where OpenVINO cannot hold the tower; both compute in fp32, and OpenVINO
    in bf16 where that is asked for.
    """
    size = tower.preprocessing.size
    if not tower.frozen_stages:
        return tower.stem
    return _in_openvino(tower, tower.stem, tower.stem_at_once, torch.zeros(1, 3, size, size, dtype=torch.uint8), bf16)


def trunk_of(tower: ImageTower, hidden: Tensor, bf16: bool = False) -> Callable[[Tensor], Tensor]:
    """Return what computes the features of the stem's output, fp32 [N, F], with the current weights and without a gradient.

    `hidden` is such an output. It is the tower's own `trunk` where `stem_of` gives the own stem, and of a tower that is
    frozen whole, whose trunk is nothing.
    """
    if tower.frozen_stages == WHOLE:
        return tower.trunk
    return _in_openvino(tower, tower.trunk, tower.trunk, hidden[:1].float().contiguous(), bf16)


def _in_openvino(
    tower: ImageTower, own: Callable[[Tensor], Tensor], traced: Callable[[Tensor], Tensor], example: Tensor, bf16: bool
) -> Callable[[Tensor], Tensor]:
    """Return `traced`, a method of the tower for batches like `example` [1, ...], or `own` where OpenVINO cannot hold it."""
    if tower.mean.device.type != "cpu":
        return own
    try:
        return _compiled(tower, traced, example, bf16)
    except Exception:  # no OpenVINO, or its converter raised, as it may, anything at all
        return own


def _compiled(
    tower: ImageTower, traced: Callable[[Tensor], Tensor], example: Tensor, bf16: bool
) -> Callable[[Tensor], Tensor]:
    ov = openvino()
    # The tracer warns of every condition in the tower's code, and the converter prints its arguments.
    with warnings.catch_warnings(), unprinted():
        warnings.simplefilter("ignore")
        converted = ov.convert_model(
            _Part(tower, traced).eval(),
            example_input=example.repeat(2, 1, 1, 1),
            input=[ov.PartialShape(list(example.shape))],
        )
    part = compiled(converted, {"INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32"})

    def compute(inputs: Tensor) -> Tensor:
        # One image at a time is no slower, and its output does not depend on the batch.
        rows = inputs.to(example.dtype).contiguous().numpy()[:, None]
        return torch.from_numpy(np.concatenate([part([row])[0] for row in rows]))

    return compute


class _Part(nn.Module):
    def __init__(self, tower: ImageTower, traced: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.tower, self.traced = tower, traced

    def forward(self, inputs: Tensor) -> Tensor:
        return self.traced(inputs)
