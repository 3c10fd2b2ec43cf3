"""Going on with a model: that of an interrupted run, or a trained one on other captions, and how much of what it was stays."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.embeddings import model_path
from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.recipe import Recipe
from crossmodal.recipe_checks import check_recipe
from crossmodal.runs.opening import trained_checkpoint_of
from crossmodal.towers.image import image_from_plain
from crossmodal.towers.text import text_from_plain

# What weights were trained for; with another value they fit no longer.
SHAPE = (
    "image_tower", "text_tower", "joint_size", "image_weights", "text_weights", "image_size", "image_stages", "text_layers",
    "image_pooling", "text_pooling", "projection", "hidden_size", "loss", "resize",
)  # fmt: skip


def interrupted_model(state: Mapping[str, Any]) -> DualEncoder:
    """Return the model of an interrupted run, by its own recipe; raises CheckpointError for a state that is damaged."""
    try:
        towers = image_from_plain(state["image_tower"]), text_from_plain(state["text_tower"])
        recipe = Recipe.from_plain(state["recipe"])
        check_recipe(recipe, trained=True)
        model = DualEncoder(*towers, recipe)
        model.load_state_dict(state["model"])
        weights = [*state["model"].values(), *(state.get("average") or {}).values()]
        sound = all(bool(value.isfinite().all()) for value in weights)
    except Exception as error:  # what towers raise that are built from values which another program changed
        raise CheckpointError("The training state is damaged; start a run without --resume.") from error
    if not sound:
        raise CheckpointError("The weights in the training state are not all numbers; start a run without --resume.")
    return model


def started_from(checkpoint: Path, overridden: Callable[[Recipe], Recipe]) -> DualEncoder:
    """Return a checkpoint's model, to be trained further by its own recipe, without the head start.

    `checkpoint` may be a run, of which the best epoch is taken; `overridden` changes the recipe as the user asks. Raises
    CheckpointError for a checkpoint that cannot be read, CrossmodalError for changes that its weights do not allow.
    """
    trained, _ = DualEncoder.load(trained_checkpoint_of(checkpoint))
    own = replace(trained.recipe, head_start_epochs=0)
    recipe = overridden(own)
    for name in (*SHAPE, "head_start_epochs"):
        if getattr(recipe, name) != getattr(own, name):
            raise CrossmodalError(
                f"--start-from goes on with the weights of {checkpoint}, which are not for another --{name.replace('_', '-')}; "
                "leave it out, or train a new model."
            )
    frozen = recipe.always_frozen("image")
    towers = image_from_plain(trained.image_tower.plain(), frozen), text_from_plain(trained.text_tower.plain())
    model = DualEncoder(*towers, recipe)
    model.load_state_dict(trained.state_dict())
    return model


def drawn_to_start(weights: dict[str, Tensor], folder: Path, share: float) -> dict[str, Tensor]:
    """Return a share of the weights of epoch 0 in a run's folder with the rest of these.

    The mean of the weights from before and after fine-tuning is often better than either (WiSE-FT, Wortsman et al. 2022).
    """
    if not share:
        return weights
    start = DualEncoder.load(model_path(folder, 0))[0].state_dict()
    return {
        key: torch.lerp(value.float(), start[key], share) if value.is_floating_point() else value
        for key, value in weights.items()
    }
