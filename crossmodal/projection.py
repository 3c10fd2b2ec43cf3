"""What leads from a tower's features to the joint space."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.recipe import Recipe


class Standardise(nn.Module):
    """Features with mean 0 and variance 1 over the training set; until `fit`, as they are.

    A dropped feature is then an average one, and weight decay treats all features alike. The
    statistics are held while the tower is fine-tuned.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def fit(self, features: Tensor) -> None:
        """Take the statistics of features [N, F]."""
        self.mean.copy_(features.mean(0))
        self.std.copy_(features.std(0, correction=0).clamp(min=1e-3))

    def forward(self, features: Tensor) -> Tensor:
        """Return features [N, F] standardised."""
        return (features - self.mean) / self.std


class DroppingLinear(nn.Linear):
    """A linear layer that drops a share of its inputs in training."""

    def __init__(self, features: int, size: int, dropout: float) -> None:
        super().__init__(features, size)
        self.dropout = dropout

    def forward(self, features: Tensor) -> Tensor:
        """Features [N, F] -> [N, size]."""
        return super().forward(F.dropout(features, self.dropout, self.training))


class Residual(nn.Module):
    """A joint vector [N, D] plus what a hidden layer makes of it (pre-norm, as in a transformer)."""

    def __init__(self, size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.correction = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, size)
        )

    def forward(self, joint: Tensor) -> Tensor:
        """Return the corrected joint vectors [N, D]."""
        return joint + self.correction(joint)


def projection(features: int, recipe: Recipe, feature_dropout: float = 0.0) -> nn.Module:
    """Build a recipe's projection of a tower with so many features, with random weights.

    `feature_dropout` is the share of the features that are dropped in training.
    """
    if recipe.projection == "linear":
        return DroppingLinear(features, recipe.joint_size, feature_dropout)
    if recipe.projection == "residual":
        return nn.Sequential(
            Standardise(features),
            DroppingLinear(features, recipe.joint_size, feature_dropout),
            Residual(recipe.joint_size, recipe.hidden_size, recipe.dropout),
        )
    return nn.Sequential(
        DroppingLinear(features, recipe.hidden_size, feature_dropout),
        nn.BatchNorm1d(recipe.hidden_size),
        nn.ReLU(),
        nn.Dropout(recipe.dropout),
        nn.Linear(recipe.hidden_size, recipe.joint_size),
    )
