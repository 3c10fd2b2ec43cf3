"""Tiny towers with random weights, and a small drawn collection, for the quick tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from crossmodal.data.dataset import read_dataset
from crossmodal.data.sample import draw_sample
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.collection import encode_dataset
from crossmodal.encoding.embeddings import model_path, save_embeddings
from crossmodal.files import append_line
from crossmodal.photos.index import index_photos
from crossmodal.recipe import Recipe, Stage
from crossmodal.runs.opening import checkpoint_of
from tests.tiny import TINY_IMAGE, TINY_TEXT, write_tiny_encoder

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from tests.milvus_server import LocalMilvus

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a quick test never asks a hub
torch.set_num_threads(2)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pretrained weights, as --weights takes it."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    save_file(timm.create_model(TINY_IMAGE, pretrained=False).state_dict(), folder / f"{TINY_IMAGE}.safetensors")
    write_tiny_encoder(folder / TINY_TEXT.split("/")[-1])
    return folder


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """A recipe of the tiny towers."""
    return Recipe(
        name="tiny", image_tower=TINY_IMAGE, text_tower=TINY_TEXT, stages=(Stage(2, 1e-3, frozen_image=1),), joint_size=32,
        resize="squash", batch_size=8, head_start_epochs=2, views=2,
    )  # fmt: skip


@pytest.fixture
def model(recipe: Recipe, weights: Path) -> DualEncoder:
    """The tiny dual encoder."""
    return DualEncoder.from_recipe(recipe, weights).eval()


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A caption file of 30 drawn scenes, and its folder of photos."""
    return draw_sample(tmp_path_factory.mktemp("collection") / "drawn", scenes=30, seed=3)


def write_epoch(
    model: DualEncoder, collection: tuple[Path, Path], folder: Path, epoch: int, metrics: dict[str, float]
) -> None:
    """Write a model, as a checkpoint keeps it, and its embeddings of a collection into a run's folder."""
    captions, images = collection
    data = {"captions": str(captions), "images": str(images)}
    model.load_state_dict(model.stored_weights())
    fingerprint = model.save(model_path(folder, epoch), epoch, metrics, data)
    embeddings = encode_dataset(model, read_dataset(captions, images).dataset, data, 0)
    save_embeddings(folder, epoch, fingerprint, embeddings)


@pytest.fixture
def runs(model: DualEncoder, collection: tuple[Path, Path], tmp_path: Path) -> Path:
    """A folder of runs with two epochs."""
    metrics = {f"{way}_r{k}": 12.5 for way in ("t2i", "i2t") for k in (1, 5, 10)} | {"rsum": 75.0, "images": 3}
    for epoch in (1, 2):
        write_epoch(model, collection, tmp_path, epoch, metrics)
        append_line(tmp_path / "results.jsonl", {"epoch": epoch, "loss": 1.0, **metrics})
    return tmp_path


@pytest.fixture
def photos(runs: Path, collection: tuple[Path, Path], tmp_path: Path) -> Path:
    """A folder of one's own, indexed with the run's model."""
    folder = tmp_path / "mine"
    shutil.copytree(collection[1], folder)
    index_photos(folder, checkpoint=checkpoint_of(runs))
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as --weights takes it, with published models of the real classes that are tiny and random."""
    import open_clip

    from tests import tiny_clips

    folder = tmp_path_factory.mktemp("clips")
    with pytest.MonkeyPatch.context() as patch:
        for name, published in tiny_clips.register(tmp_path_factory.mktemp("configs")).items():
            patch.setitem(open_clip.pretrained._PRETRAINED, name, published)
            tiny_clips.write_open_clip(name, folder)
        tiny_clips.write_words(folder)
        tiny_clips.write_sentence_transformers(folder)
        tiny_clips.write_two_towers(folder / "two", folder / "clip-ViT-B-32" / "0_CLIPModel")
        yield folder


@pytest.fixture
def photo() -> Image.Image:
    """A photo that is no square and no single colour."""
    return Image.linear_gradient("L").resize((90, 60)).convert("RGB")


@pytest.fixture(scope="session")
def flickr8k() -> Path:
    """The folder of real photos; tests that need it skip without it, and say so."""
    place = os.environ.get("FLICKR8K_DIR")
    if not place or not (Path(place) / "captions.txt").is_file():
        pytest.skip("set FLICKR8K_DIR to a folder with captions.txt, train.txt, val.txt and images/")
    return Path(place)


@pytest.fixture
def browser() -> "Iterator[Chrome]":
    """A headless Chromium; tests that need it skip without it."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("Chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    flags = ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "window-size=1280,1000")
    for flag in flags:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["LocalMilvus"]:
    """A standalone Milvus server; up in seconds."""
    from tests.milvus_server import LocalMilvus

    server = LocalMilvus(tmp_path_factory.mktemp("milvus"))
    yield server
    server.stop()
