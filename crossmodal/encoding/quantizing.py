"""Exported towers whose weights are int8, and what that loses."""

import contextlib
import json
import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from crossmodal.data.drawn.drawing import draw_scene
from crossmodal.data.drawn.scenes import imagine_scene
from crossmodal.data.everyday import everyday_scenes
from crossmodal.encoding.openvino_core import core, openvino
from crossmodal.encoding.openvino_export import Model, TorchRuntime
from crossmodal.encoding.runtime import Exported, OpenVinoRuntime
from crossmodal.errors import CrossmodalError
from crossmodal.progress import unprinted

LARGE = 1024  # weights of fewer numbers stay as they are
TINY = 1e-12
CLOSE_ENOUGH = 0.95  # least cosine, on average, with which quantised towers are still the model's
PROBE_IMAGES, PROBE_SENTENCES = 32, 256


def quantize(folder: Path, kind: str) -> None:
    """Rewrite the exported towers in a folder; `kind` is one of QUANTIZED. Raises CrossmodalError where a package is missing."""
    try:
        QUANTIZED[kind](folder)
    except ImportError as error:
        raise CrossmodalError("--int8 needs packages: pip install -r requirements-export.txt") from error


def _onnx(folder: Path) -> None:
    _onnx_images(folder / "visual" / "model.onnx")
    _onnx_sentences(folder / "textual" / "model.onnx")


def _onnx_images(path: Path) -> None:
    """Store the weights of convolutions and linear layers as int8, one scale a channel; the arithmetic stays fp32.

    onnxruntime turns them into fp32 when it loads them. Its own dynamic quantisation has integer arithmetic, in which
    images of the shipped model came to cosines of 0.93 with fp32, at a third of the speed.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    axes = {node.input[1]: _channels(node) for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    for weights in [one for one in model.graph.initializer if one.name in axes]:
        values = numpy_helper.to_array(weights)
        if values.size < LARGE:
            continue
        others = tuple(axis for axis in range(values.ndim) if axis != axes[weights.name])
        scale = np.maximum(np.abs(values).max(others, keepdims=True), TINY) / 127
        names = [f"{weights.name}/{part}" for part in ("int8", "scale", "cast")]
        parts = np.rint(values / scale).astype(np.int8), scale.astype(np.float32)
        model.graph.initializer.remove(weights)
        model.graph.initializer.extend(map(numpy_helper.from_array, parts, names))
        model.graph.node.insert(0, helper.make_node("Cast", [names[0]], [names[2]], to=TensorProto.FLOAT))
        model.graph.node.insert(1, helper.make_node("Mul", [names[2], names[1]], [weights.name]))
    onnx.save(model, path)


def _channels(node: Any) -> int:
    """Return which axis of a layer's weights is that of its outputs."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else 1


def _onnx_sentences(path: Path) -> None:
    """Store matrices and word embeddings as int8, and compute in it; what flows between is quantised as it comes."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = path.with_suffix(".fp32")
    path.rename(whole)
    with _quiet():
        # Unsigned: on a CPU without VNNI, products of unsigned and signed numbers saturate.
        quantize_dynamic(whole, path, ["MatMul", "Gemm", "Gather"], per_channel=True, weight_type=QuantType.QUInt8)
    whole.unlink()


def _openvino(folder: Path) -> None:
    """Store the text tower's matrices and word embeddings as int8, one scale a channel, by NNCF; the arithmetic stays as it was.

    The image tower stays: it runs in more than one stream, in which OpenVINO 2026.4.1 computes nonsense from int8 weights of
    convolutions, and of some matrices too on a CPU that computes in bf16.
    """
    ov = openvino()
    import nncf  # after it, which is where telling is switched off

    with _quiet():
        model = nncf.compress_weights(core().read_model(folder / "text.xml"))
    ov.save_model(model, folder / "int8.xml")
    for ending in ("xml", "bin"):
        os.replace(folder / f"int8.{ending}", folder / f"text.{ending}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the tables and advice that these libraries print."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with unprinted():
            yield
    finally:
        logging.disable(before)


QUANTIZED: dict[str, Callable[[Path], None]] = {"onnx": _onnx, "openvino": _openvino}


class OnnxRuntime:
    """The towers of an ONNX folder, by onnxruntime on the CPU, as Immich's machine learning runs them."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        import tokenizers

        options = {"providers": ["CPUExecutionProvider"]}
        self._image, self._text = (
            onnxruntime.InferenceSession(folder / part / "model.onnx", **options) for part in ("visual", "textual")
        )
        about = json.loads((folder / "visual" / "preprocess_cfg.json").read_text())
        self._mean, self._std = (np.array(about[key], np.float32) for key in ("mean", "std"))
        config = json.loads((folder / "textual" / "tokenizer_config.json").read_text())
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "textual" / "tokenizer.json"))
        pad = config["pad_token"]
        self._tokenizer.enable_padding(pad_token=pad, pad_id=self._tokenizer.token_to_id(pad))
        self._tokenizer.enable_truncation(config["model_max_length"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        del self._image, self._text

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, size, size, 3] -> [N, D]."""
        scaled = (pixels.astype(np.float32) / 255 - self._mean) / self._std
        return np.asarray(self._image.run(None, {"image": scaled.transpose(0, 3, 1, 2)})[0])

    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Return [len(sentences), D]."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(sentences))]
        return np.asarray(self._text.run(None, {"text": np.array(ids, np.int32)})[0])


@dataclass(frozen=True)
class Loss:
    """Mean and least cosine between the vectors of a model in fp32 and those of its exported towers."""

    images: tuple[float, float]
    sentences: tuple[float, float]

    def __str__(self) -> str:
        (mean, least), (text_mean, text_least) = self.images, self.sentences
        return (
            f"Cosine of int8 and fp32 vectors: {PROBE_IMAGES} drawn images {mean:.4f} on average, {least:.4f} at the "
            f"least; {PROBE_SENTENCES} sentences {text_mean:.4f} and {text_least:.4f}."
        )


def measured_loss(model: Model, folder: Path, kind: str) -> Loss:
    """Return what the towers in a folder lose, on drawn scenes and everyday sentences; `kind` is one of QUANTIZED.

    Raises CrossmodalError where it is so much that the vectors are of no use.
    """
    exact, rng = TorchRuntime(model), random.Random(0)
    scenes = [draw_scene(imagine_scene(rng)) for _ in range(PROBE_IMAGES)]
    pixels = np.stack([exact.preprocessing.array(scene) for scene in scenes])
    sentences = everyday_scenes()[:PROBE_SENTENCES]
    with OnnxRuntime(folder) if kind == "onnx" else OpenVinoRuntime(Exported(folder)) as runtime:
        images = (exact.encode_pixels(pixels) * runtime.encode_pixels(pixels)).sum(1)
        texts = (exact.encode_sentences(sentences) * runtime.encode_sentences(sentences)).sum(1)
    shutil.rmtree(folder / "compiled", ignore_errors=True)  # OpenVINO's, for this machine alone
    loss = Loss((float(images.mean()), float(images.min())), (float(texts.mean()), float(texts.min())))
    if min(loss.images[0], loss.sentences[0]) < CLOSE_ENOUGH:
        raise CrossmodalError(f"With int8 weights this model is of no use: {loss} Export it without --int8.")
    return loss
