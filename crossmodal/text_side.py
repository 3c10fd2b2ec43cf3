"""The text side of a dual encoder; alone it encodes sentences seconds before the image towers are there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.projection import projection
from crossmodal.rebuilding import rebuilt
from crossmodal.recipe import Recipe
from crossmodal.towers.text import TextTower, text_from_plain

PARTS = ("text_tower.", "text_projection.")


class TextSide(nn.Module):
    """A text tower and its projection: sentences to unit vectors of the joint space."""

    text_tower: TextTower
    text_projection: nn.Module

    def project_text(self, features: Tensor) -> Tensor:
        """Text features [N, G] -> unit vectors [N, joint_size]."""
        return F.normalize(self.text_projection(features).float(), dim=-1)

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit vectors [len(sentences), joint_size]."""
        return self.project_text(self.text_tower(sentences))


class TextAlone(TextSide):
    """The text side of a checkpoint, without its image side."""

    def __init__(self, text_tower: TextTower, recipe: Recipe) -> None:
        super().__init__()
        self.text_tower = text_tower
        self.text_projection = projection(text_tower.features, recipe, recipe.text_dropout)

    @staticmethod
    def load(path: Path, device: torch.device | str = "cpu") -> tuple["TextAlone", str]:
        """Read a checkpoint's text side, ready to encode, and the fingerprint of the whole; raises as `rebuilt`."""
        model, content = rebuilt(path, TextAlone._from_plain, PARTS)
        return model.to(device), content["fingerprint"]

    @staticmethod
    def _from_plain(content: Mapping[str, Any]) -> "TextAlone":
        return TextAlone(text_from_plain(content["text_tower"]), Recipe.from_plain(content["recipe"]))

    @torch.inference_mode()
    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Return unit vectors [len(sentences), joint_size], fp32."""
        return self.encode_text(sentences).cpu().numpy()
