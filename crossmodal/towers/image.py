"""The image tower: a timm model, the preprocessing its weights ask for, and its frozen first stages."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import timm
import timm.data
import torch
import torch.nn.functional as F
from timm.models import ConvNeXt, EfficientNet, ResNet
from torch import Tensor, nn

from crossmodal.data.preprocessing import Preprocessing
from crossmodal.errors import CrossmodalError
from crossmodal.recipe import WHOLE, Recipe
from crossmodal.towers.freezing import Freezable, counted
from crossmodal.towers.pooling import GPO, mean_of_places, places
from crossmodal.towers.side_by_side import JOINED, SideBySide
from crossmodal.towers.weights import find_image_weights, load_image_weights

# On a CPU, what a few images leave in each layer stays in its cache: a third faster than 64 at once.
IMAGES_AT_ONCE = 16


class TimmTower(Freezable):
    """A timm model that gives one feature vector an image.

    `stem` is the first part, frozen in the whole run, and `trunk` the rest; without frozen stages the
    stem only scales the pixels. More can be frozen for a time. The BatchNorm statistics that pretrained
    weights came with are held: a batch of a small set would only blur them, and held statistics keep
    gradient caching and several processes exact. A tower that starts at random has none worth holding,
    and learns them.
    """

    def __init__(
        self,
        name: str,
        preprocessing: Preprocessing,
        frozen_stages: int = 0,
        pooling: str = "own",
        holds_statistics: bool = True,
        beside: Sequence[int] = (),
    ) -> None:
        """Build the model with random weights.

        `frozen_stages` are in the stem; `pooling` is the model's own, or mean or gpo over its last grid.
        `beside` are stages, counted from 1, whose mean outputs are features too: the last layer, made
        for ImageNet's classes, has dropped some of what they hold.
        """
        super().__init__()
        self.name = name
        self.preprocessing = preprocessing
        self.frozen_stages = frozen_stages
        self.pooling = pooling
        self.holds_statistics = holds_statistics
        self.beside = tuple(sorted(beside))
        try:
            self.net: Any = timm.create_model(name, pretrained=False, num_classes=0)
        except RuntimeError as error:
            raise CrossmodalError(_unknown(name)) from error
        stages = _stages(self.net)[1]
        first, given = max(1, frozen_stages), ",".join(map(str, self.beside))
        if self.beside and not stages:
            raise CrossmodalError(
                f"--image-stages {given}: only EfficientNet, ConvNeXt and ResNet have stages, not {name}; leave it out."
            )
        if not all(first <= stage <= len(stages) for stage in self.beside):
            raise CrossmodalError(
                f"--image-stages {given}: {name} has the stages {first} to {len(stages)} above its frozen ones."
            )
        self.features: int = self.net.num_features + sum(_width(stages[stage - 1]) for stage in self.beside)
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

    def stem_at_once(self, pixels: Tensor) -> Tensor:
        """As `stem`, in one piece whatever the number of images: for tracing."""
        return self._stem(pixels)

    def _few_at_once(self, part: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        whole = self.training and not self.holds_statistics  # the statistics are those of the batch
        if whole or inputs.device.type != "cpu" or len(inputs) <= IMAGES_AT_ONCE:
            return part(inputs)
        return torch.cat([part(few) for few in inputs.split(IMAGES_AT_ONCE)])

    def _stem(self, pixels: Tensor) -> Tensor:
        hidden = self._scaled(pixels)
        with torch.no_grad():
            if self.frozen_stages == WHOLE:
                return self.pooled(self._whole_grid(hidden))
            for part in self.first_parts(self.frozen_stages):
                hidden = part(hidden)
        return hidden

    def _trunk(self, hidden: Tensor) -> Tensor:
        if self.frozen_stages == WHOLE:
            return hidden
        if not self.frozen_stages:
            return self.pooled(self._whole_grid(hidden))
        return self.pooled(self._last_grid(hidden, self.frozen_stages))

    def grid(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> what is pooled: of a convolutional tower its last grid [N, features, rows, columns]."""
        return self._whole_grid(self._scaled(pixels))

    def _whole_grid(self, scaled: Tensor) -> Tensor:
        if not self.beside:
            return self.net.forward_features(scaled)
        for part in _stages(self.net)[0]:
            scaled = part(scaled)
        return self._last_grid(scaled, 0)

    def _last_grid(self, hidden: Tensor, done: int) -> Tensor:
        """What the first `done` stages gave -> the last grid, and the grids beside it in the same number of places."""
        _, stages, after = _stages(self.net)
        beside = [hidden] if done in self.beside else []
        for number, stage in enumerate(stages[done:], done + 1):
            hidden = stage(hidden)
            beside += [hidden] if number in self.beside else []
        for part in after:
            hidden = part(hidden)
        return torch.cat([hidden, *(_pooled_like(hidden, grid) for grid in beside)], dim=1)

    def _scaled(self, pixels: Tensor) -> Tensor:
        scaled = (pixels.to(self.mean.dtype) - self.mean) / self.std
        return scaled.contiguous(memory_format=torch.channels_last)

    def pooled(self, grid: Tensor) -> Tensor:
        """What `grid` gave -> features [N, features]."""
        if self.beside:
            last, beside = grid.tensor_split([self.net.num_features], dim=1)
            return torch.cat([self._pooled(last), beside.mean((2, 3))], dim=1)
        return self._pooled(grid)

    def _pooled(self, grid: Tensor) -> Tensor:
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
            "holds_statistics": self.holds_statistics, "beside": list(self.beside),
            "preprocessing": asdict(self.preprocessing),
        }  # fmt: skip


