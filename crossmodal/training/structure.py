"""A penalty on neighbourhoods that change between a tower's space and the joint space (STRUCTURE, Gröger et al. 2025)."""

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.05  # of the neighbourhoods, as published


def structure_penalty(features: Tensor, embeds: Tensor) -> Tensor:
    """Return how far the neighbourhoods of a tower's features [N, F] are from those of their joint vectors [N, D].

    An item's neighbourhood is the softmax of its cosines to all items of the batch, each space centred; the penalty is
    the mean Jensen-Shannon divergence in nats, from 0 to log 2. The features are taken as they are.
    """
    before, after = _log_neighbourhoods(features.detach().float()), _log_neighbourhoods(embeds.float())
    between = torch.stack([before, after]).logsumexp(0) - torch.log(torch.tensor(2.0))
    divergences = [F.kl_div(between, side, reduction="batchmean", log_target=True) for side in (before, after)]
    return torch.stack(divergences).mean()


def _log_neighbourhoods(vectors: Tensor) -> Tensor:
    unit = F.normalize(vectors - vectors.mean(0), dim=1)
    return (unit @ unit.T / TEMPERATURE).log_softmax(1)
