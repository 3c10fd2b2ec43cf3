"""Query-bank normalisation: what is close to everything is moved back (Bogolin et al., CVPR 2022).

In spaces of many dimensions some items are near to most queries; such a hub is found for queries
that it does not answer. From an item's similarity is taken how close it is to a bank of training
queries, which is one number an item and needs no query of the user's. Photos are measured by a bank
of captions, captions by a bank of photos. Similarities that are shown stay plain cosines.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from crossmodal.errors import CrossmodalError

ITEMS_AT_ONCE = 4096


def hub_bias(items: Tensor, bank: Tensor, beta: float, weights: Tensor | None = None) -> Tensor:
    """Return how close each item is to the bank, fp32 [N]: (1/beta) log of the mean of exp(beta * similarity).

    Items [N, D] and the bank [M, D] are vectors of one space; `weights` [M] are of the mean, all alike
    without them. The inverse of the model's temperature is a good `beta`. The mean rather than the
    sum, so that banks of all sizes give figures of one kind.
    """
    queries = bank.to(items.device).float()
    shares = torch.ones(len(queries)) if weights is None else weights.float()
    offset = (shares / shares.sum()).log().to(items.device)
    parts = [
        (beta * part.float() @ queries.T + offset).logsumexp(1) / beta  # [ITEMS_AT_ONCE, M] at a time
        for part in items.split(ITEMS_AT_ONCE)
    ]
    return torch.cat(parts)


@dataclass(frozen=True)
class Bank:
    """Queries of the training split by which hubs are known; it travels with a checkpoint."""

    vectors: Tensor  # fp16 [M, D], unit vectors or the centres of some
    weights: Tensor  # fp32 [M], how many queries each stands for
    beta: float  # the inverse temperature of the mean
    share: float = 1.0  # of the bias that is taken from a similarity

    @staticmethod
    def of(queries: Tensor, beta: float, share: float = 1.0) -> "Bank":
        """Make a bank of unit vectors [M, D]. Raises CrossmodalError where there are none."""
        if not len(queries):
            raise CrossmodalError("A bank for query-bank normalisation needs at least one training query.")
        return Bank(queries.half(), torch.ones(len(queries)), beta, share)

    def bias(self, items: Tensor) -> Tensor:
        """Return what is taken from the similarities of items [N, D], fp32 [N]."""
        return self.share * hub_bias(items, self.vectors, self.beta, self.weights)

    def distilled(self, size: int, seed: int = 0) -> "Bank":
        """Return a bank of `size` centres (k-means), each with the weight of what lies around it.

        A bank that is no larger stays as it is.
        """
        if size >= len(self.vectors):
            return self
        from sklearn.cluster import KMeans  # takes a second to import

        found = KMeans(size, n_init=1, max_iter=50, random_state=seed).fit(
            self.vectors.float().numpy(), sample_weight=self.weights.numpy()
        )
        weights = torch.zeros(size).index_add_(0, torch.from_numpy(found.labels_).long(), self.weights)
        return Bank(torch.from_numpy(found.cluster_centers_).half(), weights, self.beta, self.share)

    def plain(self) -> dict[str, Any]:
        """Return plain values and tensors, for a checkpoint."""
        return {"vectors": self.vectors, "weights": self.weights, "beta": self.beta, "share": self.share}

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "Bank":
        """Rebuild a bank from `plain`."""
        return Bank(**values)
