"""Checkpoints in the formats of others, read again by the libraries that read them there."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
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
from crossmodal.encoding.model_card import model_card
from crossmodal.encoding.quantizing import OnnxRuntime
from crossmodal.encoding.runtime import Exported, OpenVinoRuntime
from crossmodal.recipe import Recipe
from crossmodal.towers.image import image_from_plain
from crossmodal.towers.text import text_from_plain
from tests.tiny import TINY_IMAGE

METRICS = {f"{way}_r{k}": k + 0.25 for way in ("t2i", "i2t") for k in (1, 5, 10)} | {"images": 1234}
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


@pytest.mark.parametrize("which", ["checkpoint", "pair"])
def test_onnx_is_read_as_immich_reads_it(
    which: str, photos: list[Image.Image], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    checkpoint: Path = request.getfixturevalue(which)
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


LOADED_ELSEWHERE = """
import json, sys
from PIL import Image
from sentence_transformers import SentenceTransformer

folder, inputs = sys.argv[1], json.loads(sys.argv[2])
model = SentenceTransformer(folder, device="cpu", trust_remote_code=True)
assert not any(name.partition(".")[0] == "crossmodal" for name in sys.modules)
mixed = [Image.open(one) if one.endswith(".png") else one for one in inputs]
print(json.dumps({
    "mixed": model.encode(mixed).tolist(), "in_batches": model.encode(mixed, batch_size=2).tolist(),
    "paths": model.encode(inputs).tolist(), "one": model.encode(mixed[0]).tolist(), "none": len(model.encode([])),
    "about": [model.get_embedding_dimension(), model.similarity_fn_name, model.supports("image")],
}))
for wrong in ([{"role": "user", "content": "a dog"}], [("a dog", "a cat")]):
    try:
        model.encode(wrong)
    except ValueError as error:
        assert "single images and texts" in str(error)
    else:
        raise AssertionError(wrong)
model.save_pretrained(folder + "-again")
"""


@pytest.fixture
def pair(recipe: Recipe, weights: Path, tmp_path: Path) -> Path:
    """A checkpoint of all that the shipped one has: towers side by side, stages and layers beside the last, residual projections."""
    twice = replace(
        recipe, image_tower=f"{TINY_IMAGE}+{TINY_IMAGE}", image_stages="4", text_layers="0,2", projection="residual",
        hidden_size=16,
    )  # fmt: skip
    path = model_path(tmp_path / "pair", 1)
    path.parent.mkdir()
    DualEncoder.from_recipe(twice, weights).save(path, 1, METRICS, {})
    return path


def test_sentence_transformers_encodes_images_and_sentences_in_one_list_without_this_package(
    pair: Path, photos: list[Image.Image], tmp_path: Path
) -> None:
    folder = tmp_path / "st"
    assert main(["export", str(pair), str(folder), "--to", "sentence-transformers"]) == 0
    files = []
    for number, photo in enumerate(photos):
        photo.save(tmp_path / f"{number}.png")
        files.append(str(tmp_path / f"{number}.png"))
    inputs = [files[0], SENTENCES[0], files[1], SENTENCES[1], SENTENCES[2], files[2]]
    images, texts = expected(pair, photos)
    vectors = torch.stack([images[0], texts[0], images[1], texts[1], texts[2], images[2]]).numpy()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    for place in (folder, tmp_path / "st-again"):  # what the library saves again is whole too
        done = subprocess.run(
            [sys.executable, "-c", LOADED_ELSEWHERE, str(place), json.dumps(inputs)],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        for way in ("mixed", "in_batches", "paths"):
            np.testing.assert_allclose(found[way], vectors, atol=1e-3)
        np.testing.assert_allclose(found["one"], vectors[0], atol=1e-3)
        assert found["none"] == 0
        assert found["about"] == [32, "cosine", True]


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

    monkeypatch.setattr("safetensors.torch.save", broken)
    assert main(["export", str(checkpoint), str(tmp_path / "new"), "--to", "safetensors"]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "run"]


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_int8_is_smaller_and_its_loss_is_measured_and_told(
    kind: str, pair: Path, photos: list[Image.Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "nncf"}[kind])
    plain, folder = tmp_path / "plain", tmp_path / "int8"
    assert main(["export", str(pair), str(plain), "--to", kind]) == 0
    assert main(["export", str(pair), str(folder), "--to", kind, "--int8"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said in (folder / "README.md").read_text()
    least = [float(found) for found in re.findall(r"0\.\d{4}|1\.0000", said)]
    assert len(least) == 4 and 0.98 < min(least) <= 1, said
    towers = ("visual/model.onnx", "textual/model.onnx") if kind == "onnx" else ("text.bin",)
    for tower in towers:
        small, large = ((place / tower).stat().st_size for place in (folder, plain))
        assert small < 0.9 * large, tower  # of towers this small, much is the graph
    left = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert left == {str(path.relative_to(plain)) for path in plain.rglob("*")}  # no caches, nothing in between
    images, texts = expected(pair, photos)
    opened = OnnxRuntime(folder) if kind == "onnx" else OpenVinoRuntime(Exported(folder))
    model, _ = DualEncoder.load(pair)
    with opened as runtime:
        pixels = np.stack([model.preparation.array(photo) for photo in photos])
        assert (runtime.encode_pixels(pixels) * images.numpy()).sum(1).min() > 0.97
        assert (runtime.encode_sentences(SENTENCES) * texts.numpy()).sum(1).min() > 0.97


def test_int8_is_of_two_formats_alone(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(checkpoint), str(tmp_path / "new"), "--to", "safetensors", "--int8"]) == 1
    assert capsys.readouterr().err.endswith("--int8 goes with --to onnx or openvino, not with safetensors.\n")
    assert not (tmp_path / "new").exists()


def test_towers_that_int8_ruins_are_not_written(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    exact = OnnxRuntime.encode_pixels
    monkeypatch.setattr(OnnxRuntime, "encode_pixels", lambda self, pixels: -exact(self, pixels))
    assert main(["export", str(checkpoint), str(tmp_path / "new"), "--to", "onnx", "--int8"]) == 1
    assert "With int8 weights this model is of no use" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_the_card_has_what_the_hub_reads(model: DualEncoder, pair: Path) -> None:
    from huggingface_hub import ModelCard, metadata_load

    measured, content = DualEncoder.load(pair)
    path = pair.with_name("README.md")
    model_card(measured, content, "sentence-transformers", "").save(path)
    card = ModelCard.load(path)
    data: Any = card.data
    assert (data.language, data.license, data.library_name, data.metrics) == (
        "en",
        "other",
        "sentence-transformers",
        ["recall"],
    )
    assert {"image-text-retrieval", "sentence-transformers", "custom_code"} <= set(data.tags)
    assert data.model_name == "tiny"
    assert {one.metric_name: one.metric_value for one in data.eval_results} == {
        f"{way} recall@{k}": round(k + 0.25, 1) for way in ("text to image", "image to text") for k in (1, 5, 10)
    }
    assert "1,234 validation images" in card.text
    metadata: Any = metadata_load(path)
    assert metadata["model-index"][0]["results"][0]["task"]["type"] == "image-text-retrieval"
    unmeasured = model_card(model, {"metrics": {}}, "onnx", "Loss: none.")
    facts: Any = unmeasured.data
    assert "int8" in facts.tags and facts.eval_results is None
    assert "It was not measured." in unmeasured.text and "Loss: none." in unmeasured.text
