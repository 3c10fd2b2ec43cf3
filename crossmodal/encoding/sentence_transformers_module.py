"""The dual encoder as a module of sentence-transformers, which travels with the code that it needs in an exported folder."""

from collections.abc import Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from sentence_transformers.base.modality import infer_modality
from sentence_transformers.base.modules import InputModule
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.image_utils import load_image

from crossmodal.projection import projection
from crossmodal.recipe import Recipe
from crossmodal.towers.image import image_from_plain
from crossmodal.towers.text import text_from_plain

PLACE = ("subfolder", "token", "cache_folder", "revision", "local_files_only")  # options that say where files are


class CrossmodalEncoder(InputModule):  # type: ignore[misc]  # it is untyped
    """Images and sentences, in any order in one list, to unit vectors of one space."""

    # "message" is what sentence-transformers calls a list of both; chat messages themselves are refused.
    modalities = ["image", "text", "message"]

    def __init__(self, recipe: dict[str, Any], image_tower: dict[str, Any], text_tower: dict[str, Any]) -> None:
        """Build the towers and projections with random weights, from the plain values of a checkpoint."""
        super().__init__()
        self.made_of = {"recipe": recipe, "image_tower": image_tower, "text_tower": text_tower}
        self.recipe = Recipe.from_plain(recipe)
        self.image_tower: Any = image_from_plain(image_tower)
        self.text_tower: Any = text_from_plain(text_tower)
        self.image_projection = projection(self.image_tower.features, self.recipe, self.recipe.image_dropout)
        self.text_projection = projection(self.text_tower.features, self.recipe, self.recipe.text_dropout)

    @classmethod
    def load(cls, model_name_or_path: str, **options: Any) -> Self:
        """Return the module of a folder or of a repository on the hub."""
        place = {key: options[key] for key in PLACE if key in options}
        module = cls(**cls.load_config(model_name_or_path, **place))
        return cls.load_torch_weights(model_name_or_path, model=module, **place)

    def save(self, output_path: str, *arguments: Any, safe_serialization: bool = True, **options: Any) -> None:
        """Write the configuration and the weights into a folder."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    def get_config_dict(self) -> dict[str, Any]:
        """Return what rebuilds the module without its weights."""
        return self.made_of

    def get_embedding_dimension(self) -> int:
        """Return the dimensions of the vectors."""
        return self.recipe.joint_size

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **options: Any) -> dict[str, Tensor]:
        """Return the pixels and token ids of a batch, and which of its rows are images.

        An image is of PIL, a path, an address or a data URI. Raises ValueError for what is neither an image nor a text.
        """
        images, texts, rows = [], [], []
        for one in inputs:
            kind = infer_modality(one, ["image", "text"])
            content = one[kind] if isinstance(one, dict) and kind in one else one
            if kind not in ("image", "text") or (kind == "text" and not isinstance(content, str)):
                raise ValueError(f"This model encodes single images and texts, not {kind}: {content!s:.80}")
            rows.append(kind == "image")
            if kind == "image":
                images.append(self.image_tower.preprocessing(load_image(content)))
            else:
                texts.append((prompt or "") + content)
        features = {"is_image": torch.tensor(rows)}
        if images:
            features["pixel_values"] = torch.stack(images)
        if texts:
            ids = [torch.tensor(encoding.ids) for encoding in self.text_tower.tokenizer.encode_batch(texts)]
            features["input_ids"] = pad_sequence(ids, batch_first=True, padding_value=self.text_tower.padding)
            features["attention_mask"] = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        return features

    def forward(self, features: dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
        """Add the unit vectors [N, joint_size] as "sentence_embedding"."""
        rows = features["is_image"]
        vectors = torch.zeros(len(rows), self.recipe.joint_size, device=rows.device)
        if "pixel_values" in features:
            joint = self.image_projection(self.image_tower(features["pixel_values"]))
            vectors[rows] = F.normalize(joint.float(), dim=-1)
        if "input_ids" in features:
            joint = self.text_projection(self.text_tower.pooled(features["input_ids"], features["attention_mask"]))
            vectors[~rows] = F.normalize(joint.float(), dim=-1)
        return {**features, "sentence_embedding": vectors}
