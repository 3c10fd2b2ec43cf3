"""The image tower: a timm model, the preprocessing its weights ask for, and its frozen first stages."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import timm
import timm.data
import torch
from timm.models import ConvNeXt, EfficientNet, ResNet
from torch import Tensor, nn

from crossmodal.data.preprocessing import Preprocessing
from crossmodal.errors import CrossmodalError, WeightsError
from crossmodal.recipe import WHOLE, Recipe
from crossmodal.towers.freezing import Freezable, counted
from crossmodal.towers.pooling import GPO, mean_of_places, places
from crossmodal.towers.weights import find_image_weights

# On a CPU, what a few images leave in each layer stays in its cache: a third faster than 64 at once.
IMAGES_AT_ONCE = 16


class ImageTower(Freezable):
    """A timm model that gives one feature vector an image.

    `stem` is the first part, frozen in the whole run, and `trunk` the rest; without frozen stages the
    stem only scales the pixels. More can be frozen for a time. The BatchNorm statistics that pretrained weights came with are held: a batch of a
    small set would only blur them, and held statistics keep gradient caching and several processes
    exact. A tower that starts at random has none worth holding, and learns them.
    """

    def __init__(
        self,
        name: str,
        preprocessing: Preprocessing,
        frozen_stages: int = 0,
        pooling: str = "own",
        holds_statistics: bool = True,
    ) -> None:
        """`frozen_stages` are in the stem; `pooling` is the model's own, or mean or gpo over its last grid."""
        super().__init__()
        self.name = name
        self.preprocessing = preprocessing
        self.frozen_stages = frozen_stages
        self.pooling = pooling
        self.holds_statistics = holds_statistics
        try:
            self.net: Any = timm.create_model(name, pretrained=False, num_classes=0)
        except RuntimeError as error:
            raise CrossmodalError(_unknown(name)) from error
        self.features: int = self.net.num_features
        self.pool: Callable[[Tensor], Tensor] = GPO() if pooling == "gpo" else mean_of_places
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255, persistent=False)
        self.freeze(frozen_stages)

    def first_parts(self, count: int) -> list[nn.Module]:
        """Return the modules of the first `count` stages, with what comes before them; of the last stage only with WHOLE."""
        if count == WHOLE:
            return list(self.children())
        before, stages, _ = _stages(self.net)
        return [*before, *counted(count, stages[:-1], self.name, ("image", "stages"))] if count else []

    def train(self, mode: bool = True) -> Self:
        """Set the mode, except for what is frozen and for BatchNorm whose statistics are held."""
        super().train(mode)
        for module in self.net.modules() if self.holds_statistics else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def stem(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> what the trunk reads (scaled pixels, or the frozen stages' output)."""
        return self._few_at_once(self._stem, pixels)

    def trunk(self, hidden: Tensor) -> Tensor:
        """What the stem gave -> features [N, features]."""
        return self._few_at_once(self._trunk, hidden)

    def at_once(self, pixels: Tensor) -> Tensor:
        """As `forward`, in one piece whatever the number of images: for tracing."""
        return self._trunk(self._stem(pixels))

    def _few_at_once(self, part: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        whole = self.training and not self.holds_statistics  # the statistics are those of the batch
        if whole or inputs.device.type != "cpu" or len(inputs) <= IMAGES_AT_ONCE:
            return part(inputs)
        return torch.cat([part(few) for few in inputs.split(IMAGES_AT_ONCE)])

    def _stem(self, pixels: Tensor) -> Tensor:
        hidden = self._scaled(pixels)
        with torch.no_grad():
            if self.frozen_stages == WHOLE:
                return self.pooled(self.net.forward_features(hidden))
            for part in self.first_parts(self.frozen_stages):
                hidden = part(hidden)
        return hidden

    def _trunk(self, hidden: Tensor) -> Tensor:
        if self.frozen_stages == WHOLE:
            return hidden
        if not self.frozen_stages:
            return self.pooled(self.net.forward_features(hidden))
        _, stages, after = _stages(self.net)
        for part in (*stages[self.frozen_stages :], *after):
            hidden = part(hidden)
        return self.pooled(hidden)

    def grid(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> what is pooled: of a convolutional tower its last grid [N, features, rows, columns]."""
        return self.net.forward_features(self._scaled(pixels))

    def _scaled(self, pixels: Tensor) -> Tensor:
        scaled = (pixels.to(self.mean.dtype) - self.mean) / self.std
        return scaled.contiguous(memory_format=torch.channels_last)

    def pooled(self, grid: Tensor) -> Tensor:
        """What `grid` gave -> features [N, features]."""
        if self.pooling == "own":
            return self.net.forward_head(grid)
        return self.pool(places(grid, self.net))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> features [N, features]."""
        return self.trunk(self.stem(pixels))

    def plain(self) -> dict[str, Any]:
        """Return what rebuilds the tower without its weights, as plain values."""
        return {
            "name": self.name, "frozen_stages": self.frozen_stages, "pooling": self.pooling,
            "holds_statistics": self.holds_statistics, "preprocessing": asdict(self.preprocessing),
        }  # fmt: skip

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "ImageTower":
        """Rebuild a tower from `plain`, with random weights."""
        return ImageTower(**{**values, "preprocessing": Preprocessing.from_plain(values["preprocessing"])})


def _stages(net: Any) -> tuple[list[nn.Module], list[nn.Module], list[nn.Module]]:
    """Return what comes before the stages of a model, its stages, and what comes after; nothing for other families."""
    if isinstance(net, EfficientNet):
        return [net.conv_stem, net.bn1], [*net.blocks], [net.conv_head, net.bn2]
    if isinstance(net, ConvNeXt):
        return [net.stem], [*net.stages], [net.norm_pre]
    if isinstance(net, ResNet):
        return [net.conv1, net.bn1, net.act1, net.maxpool], [net.layer1, net.layer2, net.layer3, net.layer4], []
    return [], [], []


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
    alike = f" Names like it: {', '.join(near)}." if near else ""
    return f"The image tower {name} is not one of the models of timm, which timm.list_models() lists.{alike}"


def image_tower(recipe: Recipe, folder: Path | None = None) -> ImageTower:
    """Build a recipe's tower by its timm name, with its published weights or, if it says so, random ones.

    Raises WeightsError when they cannot be had, CrossmodalError for an unknown name.
    """
    name, pretrained = recipe.image_tower, recipe.image_weights == "published"
    try:
        published = timm.get_pretrained_cfg(name)
    except RuntimeError:
        published = None
    if published is None:
        raise CrossmodalError(_unknown(name))
    config = timm.data.resolve_data_config(pretrained_cfg=published.to_dict())
    preprocessing = Preprocessing(
        config["input_size"][1], config["mean"], config["std"], config["interpolation"], recipe.resize,
        config["crop_pct"],
    )  # fmt: skip
    torch.manual_seed(recipe.seed)
    tower = ImageTower(name, preprocessing, recipe.always_frozen("image"), recipe.image_pooling, pretrained)
    for stage in recipe.stages:
        tower.first_parts(stage.frozen_image)  # refuses more than there are
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
    # Other code gives the same tensors other names; the classifier is last, and not part of the tower.
    theirs = [value for key, value in published.items() if "num_batches_tracked" not in key]
    keys = [key for key in own if "num_batches_tracked" not in key]
    if [own[key].shape for key in keys] != [value.shape for value in theirs[: len(keys)]]:
        raise WeightsError(f"{file} does not hold the weights of {type(net).__name__}: its tensors have other shapes.")
    net.load_state_dict(own | dict(zip(keys, theirs, strict=False)))
