"""A checkpoint in the formats of others: ONNX as Immich's photo server reads it, OpenVINO, safetensors, sentence-transformers."""

import importlib
import inspect
import json
import re
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
from crossmodal.encoding.model_card import model_card
from crossmodal.encoding.openvino_export import export_towers
from crossmodal.encoding.quantizing import QUANTIZED, measured_loss, quantize
from crossmodal.errors import CrossmodalError
from crossmodal.towers.text import MAX_TOKENS, PretrainedTextTower

OPSET = 17
WEIGHTS = "model.safetensors"
MODULE = "crossmodal.encoding.sentence_transformers_module"
OWN_IMPORT = re.compile(r"from (crossmodal\.[\w.]+) import")


def export(model: DualEncoder, content: dict[str, Any], kind: str, folder: Path, int8: bool = False) -> str:
    """Write a checkpoint's model and its card into a new folder, whole or not at all; return what int8 weights lose, or "".

    `kind` is one of KINDS, and `content` what `DualEncoder.load` gave beside the model. Raises CrossmodalError for a folder
    that has something in it, for a text tower without a tokenizer that others read, where a package is missing, and for
    int8 weights in a format that has none.
    """
    if int8 and kind not in QUANTIZED:
        raise CrossmodalError(f"--int8 goes with --to {' or '.join(QUANTIZED)}, not with {kind}.")
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
        if int8:
            quantize(temporary, kind)
        loss = str(measured_loss(model, temporary, kind)) if int8 else ""
        model_card(model, content, kind, loss).save(temporary / "README.md")
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
        return loss
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
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the tracer warns of every condition in the towers' code
                torch.onnx.export(
                    module.eval(), (example,), str(folder / name / "model.onnx"), input_names=[given],
                    output_names=["embedding"], dynamic_axes={given: axes, "embedding": {0: "batch"}}, opset_version=OPSET,
                    dynamo=False,
                )  # fmt: skip
        except (RuntimeError, torch.onnx.OnnxExporterError) as error:  # its message is the whole graph
            raise CrossmodalError(
                f"The {name} tower of the recipe {model.recipe.name} cannot be written as ONNX ({error!s:.100}...)."
            ) from error
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
    from safetensors.torch import save

    (folder / WEIGHTS).write_bytes(save(model.stored_weights()))  # its own way gives the file to its owner alone
    about = {key: content[key] for key in ("recipe", "image_tower", "text_tower", "epoch", "metrics", "fingerprint")}
    _write(folder / "config.json", {**about, "preprocessing": asdict(model.preparation)})
    tower = model.text_tower
    assert isinstance(tower, PretrainedTextTower)
    (folder / "tokenizer.json").write_text(tower.tokenizer.to_str(), encoding="utf-8")


def _sentence_transformers(model: DualEncoder, content: dict[str, Any], folder: Path) -> None:
    """Write a folder of sentence-transformers with a module of its own, as the hub's: weights, configuration and code."""
    from safetensors.torch import save

    weights = {key: value for key, value in model.stored_weights().items() if not key.startswith("logit_")}
    (folder / WEIGHTS).write_bytes(save(weights))
    _write(folder / "config.json", {key: content[key] for key in ("recipe", "image_tower", "text_tower")})
    _write(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": f"{_flat(MODULE)}.CrossmodalEncoder"}])
    _write(folder / "config_sentence_transformers.json", {
        "model_type": "SentenceTransformer", "similarity_fn_name": "cosine",
        "requirements": {"sentence-transformers": ">=5.4", "timm": ">=1.0.15"},
    })  # fmt: skip
    _copy_code(MODULE, folder)


def _copy_code(module: str, folder: Path) -> None:
    """Copy a module of this package and all that it imports of it; flat and with relative imports, as transformers loads code."""
    waiting, copied = [module], set()
    while waiting:
        name = waiting.pop()
        if name not in copied:
            copied.add(name)
            source = inspect.getsource(importlib.import_module(name))
            waiting += OWN_IMPORT.findall(source)
            source = OWN_IMPORT.sub(lambda found: f"from .{_flat(found[1])} import", source)
            (folder / f"{_flat(name)}.py").write_text(source, encoding="utf-8")


def _flat(module: str) -> str:
    return module.replace(".", "_")


def _write(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


KINDS: dict[str, Callable[[DualEncoder, dict[str, Any], Path], None]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "safetensors": _safetensors,
    "sentence-transformers": _sentence_transformers,
}
