"""What a recipe says: which towers, and how they are trained; the table itself is model.py."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from crossmodal.errors import CrossmodalError


@dataclass(frozen=True)
class Stage:
    """Some epochs of training: the learning rate falls along a cosine from `lr` to `end_lr`."""

    epochs: int
    lr: float
    end_lr: float = 0.0


def _knob(default: Any, text: str) -> Any:
    """Declare a field that the command line can override; `text` is its help."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Recipe:
    """One system: its towers and how they are trained. Plain values only, so that it travels."""

    name: str
    image_tower: str
    text_tower: str
    stages: tuple[Stage, ...]
    joint_size: int = _knob(1024, "dimensions of the joint space")
    resize: str = _knob("crop", "how a picture becomes a square: crop its middle, or squash it whole")
    batch_size: int = _knob(64, "images in a batch; every other image in it is a negative")
    captions_per_image: int = _knob(
        0, "captions that go with an image in one step, taken in turn over the epochs; 0 is all of them"
    )
    chunk_size: int = _knob(
        0, "images held in memory at a time; smaller than the batch turns gradient caching on; 0 is the whole batch"
    )
    head_start_epochs: int = _knob(
        0, "epochs of training the projections alone, on cached features, before the first epoch"
    )
    image_lr_scale: float = _knob(1.0, "the image tower's share of the learning rate; 0 freezes it")
    text_lr_scale: float = _knob(1.0, "the text tower's share of the learning rate; 0 freezes it")
    projection_lr_scale: float = _knob(1.0, "the projections' share of the learning rate")
    frozen_stages: int = _knob(
        0, "first stages of an EfficientNet that stay as they are; their output is cached where it fits"
    )
    views: int = _knob(4, "augmented views of a photo that are kept when the first stages are frozen")
    augment: int = _knob(1, "random crops, and flips where no caption says left or right; 0 is off")
    weight_decay: float = _knob(
        0.01, "weight decay of matrices and kernels; biases, norms and the temperature have none"
    )
    warmup_epochs: float = _knob(0.5, "epochs over which the learning rate rises from zero")
    clip_norm: float = _knob(1.0, "largest norm of the whole gradient")
    patience: int = _knob(5, "epochs without a better validation rsum before training stops")
    seed: int = _knob(0, "seed of the split, the order, the views and the projections")

    @property
    def epochs(self) -> int:
        """Epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)

    def with_epochs(self, epochs: int) -> "Recipe":
        """Return the recipe stretched or cut to `epochs`, each stage keeping its share."""
        bounds = [0]
        for stage in self.stages:
            bounds.append(bounds[-1] + stage.epochs)
        scaled = [round(bound * epochs / self.epochs) for bound in bounds]
        stages = (replace(s, epochs=b - a) for s, a, b in zip(self.stages, scaled, scaled[1:], strict=False))
        return replace(self, stages=tuple(stage for stage in stages if stage.epochs))

    def with_lr(self, lr: float) -> "Recipe":
        """Return the recipe with a first learning rate of `lr`, later stages in proportion."""
        factor = lr / self.stages[0].lr
        scaled = (replace(stage, lr=stage.lr * factor, end_lr=stage.end_lr * factor) for stage in self.stages)
        return replace(self, stages=tuple(scaled))

    def check(self) -> None:
        """Raise CrossmodalError for a value that cannot be trained with."""
        if self.resize not in ("crop", "squash"):
            raise CrossmodalError(f"--resize {self.resize} is not known; it is crop or squash.")
        least = {"joint_size": 1, "batch_size": 2, "views": 1, "patience": 1}
        for knob in (f for f in fields(self) if "help" in f.metadata and f.name != "resize"):
            value, low = getattr(self, knob.name), least.get(knob.name, 0)
            if not low <= value < float("inf"):
                option = knob.name.replace("_", "-")
                raise CrossmodalError(f"--{option} {value} cannot be trained with; it should be {low} or more.")
        if self.clip_norm == 0 or not self.stages or any(s.lr <= 0 or s.epochs < 1 for s in self.stages):
            raise CrossmodalError("--epochs, --lr and --clip-norm should be greater than 0.")

    def plain(self) -> dict[str, Any]:
        """Return the recipe as plain values, for a checkpoint."""
        return asdict(self)

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "Recipe":
        """Rebuild a recipe from `plain`."""
        stages = tuple(Stage(**stage) for stage in values["stages"])
        return Recipe(**{**values, "stages": stages})
