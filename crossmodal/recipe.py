"""What a recipe says: which towers, and how they are trained; the table itself is model.py."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from crossmodal.errors import CrossmodalError

DRAWN_RATIOS = (0.8, 0.1, 0.1)  # train, val, test


@dataclass(frozen=True)
class Stage:
    """Some epochs of training: the learning rate falls along a cosine from `lr` to `end_lr`."""

    epochs: int
    lr: float
    end_lr: float = 0.0
    frozen: tuple[str, ...] = ()  # of "image" and "text", the towers that stay as they are meanwhile


def _knob(default: Any, text: str, least: float = 0, most: float = float("inf")) -> Any:
    """Declare a field that the command line can override; `text` is its help."""
    return field(default=default, metadata={"help": text, "least": least, "most": most})


def _choice(text: str, *choices: str) -> Any:
    """Declare a field that is one of some words, the first by default."""
    return field(default=choices[0], metadata={"help": f"{text}: {', '.join(choices)}", "choices": choices})


@dataclass(frozen=True)
class Recipe:
    """One system: its towers and how they are trained. Plain values only, so that it travels."""

    name: str
    image_tower: str = field(metadata={"help": "image tower: any model of timm with pooled features"})
    text_tower: str = field(
        metadata={
            "help": "text tower: an encoder of sentence-transformers or Hugging Face, scratch:bilstm or scratch:transformer"
        }
    )
    stages: tuple[Stage, ...]
    split: tuple[float, float, float] = DRAWN_RATIOS  # train, val, test, where the data set has no split
    joint_size: int = _knob(1024, "dimensions of the joint space", least=1)
    image_weights: str = _choice("weights that the image tower starts with", "published", "random")
    text_weights: str = _choice("weights that the text tower starts with", "published", "random")
    image_pooling: str = _choice("how the image tower's grid becomes one vector", "own", "mean", "gpo")
    text_pooling: str = _choice("how a pretrained text tower's tokens become one vector", "mean", "cls", "pooler")
    projection: str = _choice("what leads from a tower to the joint space", "linear", "mlp")
    hidden_size: int = _knob(512, "hidden size of an mlp projection", least=1)
    dropout: float = _knob(0.1, "dropout of an mlp projection")
    loss: str = _choice("loss", "clip", "infonce", "nt-xent", "triplet", "triplet-hard", "sigmoid")
    temperature: float = _knob(0.07, "first temperature, by which similarities are divided", least=0.01)
    learn_temperature: int = _knob(1, "let the temperature be learned; 0 holds it")
    margin: float = _knob(0.2, "margin of the triplet losses")
    resize: str = _choice("how an image becomes a square: its middle, or all of it squeezed", "crop", "squash")
    batch_size: int = _knob(64, "images in a batch; every other image in it is a negative", least=2)
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
        0,
        "first stages of an EfficientNet that stay as they are, or -1 for the whole of any image tower; their output is "
        "cached where it fits",
        least=-1,
    )
    unfreeze_epoch: int = _knob(
        1, "first epoch in which the towers are trained; before it the projections learn alone", least=1
    )
    views: int = _knob(4, "augmented views of a photo that are kept when the first stages are frozen", least=1)
    augment: int = _knob(1, "train on random views of the photos; 0 is off")
    crop_area: float = _knob(0.6, "smallest share of a photo that a view keeps; 1 crops nothing", least=0.01, most=1)
    flip: int = _knob(1, "mirror half of the views, where no caption says left or right; 0 is off")
    colour: float = _knob(
        0.0, "how much the views' brightness, contrast and saturation vary, for example 0.2", most=0.9
    )
    cache: str = _choice("where decoded images are kept between epochs", "none", "memory", "disk")
    weight_decay: float = _knob(
        0.01, "weight decay of matrices and kernels; biases, norms and the temperature have none"
    )
    warmup_epochs: float = _knob(0.5, "epochs over which the learning rate rises from zero")
    ema: float = _knob(
        0.0, "decay of the running average of the weights that is validated and stored; 0 is none", most=0.99999
    )
    hard_negatives: int = _knob(
        0, "images most like an image's captions, by the last epoch's tensors, that join it in its batch"
    )
    soft_targets: str = _choice(
        "what else than the true pairs is right, in part, for the clip loss", "none", "captions", "teacher"
    )
    soft_share: float = _knob(0.3, "share of the soft targets beside the true pairs", most=1)
    soft_temperature: float = _knob(
        0.1, "temperature of the caption similarities that become soft targets", least=0.001
    )
    teacher: str = _knob(
        "", "teacher of the soft targets: open_clip:MODEL/WEIGHTS, clip-ViT-B-32, or a checkpoint of this project"
    )
    clip_norm: float = _knob(1.0, "largest norm of the whole gradient")
    patience: int = _knob(5, "epochs without a better validation rsum before training stops", least=1)
    seed: int = _knob(0, "seed of the split, the order, the views and the projections")

    @property
    def epochs(self) -> int:
        """Epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def learns_statistics(self) -> bool:
        """Whether some BatchNorm takes its statistics from the batches."""
        return self.projection == "mlp" or self.image_weights == "random"

    def frozen_in(self, epoch: int) -> set[str]:
        """Return which of the towers, image and text, stay as they are in an epoch, the first being 1."""
        if epoch < self.unfreeze_epoch:
            return {"image", "text"}
        always = {name for name in ("image", "text") if getattr(self, f"{name}_lr_scale") == 0}
        for stage in self.stages:
            epoch -= stage.epochs
            if epoch <= 0:
                return always | set(stage.frozen)
        return always

    def always_frozen(self, tower: str) -> bool:
        """Whether a tower, image or text, stays as it is in all epochs."""
        return all(tower in self.frozen_in(epoch) for epoch in range(1, self.epochs + 1))

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
        for knob in (f for f in fields(self) if "least" in f.metadata or "choices" in f.metadata):
            value, option, choices = getattr(self, knob.name), knob.name.replace("_", "-"), knob.metadata.get("choices")
            if choices and value not in choices:
                raise CrossmodalError(f"--{option} {value} is not known; there is {', '.join(choices)}.")
            if isinstance(value, str):
                continue
            least, most = knob.metadata["least"], knob.metadata["most"]
            if not least <= value <= most or value == float("inf"):
                bounds = f"{least} or more" if most == float("inf") else f"{least} to {most}"
                raise CrossmodalError(f"--{option} {value} cannot be trained with; it should be {bounds}.")
        if self.head_start_epochs and self.projection != "linear":
            raise CrossmodalError(
                "--head-start-epochs trains linear projections; set it to 0 or --projection to linear."
            )
        if self.chunk_size and self.learns_statistics:
            raise CrossmodalError(
                "--chunk-size cannot be used where BatchNorm learns from the batch (an mlp projection, a random image "
                "tower): the chunks would not give the gradient of the whole batch."
            )
        self._check_soft_targets()
        if self.clip_norm == 0 or not self.stages or any(s.lr <= 0 or s.epochs < 1 for s in self.stages):
            raise CrossmodalError("--epochs, --lr and --clip-norm should be greater than 0.")

    def _check_soft_targets(self) -> None:
        if self.soft_targets != "none" and self.loss != "clip":
            raise CrossmodalError(f"--soft-targets go with --loss clip, not {self.loss}.")
        if (self.soft_targets == "teacher") != bool(self.teacher):
            raise CrossmodalError("--soft-targets teacher and --teacher NAME go together; give both or neither.")
        if self.soft_targets == "captions" and (
            self.text_weights == "random" or self.text_tower.startswith("scratch:")
        ):
            raise CrossmodalError(
                "--soft-targets captions compares captions by the text tower's published weights, and this recipe's "
                "starts from nothing; take --soft-targets teacher, or none."
            )

    def plain(self) -> dict[str, Any]:
        """Return the recipe as plain values, for a checkpoint."""
        return asdict(self)

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "Recipe":
        """Rebuild a recipe from `plain`."""
        stages = tuple(Stage(**{**stage, "frozen": tuple(stage.get("frozen", ()))}) for stage in values["stages"])
        return Recipe(**{**values, "stages": stages, "split": tuple(values.get("split", DRAWN_RATIOS))})
