"""Image towers side by side: they see the same pixels, and their features are concatenated."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from crossmodal.errors import CrossmodalError
from crossmodal.towers.freezing import Freezable

if TYPE_CHECKING:
    from crossmodal.towers.image import TimmTower

JOINED = "+"  # between the names of towers that stand side by side


class SideBySide(Freezable):
    """Some image towers as one; all that they give is concatenated along the channels.

    The towers read one size, the largest that any was trained at. A second, larger size beside the
    first would cost a resize for each image and gains nothing over the same size for both.
    """

    def __init__(self, towers: "Sequence[TimmTower]") -> None:
        """Raises CrossmodalError for towers of different sizes, or whose stems' grids differ."""
        super().__init__()
        if len({tower.preprocessing.size for tower in towers}) != 1:
            raise CrossmodalError("Image towers that stand side by side must read one size.")
        # nn.ModuleList hides what it holds from the type checker.
        self.towers: Any = nn.ModuleList(towers)
        self.name = JOINED.join(tower.name for tower in towers)
        self.preprocessing = towers[0].preprocessing
        self.frozen_stages = towers[0].frozen_stages
        self.pooling = towers[0].pooling
        self.holds_statistics = all(tower.holds_statistics for tower in towers)
        self.features = sum(tower.features for tower in towers)
        probe = torch.zeros(1, 3, self.preprocessing.size, self.preprocessing.size, dtype=torch.uint8)
        stems = [tower.stem(probe) for tower in towers]
        if len({stem.shape[2:] for stem in stems}) != 1:
            raise CrossmodalError(
                f"The first {self.frozen_stages} stages of {self.name} give grids of different sizes, so they cannot be "
                "frozen together; give another --frozen-image."
            )
        self._stem_channels = [stem.shape[1] for stem in stems]

    @property
    def mean(self) -> Tensor:
        """The first tower's, which says where the towers are."""
        return self.towers[0].mean

    def first_parts(self, count: int) -> list[nn.Module]:
        """Return the modules of the first `count` stages of each tower."""
        return [part for tower in self.towers for part in tower.first_parts(count)]

    def freeze(self, count: int) -> None:
        """Freeze the first `count` stages of each tower, or with WHOLE all; train the others."""
        self.frozen = count
        for tower in self.towers:
            tower.freeze(count)

    def stem(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> what the trunk reads, the towers' channels after each other."""
        return torch.cat([tower.stem(pixels) for tower in self.towers], dim=1)

    def trunk(self, hidden: Tensor) -> Tensor:
        """What the stem gave -> features [N, features]."""
        return self._each(lambda tower, part: tower.trunk(part), hidden, self._stem_channels)

    def at_once(self, pixels: Tensor) -> Tensor:
        """As `forward`, in one piece whatever the number of images: for tracing."""
        return torch.cat([tower.at_once(pixels) for tower in self.towers], dim=1)

    def stem_at_once(self, pixels: Tensor) -> Tensor:
        """As `stem`, in one piece whatever the number of images: for tracing."""
        return torch.cat([tower.stem_at_once(pixels) for tower in self.towers], dim=1)

    def grid(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> the towers' last grids [N, features, rows, columns]."""
        grids = [tower.grid(pixels) for tower in self.towers]
        if len({grid.shape[2:] for grid in grids}) != 1 or grids[0].dim() != 4:
            raise CrossmodalError(f"The towers of {self.name} have different last grids, so none can be shown.")
        return torch.cat(grids, dim=1)

    def pooled(self, grid: Tensor) -> Tensor:
        """What `grid` gave -> features [N, features]."""
        return self._each(lambda tower, part: tower.pooled(part), grid, [tower.features for tower in self.towers])

    def _each(self, run: "Callable[[TimmTower, Tensor], Tensor]", joined: Tensor, channels: list[int]) -> Tensor:
        parts = joined.split(channels, dim=1)
        return torch.cat([run(tower, part) for tower, part in zip(self.towers, parts, strict=True)], dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> features [N, features]."""
        return torch.cat([tower(pixels) for tower in self.towers], dim=1)

    def plain(self) -> dict[str, Any]:
        """Return what rebuilds the towers without their weights, as plain values."""
        return {"towers": [tower.plain() for tower in self.towers]}
