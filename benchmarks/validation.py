"""What validation and writing embeddings cost at Flickr30k's size, as a share of an epoch.

    python -m benchmarks.validation
    python -m benchmarks.validation --recipe efficientnet-minilm

Training and encoding run at their measured rate on a drawn sample, and are scaled to 29,000
training photos, 31,783 photos and 158,915 captions; ranking the 1,000 validation photos with their
5,000 captions, and writing the embeddings, are done at full size on made-up vectors.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.training_step import real_loop
from crossmodal.data.dataset import Dataset, read_dataset
from crossmodal.data.sample import draw_sample
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.collection import encode_captions, encode_photos
from crossmodal.encoding.devices import choose_device, worker_count
from crossmodal.encoding.embeddings import Embeddings, save_embeddings
from crossmodal.evaluation.metrics import metrics_of_split
from crossmodal.progress import silent, terminal
from crossmodal.training.setting import Setting
from crossmodal.training.trainer import Trainer
from model import RECIPES

IMAGES, CAPTIONS, TRAINED, VALIDATED = 31_783, 158_915, 29_000, 1_000


def main() -> None:
    """Print the parts of an epoch in seconds, and the share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="compact")
    parser.add_argument("--scenes", type=int, default=640)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = draw_sample(Path(folder) / "drawn", options.scenes, bars=terminal)
        dataset = read_dataset(where[0], where[1], ratios=(1, 0, 0), check=False).dataset
        model = DualEncoder.from_recipe(RECIPES[options.recipe]).to(choose_device())
        trainer = Trainer(model, dataset, Dataset(()), {}, Setting(Path(folder), workers=worker_count(), bars=silent))
        trainer.open_photos()
        real_loop(trainer)  # warms up
        captions = list(dict.fromkeys(dataset.captions))
        made_up = made_up_embeddings(IMAGES, CAPTIONS, model.recipe.joint_size)
        seconds = {
            "training": TRAINED / real_loop(trainer),
            "encoding photos": IMAGES
            / len(dataset)
            * timed(lambda: encode_photos(model, trainer.photos, range(len(dataset)))),
            "encoding captions": CAPTIONS / len(captions) * timed(lambda: encode_captions(model, captions)),
            "ranking": timed(lambda: metrics_of_split(made_up, "val")),
            "checkpoint": timed(lambda: model.save(Path(folder) / "model_epoch_1.pt", 1, {}, {})),
            "tensors": timed(lambda: save_embeddings(Path(folder), 1, "made up", made_up)),
        }
    whole = sum(seconds.values())
    for part, spent in seconds.items():
        print(f"{part:18} {spent:8.1f} s  {spent / whole:6.1%}")
    print(f"validation and writing: {1 - seconds['training'] / whole:.1%} of an epoch of {options.recipe}")


def made_up_embeddings(images: int, captions: int, size: int) -> Embeddings:
    """Return random unit vectors, captions assigned in turn; the first images are the val split."""
    generator = torch.Generator().manual_seed(0)
    photos, sentences = (
        F.normalize(torch.randn(rows, size, generator=generator), dim=1).half() for rows in (images, captions)
    )
    names = [f"{number:06d}.jpg" for number in range(images)]
    splits = ["val" if number < VALIDATED else "train" for number in range(images)]
    texts = [f"caption {number} of a photo that nobody took" for number in range(captions)]
    return Embeddings(photos, sentences, names, splits, texts, torch.arange(captions) % images, {})


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds it takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


if __name__ == "__main__":
    main()
