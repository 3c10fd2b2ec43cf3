"""The image tower: a timm model, the preprocessing its weights ask for, and its frozen first stages."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import timm.data
import torch
from PIL import Image
from torch import Tensor, nn

from crossmodal.errors import CrossmodalError, WeightsError
from crossmodal.towers.weights import find_image_weights

# On a CPU, what a few pictures leave in each layer stays in its cache: a third faster than 64 at once.
PICTURES_AT_ONCE = 16


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the tower's input; it comes with the weights and travels with the model."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize: str
    crop_share: float

    def __call__(self, picture: Image.Image) -> Tensor:
        """Return an RGB picture as uint8 [3, size, size]."""
        resample = Image.Resampling[self.interpolation.upper()]
        if self.resize == "squash":
            square = picture.resize((self.size, self.size), resample)
        else:
            side = min(picture.size) * self.crop_share
            left, top = (picture.width - side) / 2, (picture.height - side) / 2
            square = picture.resize((self.size, self.size), resample, box=(left, top, left + side, top + side))
        return to_pixels(square)


def to_pixels(picture: Image.Image) -> Tensor:
    """Return an RGB picture as uint8 [3, height, width]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


class ImageTower(nn.Module):
    """A timm model that gives one feature vector a picture.

    `stem` is the frozen first part, `trunk` the rest; without frozen stages the stem only scales
    the pixels. BatchNorm statistics are held always: a batch of a small set would only blur those
    that the weights came with, and held statistics keep gradient caching and several processes exact.
    """

    def __init__(self, name: str, preprocessing: Preprocessing, frozen_stages: int = 0) -> None:
        super().__init__()
        self.name = name
        self.preprocessing = preprocessing
        self.frozen_stages = frozen_stages
        try:
            self.net: Any = timm.create_model(name, pretrained=False, num_classes=0)
        except RuntimeError as error:
            raise CrossmodalError(f"The image tower {name} is not known to timm; see timm.list_models().") from error
        if frozen_stages and not (hasattr(self.net, "conv_stem") and frozen_stages < len(self.net.blocks)):
            stages = len(self.net.blocks) - 1 if hasattr(self.net, "conv_stem") else 0
            raise CrossmodalError(f"{name} has {stages} stages that can be frozen, not {frozen_stages}.")
        self.features: int = self.net.num_features
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255, persistent=False)
        for part in self._stem_parts():
            part.requires_grad_(False)
        self.train()  # a new module is in training mode without being told, and BatchNorm is to be held from the start

    def _stem_parts(self) -> list[nn.Module]:
        if not self.frozen_stages:
            return []
        return [self.net.conv_stem, self.net.bn1, *self.net.blocks[: self.frozen_stages]]

    def train(self, mode: bool = True) -> "ImageTower":
        """Set the mode, except for BatchNorm, whose statistics are held."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def stem(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> what the trunk reads (scaled pixels, or the frozen stages' output)."""
        return self._few_at_once(self._stem, pixels)

    def trunk(self, hidden: Tensor) -> Tensor:
        """What the stem gave -> features [N, features]."""
        return self._few_at_once(self._trunk, hidden)

    @staticmethod
    def _few_at_once(part: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        if inputs.device.type != "cpu" or len(inputs) <= PICTURES_AT_ONCE:
            return part(inputs)
        return torch.cat([part(few) for few in inputs.split(PICTURES_AT_ONCE)])

    def _stem(self, pixels: Tensor) -> Tensor:
        scaled = (pixels.to(self.mean.dtype) - self.mean) / self.std
        hidden = scaled.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            for part in self._stem_parts():
                hidden = part(hidden)
        return hidden

    def _trunk(self, hidden: Tensor) -> Tensor:
        if not self.frozen_stages:
            return self.net(hidden)
        for stage in self.net.blocks[self.frozen_stages :]:
            hidden = stage(hidden)
        return self.net.forward_head(self.net.bn2(self.net.conv_head(hidden)))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> features [N, features]."""
        return self.trunk(self.stem(pixels))

    def plain(self) -> dict[str, Any]:
        """Return what rebuilds the tower without its weights, as plain values."""
        return {"name": self.name, "frozen_stages": self.frozen_stages, "preprocessing": asdict(self.preprocessing)}

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "ImageTower":
        """Rebuild a tower from `plain`, with random weights."""
        preprocessing = dict(values["preprocessing"])
        preprocessing["mean"], preprocessing["std"] = tuple(preprocessing["mean"]), tuple(preprocessing["std"])
        return ImageTower(values["name"], Preprocessing(**preprocessing), values["frozen_stages"])


def image_tower(
    name: str, resize: str, frozen_stages: int = 0, folder: Path | None = None, pretrained: bool = True
) -> ImageTower:
    """Build a tower by its timm name, with its published weights.

    Raises WeightsError when they cannot be had, CrossmodalError for an unknown name.
    """
    try:
        published = timm.get_pretrained_cfg(name)
    except RuntimeError:
        published = None
    if published is None:
        raise CrossmodalError(f"The image tower {name} is not known to timm; see timm.list_models().")
    config = timm.data.resolve_data_config(pretrained_cfg=published.to_dict())
    preprocessing = Preprocessing(
        config["input_size"][1], config["mean"], config["std"], config["interpolation"], resize, config["crop_pct"]
    )
    tower = ImageTower(name, preprocessing, frozen_stages)
    if pretrained:
        file = find_image_weights(name, published.hf_hub_id or "", folder)
        # timm fills in the repository's name for ids that end in a slash.
        _load_weights(tower.net, file)
    return tower


def _load_weights(net: nn.Module, file: Path) -> None:
    """Load a published state dict; by name where names agree, else by order where all shapes agree."""
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        published = load_file(file)
    else:
        published = torch.load(file, map_location="cpu", weights_only=True)
    own = net.state_dict()
    if set(own) <= set(published):
        net.load_state_dict({key: published[key] for key in own})
        return
    # Other code names the same tensors otherwise; the classifier is last, and not part of the tower.
    theirs = [value for key, value in published.items() if "num_batches_tracked" not in key]
    keys = [key for key in own if "num_batches_tracked" not in key]
    if [own[key].shape for key in keys] != [value.shape for value in theirs[: len(keys)]]:
        raise WeightsError(f"{file} does not hold the weights of {type(net).__name__}: its tensors have other shapes.")
    net.load_state_dict(own | dict(zip(keys, theirs, strict=False)))
