"""What only real weights and real photos can show: minutes on two cores."""

import json
import os
from pathlib import Path

import pytest
import torch

import training_script
from crossmodal.data.captions import read_captions
from crossmodal.data.sample import draw_sample
from crossmodal.dual_encoder import DualEncoder
from crossmodal.evaluation.evaluate import ImageChoice, evaluate
from crossmodal.runs.folder import results_of
from crossmodal.runs.opening import checkpoint_of
from model import RECIPES

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "model-checkpoints" / "shipped"


@pytest.fixture
def shipped() -> Path:
    if not list(SHIPPED.glob("model_epoch_*.pt")):
        pytest.skip("the shipped checkpoint is not here")
    return checkpoint_of(SHIPPED)


def test_compact_starts_from_the_published_weights() -> None:
    model = DualEncoder.from_recipe(RECIPES["compact"]).eval()
    sentences = ["A dog is running.", "A puppy runs.", "The stock market fell."]
    with torch.inference_mode():
        features = torch.nn.functional.normalize(model.text_tower(sentences), dim=1)
    assert features[0] @ features[1] > features[0] @ features[2] + 0.3
    assert model.image_tower.preprocessing.mean == (0.5, 0.5, 0.5)


def test_a_short_fine_tuning_improves_on_the_frozen_start(flickr8k: Path, tmp_path: Path) -> None:
    """200 photos of the train list, validated on 200 of the val list."""
    names = {split: (flickr8k / f"{split}.txt").read_text().split()[:200] for split in ("train", "val")}
    for split, listed in names.items():
        (tmp_path / f"{split}.txt").write_text("\n".join(listed))
    kept = {name for listed in names.values() for name in listed}
    rows = [
        {"file_name": row.image, "caption": row.caption}
        for row in read_captions(flickr8k / "captions.txt").rows
        if row.image in kept
    ]
    (tmp_path / "captions.json").write_text(json.dumps(rows))
    output = tmp_path / "run"
    arguments = [
        "--recipe",
        "compact",
        "--captions",
        str(tmp_path / "captions.json"),
        "--images",
        str(flickr8k / "images"),
        "--output",
        str(output),
    ]
    assert training_script.main([*arguments, "--epochs", "3", "--batch-size", "64"]) == 0
    start, *epochs = results_of(output)
    assert max(record["rsum"] for record in epochs) > start["rsum"]


def test_the_shipped_checkpoint_keeps_what_the_model_card_says(flickr8k: Path, shipped: Path) -> None:
    result = evaluate(
        shipped,
        ImageChoice(flickr8k / "captions.txt", flickr8k / "images", flickr8k / "val.txt"),
        say=lambda text: None,
    )["cosine"]
    assert os.path.getsize(shipped) <= 75_000_000
    assert (result.metrics["images"], result.metrics["captions"]) == (1000, 5000)
    for key, least in (("t2i_r1", 32), ("t2i_r10", 76), ("i2t_r1", 42), ("i2t_r10", 82)):
        assert result.metrics[key] >= least, (key, result.metrics[key])


def test_the_shipped_checkpoint_knows_drawings_of_another_seed(shipped: Path, tmp_path: Path) -> None:
    captions, images = draw_sample(tmp_path / "drawn", 600, seed=4321)
    result = evaluate(shipped, ImageChoice(captions, images, split="all"))["cosine"]
    assert result.metrics["t2i_r10"] >= 90
