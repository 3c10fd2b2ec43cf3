"""The folder path on real photos with the shipped model: as good as the evaluation path, and cold in a second or two."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crossmodal.data.dataset import read_dataset
from crossmodal.data.splits import read_names
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.collection import encode_dataset
from crossmodal.evaluation.metrics import ranks_of
from crossmodal.galleries import Place, open_search
from crossmodal.hubs import Banks
from crossmodal.photos.index import index_photos
from crossmodal.runs.opening import checkpoint_of
from crossmodal.search.in_memory import PhotosInMemory

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parent.parent
PHOTOS, QUERIES = 300, 50
HALF_A_POINT = 0.5


@pytest.fixture(scope="module")
def photos(flickr8k: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to the validation photos, indexed with the shipped model."""
    folder = tmp_path_factory.mktemp("photos")
    for name in read_names(flickr8k / "val.txt")[:PHOTOS]:
        (folder / name).symlink_to(flickr8k / "images" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / ".cache"))
        changes = index_photos(folder, checkpoint=ROOT / "model-checkpoints" / "shipped")
    assert changes.new == PHOTOS
    return folder


def test_it_ranks_as_the_evaluation_does(flickr8k: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(photos / ".cache"))
    names = read_names(flickr8k / "val.txt")[:PHOTOS]
    dataset = read_dataset(flickr8k / "captions.txt", flickr8k / "images", names=names, check=False).dataset
    model, content = DualEncoder.load(checkpoint_of(ROOT / "model-checkpoints" / "shipped"))
    embeddings = encode_dataset(model, dataset, {}, workers=0)
    banks = Banks.of(content)
    biases = (
        banks.biases(embeddings.images.numpy(), embeddings.texts.numpy())  # as a search of photos corrects hubs
        if banks
        else (np.zeros(len(embeddings.images), np.float32), np.zeros(len(embeddings.texts), np.float32))
    )
    expected = ranks_of(embeddings.images, embeddings.texts, dataset.caption_to_image, biases).texts
    search = open_search(Place(photos=photos))
    library = search.gallery
    assert isinstance(library, PhotosInMemory)
    rows = {photo.found.path: row for row, photo in enumerate(library.photos)}
    row = torch.tensor([rows[image.name] for image in dataset.images])
    texts = search.runtime.encode_sentences(dataset.captions)
    vectors = torch.from_numpy(np.array(library.vectors))[row]
    assert library.bias is not None
    stored = library.bias[row.numpy()], np.zeros(len(texts), np.float32)
    found = ranks_of(vectors, torch.from_numpy(texts), dataset.caption_to_image, stored).texts
    for k in (1, 5, 10):
        here, there = (100 * (ranks <= k).double().mean().item() for ranks in (found, expected))
        assert here >= there - HALF_A_POINT, (k, here, there)
    chosen = torch.linspace(0, len(texts) - 1, QUERIES).round().long().tolist()
    same = 0
    for index in chosen:
        vector = embeddings.texts[index].float()
        scores = embeddings.images.float() @ vector - torch.from_numpy(biases[0])
        first = [dataset.images[n].name for n in scores.topk(10).indices.tolist()]
        hits = search.photos(search.query(dataset.captions[index]), 10, cut_off=False, group=False).hits
        same += len({hit.name for hit in hits} & set(first))
    assert same / (10 * QUERIES) > 0.9


def test_a_cold_search_imports_no_torch(photos: Path) -> None:
    command = ["-X", "importtime", "-m", "crossmodal", "search", "two dogs in the snow", "--photos", str(photos)]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=True, cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(photos / ".cache"), "HOME": str(photos)},
    )  # fmt: skip
    assert ".jpg" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert "openvino" in imported
    assert not imported & {"torch", "timm", "transformers", "sentence_transformers", "streamlit", "pandas"}
