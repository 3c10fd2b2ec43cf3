"""How much of the bare step's speed the training loop keeps.

    python -m benchmarks.training_step
    python -m benchmarks.training_step --recipe efficientnet-minilm --captions c.txt --images photos

The real loop (reading photos, planning, showing progress, optimiser) against the same step fed one
batch from memory again and again, in alternating epochs, so that a busy machine slows both alike. By
default on drawings. Target: at least 0.95 of the bare step's photos a second.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from crossmodal.data.dataset import Dataset, read_dataset
from crossmodal.data.sample import draw_sample
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.devices import choose_device, worker_count
from crossmodal.progress import silent, terminal
from crossmodal.training.batches import plan_epoch
from crossmodal.training.setting import Progress, Setting
from crossmodal.training.step import StepPlan
from crossmodal.training.trainer import Trainer
from model import RECIPES


def main() -> None:
    """Print photos a second of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="compact")
    parser.add_argument("--captions", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--scenes", type=int, default=640, help="drawings, where no captions are given")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        captions, images = options.captions, options.images
        if not captions:
            captions, images = draw_sample(Path(folder) / "drawn", options.scenes, bars=terminal)
        dataset = read_dataset(captions, images, ratios=(1, 0, 0), check=False).dataset
        device = choose_device()
        model = DualEncoder.from_recipe(RECIPES[options.recipe]).to(device)
        setting = Setting(Path(folder), workers=worker_count(), bars=silent)
        trainer = Trainer(model, dataset, Dataset(()), {}, setting)
        trainer.open_photos()
        ratios = []
        for number in range(options.rounds + 1):
            real, bare = real_loop(trainer), bare_step(trainer)
            if number:  # the first round warms up
                ratios.append(real / bare)
                print(f"round {number}: loop {real:.1f}, bare step {bare:.1f} photos/s, ratio {real / bare:.3f}")
        print(
            f"{options.recipe} on {device}, {len(trainer.train_set)} photos an epoch, batches of {model.recipe.batch_size}:"
        )
        print(f"median ratio {statistics.median(ratios):.3f} (target: 0.95)")


def real_loop(trainer: Trainer) -> float:
    """Train an epoch; return photos a second."""
    trainer.progress = Progress(epoch=1)
    started = time.monotonic()
    trainer.train_epoch()
    return len(trainer.train_set) / (time.monotonic() - started)


def bare_step(trainer: Trainer) -> float:
    """Do as many steps with one batch from memory; return photos a second."""
    recipe = trainer.recipe
    trainer.progress = Progress(epoch=1)
    batches = plan_epoch(trainer.train_set, recipe.batch_size, recipe.captions_per_image, recipe.seed, 1)
    plan = StepPlan.of(batches[0], 0, 1)
    inputs = next(iter(trainer.photos.epoch([list(plan.own.images)], 1))).to(trainer.model.device)
    started = time.monotonic()
    for step in range(len(batches)):
        trainer.train_step(plan, inputs, step, len(batches))
    trainer.read_loss()  # waits for the device
    return len(batches) * len(plan.own.images) / (time.monotonic() - started)


if __name__ == "__main__":
    main()
