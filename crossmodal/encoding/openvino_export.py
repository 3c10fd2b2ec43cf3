"""Exporting the towers from torch to OpenVINO: once for each model, kept in the user's cache where that is faster."""

import contextlib
import io
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.data.preprocessing import Preprocessing
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoder import Encoder
from crossmodal.encoding.runtime import TORCH, Exported, OpenVinoRuntime, Runtime, exported_folder
from crossmodal.errors import CrossmodalError
from crossmodal.towers.text import PretrainedTextTower

PROBE = 32  # images that both runtimes are timed on
CLOSE_ENOUGH = 0.98  # least cosine between an exported tower's vector and torch's


class TorchRuntime:
    """The model itself, in bf16 on a GPU."""

    name = TORCH

    def __init__(self, model: DualEncoder) -> None:
        self._model = model.eval()
        self.preprocessing: Preprocessing = model.preparation

    @torch.inference_mode()
    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, size, size, 3] -> [N, D]."""
        device = self._model.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device)
            return self._model.encode_image(inputs).float().cpu().numpy()

    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Return [len(sentences), D]."""
        return torch.cat(list(self._model.encode_sentences(sentences))).numpy()


class FastEncoder(Encoder):
    """A model by its fastest runtime, for evaluation: its photos and sentences go through the exported towers."""

    def __init__(self, model: DualEncoder, fingerprint: str) -> None:
        super().__init__()
        self.label, self.temperature, self._model = model.label, model.temperature, model
        self.photo_views = model.photo_views
        self._runtime = fastest_runtime(model, fingerprint)

    @property
    def preparation(self) -> Preprocessing:
        """How an image becomes the image tower's input, uint8."""
        return self._model.preparation

    def encode_image(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> unit vectors [N, D]."""
        return torch.from_numpy(self._runtime.encode_pixels(pixels.permute(0, 2, 3, 1).cpu().contiguous().numpy()))

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit vectors [len(sentences), D]."""
        return torch.from_numpy(self._runtime.encode_sentences(sentences))

    def plain(self) -> dict[str, Any]:
        """Return what beside its weights decides what the model gives, as plain values."""
        return self._model.plain()


def fastest_runtime(model: DualEncoder, fingerprint: str) -> Runtime:
    """Return OpenVINO's towers where they are faster on this machine and agree with torch, else torch's."""
    torch_runtime = TorchRuntime(model)
    if model.device.type != "cpu" or not isinstance(model.text_tower, PretrainedTextTower):
        return torch_runtime
    if exported := Exported.of(fingerprint):
        return OpenVinoRuntime(exported)
    place = exported_folder(fingerprint)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(place.with_suffix(".lock")):  # one process exports a model, and others wait for it
            if exported := Exported.of(fingerprint):
                return OpenVinoRuntime(exported)
            _export(model, place)
            return _faster(torch_runtime, place)
    except (ImportError, OSError, CrossmodalError):  # no OpenVINO, no room, or a tower that it cannot hold
        return torch_runtime


def _faster(torch_runtime: TorchRuntime, place: Path) -> Runtime:
    """Return the runtime of the towers in a folder; torch's, with the folder removed, where they are slower or differ."""
    openvino_runtime = OpenVinoRuntime(Exported(place))
    size = torch_runtime.preprocessing.size
    pixels = np.random.default_rng(0).integers(0, 256, (PROBE, size, size, 3), dtype=np.uint8)
    cosines = (torch_runtime.encode_pixels(pixels) * openvino_runtime.encode_pixels(pixels)).sum(1)
    ours, theirs = (_seconds(partial(one.encode_pixels, pixels)) for one in (openvino_runtime, torch_runtime))
    if ours > theirs or cosines.min() < CLOSE_ENOUGH:
        openvino_runtime.close()
        shutil.rmtree(place, ignore_errors=True)
        return torch_runtime
    return openvino_runtime


def _seconds(run: Callable[[], object]) -> float:
    """Return the seconds of the faster of two calls; what else the machine does only adds to them."""
    taken = []
    for _ in range(2):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return min(taken)


class _Images(nn.Module):
    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.project_image(self.model.image_tower.at_once(pixels.permute(0, 3, 1, 2)))


class _Texts(nn.Module):
    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        tower = self.model.text_tower
        assert isinstance(tower, PretrainedTextTower)
        return F.normalize(self.model.text_projection(tower.pooled(ids, mask)).float(), dim=-1)


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _export(model: DualEncoder, place: Path) -> None:
    """Write both towers into a folder, whole or not at all; for the holder of its lock."""
    temporary = place.with_name(f".{place.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)  # of an export that was killed
    temporary.mkdir()
    try:
        export_towers(model, temporary)
        shutil.rmtree(place, ignore_errors=True)
        os.replace(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def export_towers(model: DualEncoder, folder: Path) -> None:
    """Write both towers, the tokenizer and the preprocessing into a folder; raises CrossmodalError for what cannot be exported."""
    import openvino as ov

    tower, size = model.text_tower, model.preparation.size
    assert isinstance(tower, PretrainedTextTower)
    try:
        # The tracer warns of every condition in the towers' code, and the converter prints its arguments.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet_transformers():
            warnings.simplefilter("ignore")
            tokens = torch.ones(2, 9, dtype=torch.long)
            any_tokens = ov.PartialShape([-1, -1])
            images = torch.zeros(2, size, size, 3, dtype=torch.uint8)
            parts = {
                "image": (_Images(model), images, [ov.PartialShape([-1, size, size, 3])]),
                "text": (_Texts(model), (tokens, tokens), [any_tokens, any_tokens]),
            }
            for name, (module, example, shapes) in parts.items():
                converted = ov.convert_model(module.eval(), example_input=example, input=shapes)
                ov.save_model(converted, folder / f"{name}.xml", compress_to_fp16=True)
        (folder / "tokenizer.json").write_text(tower.tokenizer.to_str())
        about = {"preprocessing": asdict(model.preparation), "padding": tower.padding}
        (folder / "about.json").write_text(json.dumps(about))
    except Exception as error:  # the converter raises anything at all on a tower that it cannot hold
        raise CrossmodalError(f"The towers cannot be exported ({error}).") from error
