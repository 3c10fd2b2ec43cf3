"""A checkpoint in the formats of others: ONNX as Immich's photo server reads it, OpenVINO, and safetensors."""

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.openvino_export import export_towers
from crossmodal.errors import CrossmodalError
from crossmodal.towers.text import MAX_TOKENS, PretrainedTextTower

OPSET = 17
CARD = """---
library_name: crossmodal
license: {license}
pipeline_tag: zero-shot-image-classification
tags: [image-text-retrieval, dual-encoder]
---

# {name}

A dual encoder: images and English sentences become unit vectors of {size} dimensions, and a dot product compares them. Image tower
{image}, text tower {text}; images are {pixels} x {pixels} pixels, {resize}.

{measured}

Written by `python -m crossmodal export --to {kind}`.
"""


def export(model: DualEncoder, content: dict[str, Any], kind: str, folder: Path) -> None:
    """Write a checkpoint's model and what else is said of it into a new folder, whole or not at all.

    `kind` is one of KINDS, and `content` what `DualEncoder.load` gave beside the model. Raises CrossmodalError for a folder
    that has something in it, for a text tower without a tokenizer that others read, and where a package is missing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CrossmodalError(f"{folder} is there already; name a new folder, or empty it first.")
    if not isinstance(model.text_tower, PretrainedTextTower):
        raise CrossmodalError(
            f"The text tower of the recipe {model.recipe.name} has a vocabulary of its own, which no other program reads."
        )
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        KINDS[kind](model.cpu().eval(), content, temporary)
        (temporary / "README.md").write_text(_card(model, content, kind), encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Images(nn.Module):
    """The image tower as CLIP's are called: scaled pixels [N, 3, S, S] -> unit vectors [N, D]."""

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model
        self.scale: Tensor
        self.shift: Tensor
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (model.preparation.mean, model.preparation.std))
        self.register_buffer("scale", 255 * std)
        self.register_buffer("shift", 255 * mean)

    def forward(self, image: Tensor) -> Tensor:
        return self.model.project_image(self.model.image_tower.at_once(image * self.scale + self.shift))


class _Texts(nn.Module):
    """The text tower as CLIP's are called: padded token ids [N, T] alone -> unit vectors [N, D]."""

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, text: Tensor) -> Tensor:
        tower, ids = self.model.text_tower, text.long()
        assert isinstance(tower, PretrainedTextTower)
        features = tower.pooled(ids, (ids != tower.padding).long())
        return F.normalize(self.model.text_projection(features).float(), dim=-1)


def _onnx(model: DualEncoder, content: dict[str, Any], folder: Path) -> None:
    """Write the layout of Immich's machine learning: visual/, textual/, each with a model.onnx, and config.json.

    Its `shortest` resizing knows no share that is cropped, so of a recipe that crops a share the whole middle is seen.
    """
    try:
        import onnx  # noqa: F401  # torch writes the file by it
    except ImportError as error:
        raise CrossmodalError("--to onnx needs a package: pip install -r requirements-export.txt") from error
    tower, prepare = model.text_tower, model.preparation
    assert isinstance(tower, PretrainedTextTower)
    parts = {
        "visual": (_Images(model), torch.zeros(1, 3, prepare.size, prepare.size), "image", {0: "batch"}),
        "textual": (_Texts(model), torch.ones(1, MAX_TOKENS, dtype=torch.int32), "text", {0: "batch", 1: "tokens"}),
    }
    for name, (module, example, given, axes) in parts.items():
        (folder / name).mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns of every condition in the towers' code
            torch.onnx.export(
                module.eval(), (example,), str(folder / name / "model.onnx"), input_names=[given], output_names=["embedding"],
                dynamic_axes={given: axes, "embedding": {0: "batch"}}, opset_version=OPSET, dynamo=False,
            )  # fmt: skip
    _write(folder / "config.json", {
        "embed_dim": model.recipe.joint_size, "vision_cfg": {"image_size": prepare.size}, "text_cfg": {"context_length": MAX_TOKENS},
    })  # fmt: skip
    resize = {"squash": "squash", "crop": "shortest"}[prepare.resize]
    _write(folder / "visual" / "preprocess_cfg.json", {
        "size": prepare.size, "mode": "RGB", "mean": prepare.mean, "std": prepare.std, "interpolation": prepare.interpolation,
        "resize_mode": resize, "fill_color": 0,
    })  # fmt: skip
    (folder / "textual" / "tokenizer.json").write_text(tower.tokenizer.to_str(), encoding="utf-8")
    pad = tower.tokenizer.id_to_token(tower.padding)
    _write(folder / "textual" / "tokenizer_config.json", {"pad_token": pad, "model_max_length": MAX_TOKENS})


def _openvino(model: DualEncoder, content: dict[str, Any], folder: Path) -> None:
    """Write both towers as OpenVINO's models: pixels uint8 [N, S, S, 3] and token ids with their mask in, unit vectors out."""
    export_towers(model, folder)


def _safetensors(model: DualEncoder, content: dict[str, Any], folder: Path) -> None:
    """Write the weights, half precision where a checkpoint has it, and all that rebuilds the model around them."""
    from safetensors.torch import save_file

    save_file(model.stored_weights(), str(folder / "model.safetensors"))
    about = {key: content[key] for key in ("recipe", "image_tower", "text_tower", "epoch", "metrics", "fingerprint")}
    _write(folder / "config.json", {**about, "preprocessing": asdict(model.preparation)})
    tower = model.text_tower
    assert isinstance(tower, PretrainedTextTower)
    (folder / "tokenizer.json").write_text(tower.tokenizer.to_str(), encoding="utf-8")


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _card(model: DualEncoder, content: dict[str, Any], kind: str) -> str:
    metrics, recipe, prepare = content["metrics"], model.recipe, model.preparation
    recalls = [
        f"{metrics[f'{way}_r{k}']:.1f}" for way in ("t2i", "i2t") for k in (1, 5, 10) if f"{way}_r{k}" in metrics
    ]
    measured = (
        f"On its {metrics['images']:,} validation images, recall at 1, 5 and 10: text to image {', '.join(recalls[:3])}; "
        f"image to text {', '.join(recalls[3:])}."
        if len(recalls) == 6 and "images" in metrics
        else "It was not measured."
    )
    return CARD.format(
        license="other", name=recipe.name, size=recipe.joint_size, image=recipe.image_tower, text=recipe.text_tower,
        pixels=prepare.size, resize="all of it squashed" if prepare.resize == "squash" else "their middle", measured=measured,
        kind=kind,
    )  # fmt: skip


KINDS: dict[str, Callable[[DualEncoder, dict[str, Any], Path], None]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "safetensors": _safetensors,
}
