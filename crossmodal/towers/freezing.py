"""Freezing the first part of a tower, or all of it."""

from collections.abc import Sequence
from typing import Self

from torch import nn

from crossmodal.errors import CrossmodalError
from crossmodal.recipe import WHOLE


class Freezable(nn.Module):
    """A tower whose first parts can be frozen: no gradient, no dropout, and BatchNorm statistics held."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = 0

    def first_parts(self, count: int) -> list[nn.Module]:
        """Return the modules that are frozen with `count`; raises CrossmodalError where there are fewer."""
        raise NotImplementedError

    def freeze(self, count: int) -> None:
        """Freeze the first `count` parts, or with WHOLE all; train the others."""
        self.frozen = count
        self.requires_grad_(True)
        for part in self.first_parts(count):
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all that is not frozen."""
        super().train(mode)
        for part in self.first_parts(self.frozen):
            part.eval()
        return self


def hold_depthwise(tower: nn.Module) -> None:
    """Freeze the depthwise kernels: few weights, whose gradient a CPU computes slowly, in bf16 above all."""
    for module in tower.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.weight.requires_grad_(False)


def counted(count: int, parts: Sequence[nn.Module], name: str, words: tuple[str, str]) -> list[nn.Module]:
    """Return the first `count` parts; `words` are the tower and what its parts are called.

    Raises CrossmodalError, which names the option to give, when there are fewer.
    """
    tower, unit = words
    if count > len(parts):
        limit = f"0 to {len(parts)}, or " if parts else "0 or "
        raise CrossmodalError(
            f"{name} has {len(parts)} {unit} that can be frozen, not {count}; give --frozen-{tower} {limit}{WHOLE} for "
            "the whole tower."
        )
    return list(parts[:count])
