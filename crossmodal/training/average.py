"""A running average of the trained weights: what is validated and stored can be calmer than what is trained."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of parameters (Polyak and Juditsky 1992); a decay of 0 follows at once.

    Early on the decay is smaller, (1 + n) / (10 + n) after n steps, so that the start is soon forgotten.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self._parameters = list(parameters)
        self._decay, self._steps = decay, 0
        self._average = [p.detach().clone() for p in self._parameters] if decay else []

    @torch.no_grad()
    def follow(self) -> None:
        """Take in the parameters after a step."""
        if not self._decay:
            return
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for average, parameter in zip(self._average, self._parameters, strict=True):
            average.lerp_(parameter, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average into the model meanwhile."""
        trained: list[Tensor] = [p.detach().clone() for p in self._parameters] if self._decay else []
        self._copy(self._average)
        try:
            yield
        finally:
            self._copy(trained)

    @torch.no_grad()
    def _copy(self, values: Iterable[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=False):
            parameter.copy_(value)

    def state(self) -> dict[str, Any]:
        """Return what `restore` reads."""
        return {"steps": self._steps, "average": self._average}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._steps = state["steps"]
        self._average = [
            value.to(average.device) for value, average in zip(state["average"], self._average, strict=True)
        ]
