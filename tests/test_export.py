"""Checkpoints in the formats of others, read again by the libraries that read them there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from crossmodal.cli import main
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.embeddings import model_path
from crossmodal.encoding.runtime import Exported, OpenVinoRuntime
from crossmodal.recipe import Recipe
from crossmodal.towers.image import image_from_plain
from crossmodal.towers.text import text_from_plain

SENTENCES = ["a red car", "two dogs in the snow by a house", "a"]


@pytest.fixture
def checkpoint(model: DualEncoder, tmp_path: Path) -> Path:
    path = model_path(tmp_path / "run", 1)
    path.parent.mkdir()
    model.save(path, 1, {}, {})
    return path


@pytest.fixture
def photos() -> list[Image.Image]:
    return [Image.effect_noise((90, 60), 70 + 10 * n).convert("RGB") for n in range(3)]


def expected(checkpoint: Path, photos: list[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
    model, _ = DualEncoder.load(checkpoint)
    return model.encode_images(photos), torch.cat(list(model.encode_sentences(SENTENCES)))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_onnx_is_read_as_immich_reads_it(checkpoint: Path, photos: list[Image.Image], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = tmp_path / "onnx"
    assert main(["export", str(checkpoint), str(folder), "--to", "onnx"]) == 0
    images, texts = expected(checkpoint, photos)
    prepare = read(folder / "visual" / "preprocess_cfg.json")
    assert prepare["resize_mode"] == "squash"
    mean, std = (np.array(prepare[key], np.float32) for key in ("mean", "std"))
    visual = onnxruntime.InferenceSession(folder / "visual" / "model.onnx")
    for photo, vector in zip(photos, images, strict=True):
        small = photo.resize((prepare["size"],) * 2, Image.Resampling[prepare["interpolation"].upper()])
        scaled = (np.asarray(small, np.float32) / 255 - mean) / std
        (found,) = visual.run(None, {"image": scaled.transpose(2, 0, 1)[None]})
        np.testing.assert_allclose(found[0], vector, atol=1e-3)
    length = read(folder / "config.json")["text_cfg"]["context_length"]
    pad = read(folder / "textual" / "tokenizer_config.json")["pad_token"]
    tokenizer = Tokenizer.from_file(str(folder / "textual" / "tokenizer.json"))
    tokenizer.enable_padding(length=length, pad_token=pad, pad_id=tokenizer.token_to_id(pad))
    tokenizer.enable_truncation(max_length=length)
    textual = onnxruntime.InferenceSession(folder / "textual" / "model.onnx")
    for sentence, vector in zip(SENTENCES, texts, strict=True):
        (found,) = textual.run(None, {"text": np.array([tokenizer.encode(sentence).ids], np.int32)})
        np.testing.assert_allclose(found[0], vector, atol=1e-3)
    assert read(folder / "config.json")["embed_dim"] == len(images[0])


def test_openvino_is_read_by_the_runtime(checkpoint: Path, photos: list[Image.Image], tmp_path: Path) -> None:
    folder = tmp_path / "openvino"
    assert main(["export", str(checkpoint.parent), str(folder), "--to", "openvino"]) == 0
    images, texts = expected(checkpoint, photos)
    with OpenVinoRuntime(Exported(folder)) as runtime:
        pixels = np.stack([runtime.preprocessing.array(photo) for photo in photos])
        # It may compute in bf16.
        assert (runtime.encode_pixels(pixels) * images.numpy()).sum(1).min() > 0.999
        assert (runtime.encode_sentences(SENTENCES) * texts.numpy()).sum(1).min() > 0.999


def test_safetensors_rebuild_the_model(checkpoint: Path, photos: list[Image.Image], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = tmp_path / "safetensors"
    assert main(["export", str(checkpoint), str(folder), "--to", "safetensors"]) == 0
    about = read(folder / "config.json")
    towers = image_from_plain(about["image_tower"]), text_from_plain(about["text_tower"])
    rebuilt = DualEncoder(*towers, Recipe.from_plain(about["recipe"])).eval()
    weights = load_file(folder / "model.safetensors")
    rebuilt.load_state_dict({key: one.float() if one.is_floating_point() else one for key, one in weights.items()})
    images, texts = expected(checkpoint, photos)
    torch.testing.assert_close(rebuilt.encode_images(photos), images)
    torch.testing.assert_close(torch.cat(list(rebuilt.encode_sentences(SENTENCES))), texts)
    assert (
        "# tiny" in (folder / "README.md").read_text() or about["recipe"]["name"] in (folder / "README.md").read_text()
    )


def test_what_is_there_stays_and_nothing_is_half_written(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    assert main(["export", str(checkpoint), str(folder), "--to", "safetensors"]) == 1
    assert "is there already; name a new folder" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]

    def broken(*arguments: Any) -> None:
        raise OSError(28, "No space left on device", "the disk")

    monkeypatch.setattr("safetensors.torch.save_file", broken)
    assert main(["export", str(checkpoint), str(tmp_path / "new"), "--to", "safetensors"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "run"]
