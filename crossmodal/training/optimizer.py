"""The learning rates: one a part, warmed up, then falling along a cosine in each stage."""

import math

import torch
from torch import nn

from crossmodal.dual_encoder import DualEncoder
from crossmodal.recipe import Recipe


def make_optimizer(model: DualEncoder, recipe: Recipe) -> torch.optim.AdamW:
    """Build AdamW over all that is not always frozen, each part with its factor of the learning rate.

    Matrices and kernels decay; vectors and the temperature do not.
    """
    parts: list[tuple[list[nn.Parameter], float]] = [
        (list(model.image_tower.parameters()), recipe.image_lr_scale),
        (list(model.text_tower.parameters()), recipe.text_lr_scale),
        (
            [*model.image_projection.parameters(), *model.text_projection.parameters(), *model.loss_parameters()],
            recipe.projection_lr_scale,
        ),
    ]
    groups = []
    for parameters, scale in parts:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for matrices, decay in ((True, recipe.weight_decay), (False, 0.0)):
            chosen = [parameter for parameter in trained if (parameter.dim() > 1) == matrices]
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "scale": scale})
    return torch.optim.AdamW(groups, lr=0.0, fused=model.device.type == "cuda")


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Return the learning rate at a point in time, in epochs from the start (2.5: middle of the third)."""
    start = 0.0
    for number, stage in enumerate(recipe.stages, start=1):
        if epoch < start + stage.epochs or number == len(recipe.stages):
            done = min(1.0, (epoch - start) / stage.epochs)
            rate = stage.end_lr + (stage.lr - stage.end_lr) * (1 + math.cos(math.pi * done)) / 2
            break
        start += stage.epochs
    return rate * min(1.0, epoch / recipe.warmup_epochs) if recipe.warmup_epochs else rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each part its factor of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
