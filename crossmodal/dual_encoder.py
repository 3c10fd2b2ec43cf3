"""The dual encoder: two towers, two projections, one temperature; saved as one self-contained file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.checkpoint_format import FORMAT, FORMAT_VERSION
from crossmodal.data.preprocessing import Preprocessing
from crossmodal.encoder import Encoder
from crossmodal.files import save_tensors
from crossmodal.hubs import Banks
from crossmodal.projection import projection
from crossmodal.rebuilding import NotWholeError, fingerprint_of, rebuilt
from crossmodal.recipe import MOST_VIEWS, Recipe
from crossmodal.text_side import TextSide
from crossmodal.towers.image import ImageTower, image_from_plain, image_tower
from crossmodal.towers.portable_tokenizer import PortableTokenizer
from crossmodal.towers.text import PretrainedTextTower, TextTower, text_from_plain, text_tower

FIRST_LOGIT_BIAS = -10.0  # most questions of the sigmoid loss are answered no (SigLIP, Zhai et al. 2023)
MAX_LOGIT_SCALE = math.log(100)


class DualEncoder(TextSide, Encoder):
    """Images and sentences to unit vectors of one space, where a dot product compares them."""

    def __init__(self, image_tower: ImageTower, text_tower: TextTower, recipe: Recipe) -> None:
        super().__init__()
        # Twice as fast on a CPU, and what tensor cores read.
        self.image_tower = image_tower.to(memory_format=torch.channels_last)
        self.text_tower = text_tower
        self.image_projection = projection(self.image_tower.features, recipe, recipe.image_dropout)
        self.text_projection = projection(self.text_tower.features, recipe, recipe.text_dropout)
        # The log of the inverse temperature, as in CLIP (Radford et al. 2021).
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(recipe.temperature)), bool(recipe.learn_temperature))
        if recipe.loss == "sigmoid":
            self.logit_bias = nn.Parameter(torch.tensor(FIRST_LOGIT_BIAS))
        self.recipe = recipe
        # What is frozen in the whole run is from the start; a stage may freeze more.
        self.image_tower.freeze(recipe.always_frozen("image"))
        self.text_tower.freeze(recipe.always_frozen("text"))

    @staticmethod
    def from_recipe(recipe: Recipe, weights: Path | None = None, captions: Sequence[str] = ()) -> "DualEncoder":
        """Build the towers with their published weights and the projections at random (by the seed).

        `captions` are those to train on, of which some text towers make their vocabulary. Raises
        WeightsError when weights cannot be had.
        """
        images = image_tower(recipe, weights)
        texts = text_tower(recipe, weights, captions)
        torch.manual_seed(recipe.seed)
        return DualEncoder(images, texts, recipe)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.logit_scale.device

    @property
    def label(self) -> str:  # type: ignore[override]
        """The recipe's name."""
        return self.recipe.name

    @property
    def preparation(self) -> Preprocessing:
        """How an image becomes the image tower's input, uint8."""
        return self.image_tower.preprocessing

    @property
    def joint_size(self) -> int:
        """Dimensions of its unit vectors."""
        return self.recipe.joint_size

    @property
    def temperature(self) -> float:  # type: ignore[override]
        """By which similarities are divided."""
        return 1 / self.logit_scale.exp().item()

    @property
    def photo_views(self) -> int:  # type: ignore[override]
        """Views of a photo whose mean is its vector, where quality is worth the time."""
        return self.recipe.photo_views

    @property
    def prefixes(self) -> tuple[int, ...]:  # type: ignore[override]
        """Sizes at which its vectors can be cut, none without matryoshka training."""
        return self.recipe.numbers("matryoshka")

    def loss_parameters(self) -> list[nn.Parameter]:
        """Return what the loss itself learns: the temperature, and the bias of the sigmoid loss."""
        return [self.logit_scale, *([self.logit_bias] if self.recipe.loss == "sigmoid" else [])]

    def encode_image(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> unit vectors [N, joint_size]."""
        return self.project_image(self.image_tower(pixels))

    def encode_at_once(self, pixels: Tensor) -> Tensor:
        """As `encode_image`, in one piece whatever the number of images: for tracing."""
        return self.project_image(self.image_tower.at_once(pixels))

    def project_image(self, features: Tensor) -> Tensor:
        """Image features [N, F] -> unit vectors [N, joint_size]."""
        return F.normalize(self.image_projection(features).float(), dim=-1)

    def encode_tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids [N, T] of the portable tokenizer, and where they are no padding -> unit vectors [N, joint_size]."""
        assert isinstance(self.text_tower, PretrainedTextTower)
        return self.project_text(self.text_tower.pooled(ids, mask))

    @property
    def portable_tokenizer(self) -> PortableTokenizer | None:
        """The tokenizer for a runtime without torch, None where the vocabulary is the model's own."""
        tower = self.text_tower
        return PortableTokenizer(tower.tokenizer, tower.padding) if isinstance(tower, PretrainedTextTower) else None

    def plain(self) -> dict[str, Any]:
        """Return what rebuilds both towers without their weights, as plain values."""
        return {"image_tower": self.image_tower.plain(), "text_tower": self.text_tower.plain()}

    def clamp_logit_scale(self) -> None:
        """Hold the temperature between 0.01 and 100, after each step."""
        with torch.no_grad():
            self.logit_scale.clamp_(-MAX_LOGIT_SCALE, MAX_LOGIT_SCALE)

    def stored_weights(self) -> dict[str, Tensor]:
        """Return the weights as a checkpoint keeps them: matrices and kernels in half precision.

        Vectors (norms, biases, statistics) stay in fp32: they are small, and variances underflow.
        """
        return {
            key: (value.half() if value.is_floating_point() and value.dim() > 1 else value).detach().cpu().contiguous()
            for key, value in self.state_dict().items()
        }

    def save(
        self,
        path: Path,
        epoch: int,
        metrics: Mapping[str, float],
        data: Mapping[str, Any],
        banks: Banks | None = None,
    ) -> str:
        """Write all that encoding and ranking need, whole or not at all; return the model's fingerprint."""
        weights, towers = self.stored_weights(), self.plain()
        kept = banks.plain() if banks else None
        fingerprint = fingerprint_of(weights, towers, kept)
        content = {
            "format": FORMAT, "version": FORMAT_VERSION, "fingerprint": fingerprint, "recipe": self.recipe.plain(),
            **towers, "weights": weights, "epoch": epoch, "metrics": dict(metrics), "data": dict(data),
            "banks": kept,
        }  # fmt: skip
        save_tensors(path, content)
        return fingerprint

    @staticmethod
    def load(path: Path, device: torch.device | str = "cpu") -> tuple["DualEncoder", dict[str, Any]]:
        """Read a checkpoint: the model, ready to encode, and what else was stored beside its weights; raises as `rebuilt`."""
        model, content = rebuilt(path, DualEncoder._from_plain)
        return model.to(device), content

    @staticmethod
    def _from_plain(content: Mapping[str, Any]) -> "DualEncoder":
        """Rebuild the model of a checkpoint with random weights."""
        towers = image_from_plain(content["image_tower"]), text_from_plain(content["text_tower"])
        recipe = Recipe.from_plain(content["recipe"])
        if recipe.photo_views not in range(1, MOST_VIEWS + 1):
            raise NotWholeError(f"photos cannot have {recipe.photo_views!r:.40} views")
        return DualEncoder(*towers, recipe)