def _pooled_like(last: Tensor, grid: Tensor) -> Tensor:
    """A stage's grid [N, C, H, W] -> the means [N, C, rows, columns] of what stands for each place of the last grid."""
    # Plain numbers, and a plain pooling where the sides divide: of the other kind the ONNX exporter has none.
    (rows, columns), sides = (tuple(int(side) for side in one.shape[2:]) for one in (last, grid))
    if sides[0] % rows or sides[1] % columns:
        return F.adaptive_avg_pool2d(grid, (rows, columns))
    return F.avg_pool2d(grid, (sides[0] // rows, sides[1] // columns))


def _width(stage: nn.Module) -> int:
    """Return the channels that a stage gives."""
    return [part for part in stage.modules() if isinstance(part, nn.Conv2d)][-1].out_channels


ImageTower = TimmTower | SideBySide


def image_from_plain(values: Mapping[str, Any], frozen_stages: int | None = None) -> ImageTower:
    """Rebuild a tower from its `plain`, with random weights; with as many frozen stages as it had, or as are given.

    Raises CrossmodalError for more than there are.
    """
    if "towers" in values:
        return SideBySide([_timm_from_plain(tower, frozen_stages) for tower in values["towers"]])
    return _timm_from_plain(values, frozen_stages)


def _timm_from_plain(values: Mapping[str, Any], frozen_stages: int | None) -> TimmTower:
    _published(values["name"])  # of another name timm would ask a place that the file names
    changed: dict[str, Any] = {"preprocessing": Preprocessing.from_plain(values["preprocessing"])}
    changed |= {} if frozen_stages is None else {"frozen_stages": frozen_stages}
    return TimmTower(**{**values, **changed})


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

    Names joined by + stand side by side and, unless the recipe says a size, read the largest that one
    of them was trained at. Raises WeightsError when weights cannot be had, CrossmodalError for an
    unknown name.
    """
    names = recipe.image_tower.split(JOINED)
    published = [_published(name) for name in names]
    configs = [timm.data.resolve_data_config(pretrained_cfg=weights.to_dict()) for weights in published]
    size = recipe.image_size or max(config["input_size"][1] for config in configs)
    pretrained = recipe.image_weights == "published"
    torch.manual_seed(recipe.seed)
    towers = []
    for name, weights, config in zip(names, published, configs, strict=True):
        trained_at = config["input_size"][1]
        if weights.fixed_input_size and size != trained_at:
            raise CrossmodalError(
                f"{name} reads images of {trained_at} pixels a side alone, not of {size}; give --image-size {trained_at}."
            )
        preprocessing = Preprocessing(
            size, config["mean"], config["std"], config["interpolation"], recipe.resize, config["crop_pct"]
        )
        tower = TimmTower(
            name, preprocessing, recipe.always_frozen("image"), recipe.image_pooling, pretrained,
            recipe.numbers("image_stages"),
        )  # fmt: skip
        for stage in recipe.stages:
            tower.first_parts(stage.frozen_image)  # refuses more than there are
        if pretrained:
            # timm fills in the repository's name for ids that end in a slash.
            load_image_weights(tower.net, find_image_weights(name, weights.hf_hub_id or "", folder))
        towers.append(tower)
    return SideBySide(towers) if len(towers) > 1 else towers[0]


def _published(name: str) -> Any:
    """Return what timm says of a model's published weights."""
    try:
        published = timm.get_pretrained_cfg(name)
    except RuntimeError:
        published = None
    if published is None:
        raise CrossmodalError(_unknown(name))
    return published
