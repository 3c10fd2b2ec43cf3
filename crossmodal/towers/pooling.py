"""How an image tower's grid of features becomes one vector."""

import torch
from torch import Tensor, nn

from crossmodal.towers.scratch import sinusoids


class GPO(nn.Module):
    """Generalised pooling (VSE-infinity, Chen et al. 2021): a learned weight for each rank.

    The places of the grid are sorted by value in each dimension; a small network gives the weight of
    each rank from its position. Maximum, mean and k-max are special cases.
    """

    def __init__(self, size: int = 32, hidden: int = 32) -> None:
        super().__init__()
        self.size = size
        self.gru = nn.GRU(size, hidden, batch_first=True, bidirectional=True)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, grid: Tensor) -> Tensor:
        """Places [N, P, F] to vectors [N, F]."""
        positions = sinusoids(grid.shape[1], self.size).to(grid)
        states, _ = self.gru(positions[None])  # [1, P, 2 * hidden]
        forward, backward = states.chunk(2, dim=2)
        weights = self.score((forward + backward) / 2).softmax(1)  # [1, P, 1]
        ranked = grid.sort(dim=1, descending=True).values
        return (ranked * weights).sum(1)


def places(grid: Tensor, net: nn.Module) -> Tensor:
    """Return what a timm model's forward_features gives as places [N, P, F], without class tokens."""
    if grid.dim() == 4:
        return grid.flatten(1, 2) if grid.shape[-1] == net.num_features else grid.flatten(2).transpose(1, 2)
    return grid[:, int(getattr(net, "num_prefix_tokens", 0)) :]


def mean_of_places(grid: Tensor) -> Tensor:
    """Places [N, P, F] to their mean [N, F]."""
    return torch.mean(grid, dim=1)
