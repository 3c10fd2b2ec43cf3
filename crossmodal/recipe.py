"""What a recipe says: which towers, and how they are trained; the recipes themselves are in model.py."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from crossmodal.errors import CrossmodalError

DRAWN_RATIOS = (0.8, 0.1, 0.1)  # train, val, test
MOST_VIEWS = 4  # of a photo whose mean is its vector
LARGEST_LAYER = 2**16  # dimensions
WHOLE = -1  # as a number of frozen stages or layers: the whole tower
NORMAL, HIGH = QUALITIES = ("normal", "high")  # of a photo's vector: of one view, and of as many as the recipe says


@dataclass(frozen=True)
class Stage:
    """Some epochs of training: the learning rate falls along a cosine from `lr` to `end_lr`.

    Frozen are the first stages of the image tower and the first layers of the text tower with its
    embeddings; WHOLE is the whole tower, 0 nothing.
    """

    epochs: int
    lr: float
    end_lr: float = 0.0
    frozen_image: int = 0
    frozen_text: int = 0


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
    image_tower: str = field(
        metadata={"help": "image tower: any model of timm with pooled features, or some of them side by side, A+B"}
    )
    text_tower: str = field(
        metadata={
            "help": "text tower: an encoder of sentence-transformers or Hugging Face, scratch:bilstm or scratch:transformer"
        }
    )
    stages: tuple[Stage, ...]
    split: tuple[float, float, float] = DRAWN_RATIOS  # train, val, test, where the data set has no split
    joint_size: int = _knob(1024, "dimensions of the joint space", least=1, most=LARGEST_LAYER)
    image_weights: str = _choice("weights that the image tower starts with", "published", "random")
    text_weights: str = _choice("weights that the text tower starts with", "published", "random")
    image_size: int = _knob(
        0, "side in pixels of the images that the image tower reads; 0 is what its weights were trained at", most=1024
    )
    image_stages: str = _knob(
        "",
        "stages of an EfficientNet, ConvNeXt or ResNet, counted from 1, whose mean outputs are features beside the "
        "last, for example 5,7",
    )
    text_layers: str = _knob(
        "",
        "layers of a pretrained text tower that are pooled side by side, for example 0,3,6; 0 is the word embeddings, "
        "and none given is the last layer",
    )
    image_pooling: str = _choice("how the image tower's grid becomes one vector", "own", "mean", "gpo")
    text_pooling: str = _choice("how a pretrained text tower's tokens become one vector", "mean", "cls", "pooler")
    projection: str = _choice("projection from a tower to the joint space", "linear", "mlp", "residual")
    hidden_size: int = _knob(512, "hidden size of an mlp or residual projection", least=1, most=LARGEST_LAYER)
    dropout: float = _knob(0.0, "dropout of the hidden layer of an mlp or residual projection", most=0.95)
    image_dropout: float = _knob(0.0, "dropout of the image features that a projection reads", most=0.95)
    text_dropout: float = _knob(0.0, "dropout of the text features that a projection reads", most=0.95)
    matryoshka: str = _knob(
        "",
        "ascending sizes, for example 64,256,1024: the first so many dimensions of a vector are trained to be vectors of "
        "their own",
    )
    loss: str = _choice("loss", "clip", "infonce", "nt-xent", "triplet", "triplet-hard", "sigmoid")
    temperature: float = _knob(0.07, "initial temperature, by which similarities are divided", least=0.01)
    learn_temperature: int = _knob(1, "learn the temperature; 0 keeps it fixed")
    margin: float = _knob(0.2, "margin of the triplet losses")
    resize: str = _choice(
        "how an image becomes a square: its middle is cropped, or all of it is squashed", "crop", "squash"
    )
    batch_size: int = _knob(64, "images in a batch; every other image in it is a negative", least=2)
    captions_per_image: int = _knob(
        0, "captions of an image in one step, taken in turn over the epochs; 0 is all of them"
    )
    chunk_size: int = _knob(
        0, "images computed at a time, by gradient caching where that is less than the batch; 0 is the whole batch"
    )
    head_start_epochs: int = _knob(
        0, "epochs of training the projections alone, on cached features, before the first epoch"
    )
    mixup: float = _knob(
        0.0,
        "mixes features of pairs of images, and of their captions, by one share from Beta(mixup, mixup); 0 is none",
        most=100,
    )
    structure: float = _knob(
        0.0, "in the head start, weight of a penalty on neighbourhoods that change between tower and joint space"
    )
    image_lr_scale: float = _knob(1.0, "factor of the learning rate for the image tower")
    text_lr_scale: float = _knob(1.0, "factor of the learning rate for the text tower")
    projection_lr_scale: float = _knob(1.0, "factor of the learning rate for the projections")
    views: int = _knob(
        4, "augmented views of a photo whose output of frozen image stages is cached; 0 draws new views in each epoch"
    )
    photo_views: int = _knob(
        2,
        "views of a photo whose mean is its vector where the model is used with --quality high",
        least=1,
        most=MOST_VIEWS,
    )
    augment: int = _knob(1, "train on random views of the photos; 0 trains on the photos as they are")
    crop_area: float = _knob(
        0.6, "smallest share of a photo's area that a view keeps; 1 crops nothing", least=0.01, most=1
    )
    flip: int = _knob(1, "mirror half of the views, where no caption says left or right; 0 is off")
    colour: float = _knob(
        0.0, "how much the views' brightness, contrast and saturation vary, for example 0.2", most=0.9
    )
    hue: float = _knob(0.0, "how much the views' hue varies, as a share of the colour wheel", most=0.5)
    cache: str = _choice("where decoded images are kept between epochs", "none", "memory", "disk")
    precision: str = _choice(
        "arithmetic of the towers in training, frozen parts among them; auto is bf16 on a GPU and fp32 on a CPU",
        "auto",
        "fp32",
        "bf16",
    )
    depthwise: int = _knob(
        1, "train the depthwise kernels; 0 holds them, with which a CPU that has bf16 trains in about half the time"
    )
    weight_decay: float = _knob(
        0.01, "weight decay of matrices and kernels; biases, norms and the temperature have none"
    )
    warmup_epochs: float = _knob(0.5, "epochs over which the learning rate rises")
    ema: float = _knob(
        0.0,
        "decay of an exponential moving average of the weights, which is validated and stored; 0 is none",
        most=0.99999,
    )
    start_share: float = _knob(
        0.0,
        "share of the weights from before the first epoch in those that are validated and stored (WiSE-FT); for towers that "
        "are trained on little data",
        most=1,
    )
    hard_negatives: int = _knob(
        0, "images that join an image in its batch: those most similar to its captions after the last epoch"
    )
    soft_targets: str = _choice("soft targets of the clip loss, beside the true pairs", "none", "captions", "teacher")
    soft_share: float = _knob(0.3, "weight of the soft targets; the true pairs have the rest", most=1)
    soft_temperature: float = _knob(
        0.1, "temperature of the caption similarities that become soft targets", least=0.001
    )
    teacher: str = _knob(
        "",
        "teacher of the soft targets: open_clip:MODEL/WEIGHTS, clip-ViT-B-32, or a checkpoint of this project; of "
        "several, with commas between them, the mean is taken",
    )
    clip_norm: float = _knob(1.0, "largest norm of the gradient")
    patience: int = _knob(5, "epochs without a better validation rsum before training stops", least=1)
    seed: int = _knob(0, "seed of the split, the order, the views and the projections", most=2**32 - 1)

    @property
    def epochs(self) -> int:
        """Epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def learns_statistics(self) -> bool:
        """Whether a BatchNorm takes its statistics from the batches."""
        return self.projection == "mlp" or self.image_weights == "random"

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return the numbers of image_stages, text_layers or matryoshka; raises CrossmodalError where there is anything else."""
        given = getattr(self, name)
        try:
            numbers = tuple(sorted({int(number) for number in given.split(",")})) if given else ()
        except ValueError:
            numbers = (-1,)
        if numbers and numbers[0] < 0:
            raise CrossmodalError(
                f"--{name.replace('_', '-')} {given} cannot be read; give numbers with commas between them, for example 2,4."
            )
        return numbers

    def stage(self, epoch: int) -> Stage:
        """Return the stage of an epoch, the first being 1."""
        for stage in self.stages:
            epoch -= stage.epochs
            if epoch <= 0:
                return stage
        return self.stages[-1]

    def always_frozen(self, tower: str) -> int:
        """Return how much of a tower, image or text, is frozen in all stages."""
        frozen = [getattr(stage, f"frozen_{tower}") for stage in self.stages]
        return min((count for count in frozen if count != WHOLE), default=WHOLE)

    def with_stages(self, **values: int) -> "Recipe":
        """Return the recipe with these values in all its stages."""
        return replace(self, stages=tuple(replace(stage, **values) for stage in self.stages))  # type: ignore[arg-type]

    def with_epochs(self, epochs: int) -> "Recipe":
        """Return the recipe stretched or cut to `epochs`, each stage keeping its share."""
        bounds = [0]
        for stage in self.stages:
            bounds.append(bounds[-1] + stage.epochs)
        scaled = [round(bound * epochs / self.epochs) for bound in bounds]
        stages = (replace(s, epochs=b - a) for s, a, b in zip(self.stages, scaled, scaled[1:], strict=False))
        return replace(self, stages=tuple(stage for stage in stages if stage.epochs))

    def with_lr(self, lr: float) -> "Recipe":
        """Return the recipe with the learning rate `lr` in its first stage, and later stages in proportion."""
        factor = lr / self.stages[0].lr
        scaled = (replace(stage, lr=stage.lr * factor, end_lr=stage.end_lr * factor) for stage in self.stages)
        return replace(self, stages=tuple(scaled))

    def plain(self) -> dict[str, Any]:
        """Return the recipe as plain values, for a checkpoint."""
        return asdict(self)

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "Recipe":
        """Rebuild a recipe from `plain`; what this version does not know is passed over.

        A checkpoint stays readable so: what decides how it encodes stands in its towers and weights.
        """
        stages = tuple(Stage(**_known(Stage, stage)) for stage in values["stages"])
        return Recipe(**{**_known(Recipe, values), "stages": stages, "split": tuple(values.get("split", DRAWN_RATIOS))})


def _known(kind: type[Stage] | type[Recipe], values: Mapping[str, Any]) -> dict[str, Any]:
    return {knob.name: values[knob.name] for knob in fields(kind) if knob.name in values}
