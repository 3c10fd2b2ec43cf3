"""Exporting the towers from torch to OpenVINO: once for each model, kept in the user's cache where that is faster."""

import contextlib
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
from torch import Tensor, nn

from crossmodal.data.preprocessing import Preprocessing
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoder import Encoder
from crossmodal.encoding.openvino_core import openvino
from crossmodal.encoding.runtime import TORCH, Exported, OpenVinoRuntime, Runtime, exported_folder
from crossmodal.errors import CrossmodalError
from crossmodal.progress import unprinted
from crossmodal.towers.published_clip import PublishedClip

Model = DualEncoder | PublishedClip
PROBE_SENTENCES = ("two dogs in the snow", "a red car on a street, by night")
PROBE = 32  # images that both runtimes are timed on
CLOSE_ENOUGH = 0.98  # least cosine between an exported tower's vector and torch's


class TorchRuntime:
    """The model itself, in bf16 on a GPU."""

    name = TORCH

    def __init__(self, model: Model) -> None:
        self._model = model.eval()
        self.preprocessing: Preprocessing = model.preparation

    @torch.inference_mode()
    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, size, size, 3] -> [N, D]."""
        device = self._model.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            inputs = torch.from_numpy(np.require(pixels, requirements="W")).permute(0, 3, 1, 2).to(device)
            return self._model.encode_image(inputs).float().cpu().numpy()

    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Return [len(sentences), D]."""
        return torch.cat(list(self._model.encode_sentences(sentences))).numpy()


class FastEncoder(Encoder):
    """A model by its fastest runtime, for evaluation: its photos and sentences go through the exported towers."""

    def __init__(self, model: Model, fingerprint: str) -> None:
        super().__init__()
        self.label, self.temperature, self._model = model.label, model.temperature, model
        self.photo_views, self.prefixes = model.photo_views, model.prefixes
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


def fastest_runtime(model: Model, fingerprint: str) -> Runtime:
    """Return OpenVINO's towers where they are faster on this machine and agree with torch, else torch's."""
    torch_runtime = TorchRuntime(model)
    if model.device.type != "cpu" or model.portable_tokenizer is None:
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
    vectors = (
        (one.encode_pixels(pixels), one.encode_sentences(PROBE_SENTENCES)) for one in (torch_runtime, openvino_runtime)
    )
    cosines = [(one * other).sum(1).min() for one, other in zip(*vectors, strict=True)]
    ours, theirs = (_seconds(partial(one.encode_pixels, pixels)) for one in (openvino_runtime, torch_runtime))
    if ours > theirs or min(cosines) < CLOSE_ENOUGH:
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
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.encode_at_once(pixels.permute(0, 3, 1, 2))


class _Texts(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.model.encode_tokens(ids, mask)


@contextlib.contextmanager
def _traceable() -> Iterator[None]:
    """Keep transformers quiet, and attention out of torch's fast path, whose operations OpenVINO does not know."""
    from transformers.utils import logging

    before, fast = logging.get_verbosity(), torch.backends.mha.get_fastpath_enabled()
    logging.set_verbosity_error()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        logging.set_verbosity(before)
        torch.backends.mha.set_fastpath_enabled(fast)


def _export(model: Model, place: Path) -> None:
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


def export_towers(model: Model, folder: Path) -> None:
    """Write both towers, the tokenizer and the preprocessing into a folder; raises CrossmodalError for what cannot be exported."""
    ov = openvino()
    portable, size = model.portable_tokenizer, model.preparation.size
    assert portable
    try:
        # The tracer warns of every condition in the towers' code, and the converter prints its arguments.
        with warnings.catch_warnings(), unprinted(), _traceable():
            warnings.simplefilter("ignore")
            tokens = torch.ones(2, portable.length or 9, dtype=torch.long)
            any_tokens = ov.PartialShape([-1, portable.length or -1])
            images = torch.zeros(2, size, size, 3, dtype=torch.uint8)
            parts = {
                "image": (_Images(model), images, [ov.PartialShape([-1, size, size, 3])]),
                "text": (_Texts(model), (tokens, tokens), [any_tokens, any_tokens]),
            }
            for name, (module, example, shapes) in parts.items():
                converted = ov.convert_model(module.eval(), example_input=example, input=shapes)
                ov.save_model(converted, folder / f"{name}.xml", compress_to_fp16=True)
        (folder / "tokenizer.json").write_text(portable.tokenizer.to_str(), encoding="utf-8")
        about = {"preprocessing": asdict(model.preparation), "padding": portable.padding}
        (folder / "about.json").write_text(json.dumps(about))
    except Exception as error:  # the converter raises anything at all on a tower that it cannot hold
        raise CrossmodalError(f"The towers cannot be exported ({error}).") from error
