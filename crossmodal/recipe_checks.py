"""What a recipe cannot be trained with, in a sentence each."""

import math
from dataclasses import fields

from crossmodal.errors import CrossmodalError
from crossmodal.recipe import WHOLE, Recipe

LOWEST_RATE = 1e-9  # of learning; a lower one moves no weight in fp32
HIGHEST_RATE = 1000.0  # what is higher by far has no fp32 number


def check_recipe(recipe: Recipe, trained: bool = False) -> None:
    """Raise CrossmodalError for a value that cannot be trained with; a `trained` model needs no head start."""
    for knob in (f for f in fields(recipe) if "least" in f.metadata or "choices" in f.metadata):
        value, option, choices = getattr(recipe, knob.name), knob.name.replace("_", "-"), knob.metadata.get("choices")
        if choices and value not in choices:
            raise CrossmodalError(f"--{option} {value} is not known; there is {', '.join(choices)}.")
        if isinstance(value, str):
            continue
        least, most = knob.metadata["least"], knob.metadata["most"]
        if not least <= value <= most or value == math.inf:
            bounds = f"{least} or more" if most == math.inf else f"{least} to {most}"
            raise CrossmodalError(f"--{option} {value} cannot be trained with; it should be {bounds}.")
    _check_learning_rates(recipe)
    _check_frozen(recipe)
    _check_soft_targets(recipe)
    _check_features(recipe)
    _check_projection(recipe, trained)
    _check_matryoshka(recipe)
    if recipe.start_share and not (trained or recipe.head_start_epochs):
        raise CrossmodalError(
            "--start-share needs a model from before the first epoch; give --head-start-epochs or --start-from too."
        )
    if recipe.chunk_size and recipe.learns_statistics:
        raise CrossmodalError(
            "--chunk-size cannot be used where BatchNorm learns from the batch (an mlp projection, a random image "
            "tower): the chunks would not give the gradient of the whole batch."
        )


def _check_learning_rates(recipe: Recipe) -> None:
    rates = [rate for stage in recipe.stages for rate in (stage.lr, stage.end_lr)]
    if not all(0 <= rate <= HIGHEST_RATE for rate in rates) or any(stage.lr < LOWEST_RATE for stage in recipe.stages):
        raise CrossmodalError(f"--lr should be a number from {LOWEST_RATE:g} to {HIGHEST_RATE:g}.")
    if recipe.clip_norm == 0 or any(stage.epochs < 1 for stage in recipe.stages):
        raise CrossmodalError("--epochs and --clip-norm should be greater than 0.")
    for part in ("image", "text", "projection"):
        scale = getattr(recipe, f"{part}_lr_scale")
        if any(scale * stage.lr < LOWEST_RATE for stage in recipe.stages):
            advice = "" if part == "projection" else f"; --frozen-{part} {WHOLE} freezes the whole {part} tower"
            raise CrossmodalError(
                f"--{part}-lr-scale should be greater than 0, and so large that --lr times it is {LOWEST_RATE:g} or more{advice}."
            )


def _check_frozen(recipe: Recipe) -> None:
    for tower in ("image", "text"):
        least = min(getattr(stage, f"frozen_{tower}") for stage in recipe.stages)
        if least < WHOLE:
            raise CrossmodalError(
                f"--frozen-{tower} {least} is not known; it should be 0 or more, or {WHOLE} for the whole tower."
            )
    if recipe.image_pooling == "gpo" and recipe.always_frozen("image") == WHOLE:
        raise CrossmodalError("--image-pooling gpo is learned, so the image tower cannot be frozen as a whole.")


def _check_features(recipe: Recipe) -> None:
    recipe.numbers("image_stages")
    if 0 < recipe.image_size < 32:
        raise CrossmodalError(f"--image-size {recipe.image_size} is too small; give 32 or more, or 0.")
    if recipe.numbers("text_layers") and recipe.text_tower.startswith("scratch:"):
        raise CrossmodalError(
            f"--text-layers are those of a pretrained text tower, which {recipe.text_tower} is not; leave them out."
        )


def _check_projection(recipe: Recipe, trained: bool) -> None:
    if recipe.projection == "linear" and recipe.dropout:
        raise CrossmodalError(
            "--dropout is that of a hidden layer, which a linear projection does not have; set it to 0, and "
            "--image-dropout and --text-dropout to what is dropped of the features."
        )
    if recipe.projection == "mlp" and recipe.head_start_epochs:
        raise CrossmodalError(
            "--head-start-epochs trains linear and residual projections; set it to 0 or --projection to one of them."
        )
    if recipe.projection == "residual" and not recipe.head_start_epochs and not trained:
        raise CrossmodalError(
            "--projection residual takes its statistics of the features in the head start; set --head-start-epochs "
            "to 1 or more."
        )
    if recipe.mixup and (recipe.captions_per_image != 1 or recipe.soft_targets != "none"):
        raise CrossmodalError(
            "--mixup mixes an image and one caption with another such pair, without soft targets; set "
            "--captions-per-image to 1 and --soft-targets to none."
        )


def _check_matryoshka(recipe: Recipe) -> None:
    sizes = recipe.numbers("matryoshka")
    # Without the whole vector among them, the dimensions beyond would stay as they were drawn.
    sound = sizes and sizes[0] > 0 and sizes[-1] == recipe.joint_size
    if recipe.matryoshka and (not sound or recipe.matryoshka.replace(" ", "") != ",".join(map(str, sizes))):
        raise CrossmodalError(
            f"--matryoshka {recipe.matryoshka} cannot be trained; give sizes of 1 or more in ascending order, the last of "
            f"which is --joint-size, {recipe.joint_size}."
        )


def _check_soft_targets(recipe: Recipe) -> None:
    if recipe.soft_targets != "none" and recipe.loss != "clip":
        raise CrossmodalError(f"--soft-targets go with --loss clip, not {recipe.loss}.")
    if (recipe.soft_targets == "teacher") != bool(recipe.teacher):
        raise CrossmodalError("--soft-targets teacher and --teacher NAME go together; give both or neither.")
    if recipe.soft_targets == "captions" and (
        recipe.text_weights == "random" or recipe.text_tower.startswith("scratch:")
    ):
        raise CrossmodalError(
            "--soft-targets captions compares captions by the text tower's published weights, and this text tower "
            "has none; use --soft-targets teacher or none."
        )
