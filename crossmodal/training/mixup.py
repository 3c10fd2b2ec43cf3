"""Mixup (Zhang et al. 2018) of the towers' features: a pair of a photo and its caption is mixed with another pair."""

import torch
from torch import Tensor


def mixed(images: Tensor, texts: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Mix features [N, F] and [N, G] of the same N pairs in random twos, by one share a pair from Beta(alpha, alpha)."""
    share = torch.distributions.Beta(alpha, alpha).sample((len(images), 1)).to(images.device)
    partner = torch.randperm(len(images), device=images.device)

    def mix(features: Tensor) -> Tensor:
        return torch.lerp(features[partner], features, share.to(features.dtype))

    return mix(images), mix(texts)
