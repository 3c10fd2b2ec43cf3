"""The trainer: fine-tunes both towers on captioned photos, and writes a checkpoint after every epoch.

    python training_script.py                                    captions.txt and flickr30k_images/ here
    python training_script.py --captions c.json --images photos  any other place, any known format
    python training_script.py --recipe compact --epochs 4        a named recipe, some knobs changed
    python training_script.py --resume                           continue after an interruption
    torchrun --nproc-per-node 2 training_script.py               one process a GPU

Without captions.txt it trains on a sample of drawings that it makes itself.
"""

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import torch

from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.devices import choose_device, worker_count
from crossmodal.errors import CrossmodalError, WeightsError, printable
from crossmodal.files import remove_leftovers
from crossmodal.places import PAGE, TRAINING, WORKPLACE
from crossmodal.progress import print_anywhere, silent, terminal
from crossmodal.recipe import WHOLE, Recipe
from crossmodal.recipe_checks import check_recipe
from crossmodal.runs.folder import FEATURES, best_epoch, load_state, make_room, results_of
from crossmodal.towers.text import needs_captions
from crossmodal.training.distributed import leave_processes, say, share_statistics, start_processes
from crossmodal.training.setting import Interrupted, Setting
from crossmodal.training.sources import Sources
from crossmodal.training.starting import interrupted_model, started_from
from crossmodal.training.trainer import Trainer
from model import DEFAULT, RECIPES, WITHOUT_DOWNLOAD

OUTPUT = WORKPLACE / "model-checkpoints"
# The drawings are learned sooner than photos: this many epochs take about four minutes on two cores.
SAMPLE_EPOCHS = 5
FROZEN = ("frozen_image", "frozen_text")
KNOBS = [knob for knob in fields(Recipe) if "help" in knob.metadata]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--recipe",
        choices=sorted(RECIPES),
        help=f"default: {DEFAULT}, or {WITHOUT_DOWNLOAD} where its weights cannot be had",
    )
    data = parser.add_argument_group("data")
    data.add_argument("--captions", type=Path, help="caption file (default: captions.txt)")
    data.add_argument("--images", type=Path, help="folder of photos (default: flickr30k_images)")
    data.add_argument(
        "--split",
        type=float,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        help="shares of a drawn split, where the data set has none of its own (default: the recipe's)",
    )
    data.add_argument("--skip-bad", action="store_true", help="train though more than 1 %% of the rows cannot be used")
    data.add_argument(
        "--with-sample", type=int, default=0, metavar="SCENES", help="train on this many drawn scenes beside the photos"
    )
    data.add_argument(
        "--also",
        nargs=3,
        action="append",
        default=[],
        metavar=("CAPTIONS", "IMAGES", "WEIGHT"),
        help="train on the train split of another data set too; an epoch shows each of its images WEIGHT times on average "
        "(may be given again)",
    )
    run = parser.add_argument_group("run")
    run.add_argument(
        "--output", type=Path, default=OUTPUT, help="folder of the checkpoints (default: model-checkpoints)"
    )
    run.add_argument("--weights", type=Path, help="folder with pretrained weights, looked into first")
    run.add_argument(
        "--start-from",
        type=Path,
        metavar="CHECKPOINT",
        help="train a trained model further: a checkpoint, or a run, of which the best epoch is taken; epoch 0 is that model",
    )
    run.add_argument("--resume", action="store_true", help="continue the run in the output folder")
    run.add_argument("--tensorboard", action="store_true", help="also write TensorBoard logs into the output folder")
    run.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    run.add_argument("--workers", type=int, help="processes that decode photos (default: by the cores)")
    knobs = parser.add_argument_group("recipe (each overrides the recipe's own value)")
    knobs.add_argument(
        "--epochs",
        type=int,
        help=f"epochs over all stages (default: the recipe's; on the drawn sample {SAMPLE_EPOCHS})",
    )
    knobs.add_argument("--lr", type=float, help="learning rate of the first stage; later ones in proportion")
    for tower, parts in (("image", "stages of the image tower"), ("text", "layers of the text tower")):
        knobs.add_argument(
            f"--frozen-{tower}",
            type=int,
            metavar="N",
            help=f"first {parts} that are frozen in the whole run: 0 is none, {WHOLE} the whole tower",
        )
    for knob in KNOBS:
        knobs.add_argument(
            f"--{knob.name.replace('_', '-')}",
            type=str if knob.default is MISSING else type(knob.default),
            help=knob.metadata["help"],
        )
    return parser.parse_args(arguments)


def overridden(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """Return the recipe with the values that the user gave; raises CrossmodalError for impossible ones."""
    recipe = replace(recipe, **_given(options, [knob.name for knob in KNOBS]))
    if options.epochs is not None and options.epochs < 1:
        raise CrossmodalError(f"--epochs {options.epochs} should be greater than 0.")
    if options.lr is not None and not 0 < options.lr < math.inf:
        raise CrossmodalError(f"--lr {options.lr} should be a number greater than 0.")
    recipe = recipe.with_epochs(options.epochs) if options.epochs else recipe
    recipe = recipe.with_lr(options.lr) if options.lr else recipe
    recipe = recipe.with_stages(**_given(options, FROZEN))
    check_recipe(recipe, trained=bool(options.start_from))
    return recipe


def _given(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return the options that the user gave."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def build_model(options: argparse.Namespace) -> DualEncoder:
    """Build the recipe's model; with none named, the default or the one that needs no download."""
    if options.start_from:
        if options.recipe:
            raise CrossmodalError("--start-from goes on with the recipe of its checkpoint; leave out --recipe.")
        return started_from(options.start_from, lambda recipe: overridden(recipe, options))
    if options.recipe:
        return DualEncoder.from_recipe(overridden(RECIPES[options.recipe], options), options.weights)
    try:
        model = DualEncoder.from_recipe(overridden(RECIPES[DEFAULT], options), options.weights)
    except WeightsError:
        say(f"The weights of {DEFAULT} cannot be had here, so this trains {WITHOUT_DOWNLOAD}, which needs no download.")
        return DualEncoder.from_recipe(overridden(RECIPES[WITHOUT_DOWNLOAD], options), options.weights)
    say(f"Training the recipe {DEFAULT}.")
    return model


def resumed_model(options: argparse.Namespace, state: dict[str, Any]) -> DualEncoder:
    """Rebuild the model of an interrupted run; its recipe stands."""
    model = interrupted_model(state)
    recipe = model.recipe
    changed = list(_given(options, ["epochs", "lr", *FROZEN, *(knob.name for knob in KNOBS)]))
    changed += ["recipe"] if options.recipe not in (None, recipe.name) else []
    changed += ["start_from"] if options.start_from else []
    if changed:
        option = f"--{changed[-1].replace('_', '-')}"
        raise CrossmodalError(
            f"--resume continues the run's own recipe ({recipe.name}); leave out {option}, or start a run without --resume."
        )
    return model


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trainer; returns the exit code."""
    print_anywhere()
    options = parse(arguments)
    try:
        code = train(options)
        leave_processes()
        return code
    except CrossmodalError as error:
        print(error, file=sys.stderr)
    except torch.OutOfMemoryError:
        print(
            "The GPU has too little memory for a batch: give a smaller --chunk-size than --batch-size, which computes the "
            "same gradient in less memory.",
            file=sys.stderr,
        )
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # which torch has no type of its own for on a CPU
            raise
        print(
            "This machine has too little memory for that: give a smaller --batch-size, --joint-size or --hidden-size.",
            file=sys.stderr,
        )
    except OSError as error:
        print(printable(f"{error.filename or 'The disk'} cannot be used ({error.strerror or error})."), file=sys.stderr)
    return 1


def train(options: argparse.Namespace) -> int:
    """Train, and say at the end what was learned and how to look at it."""
    rank, processes = start_processes()
    device = choose_device(options.device, rank)
    bars = terminal if rank == 0 else silent
    state = load_state(options.output) if options.resume else None
    sources = Sources(
        options.captions,
        options.images,
        options.split,
        options.skip_bad,
        options.with_sample,
        options.also,
        options.output,
    )
    if not state and options.epochs is None and sources.drawn_only:
        options.epochs = SAMPLE_EPOCHS
    model = resumed_model(options, state) if state else build_model(options)
    dataset, extra, data = sources.read(model.recipe, bars)
    if len(dataset.split("train")) < 2:
        raise CrossmodalError("The train split has fewer than two images; give more photos or another --split.")
    if not state and not options.start_from and needs_captions(model.recipe):
        model = DualEncoder.from_recipe(model.recipe, options.weights, dataset.split("train").captions)
    if rank == 0:
        for folder in (options.output, options.output / FEATURES):
            remove_leftovers(folder)
    if not state and rank == 0:
        moved = make_room(options.output)
        if moved:
            say(f"The earlier run in {options.output} is kept in {moved}.")
        options.output.mkdir(parents=True, exist_ok=True)
    workers = worker_count() if options.workers is None else max(0, options.workers)
    say(
        f"Recipe {model.recipe.name} on {device}, {model.recipe.epochs} epochs at most, batches of {model.recipe.batch_size} images."
    )
    log = tensorboard_log(options.output) if options.tensorboard and rank == 0 else None
    setting = Setting(
        options.output, options.weights, rank, processes, workers, bars, log, trained=options.start_from is not None
    )
    if processes > 1 and model.recipe.learns_statistics:
        share_statistics(model, device)
    trainer = Trainer(model.to(device), dataset, extra, data, setting)
    if state:
        trainer.restore(state)
    again = shlex.join([*TRAINING, "--resume", *given_again(options)])
    try:
        trainer.run()
    except Interrupted:
        has_state = (options.output / "training_state.pt").is_file()
        say(
            f"Stopped. Continue with: {again}"
            if has_state
            else "Stopped before the first epoch; nothing was lost. Start again with the same command."
        )
        return 130
    if rank == 0:
        show_results(options.output)
    return 0


def given_again(options: argparse.Namespace) -> list[str]:
    """Return the options of this run that --resume needs again."""
    parts = []
    for name in ("captions", "images", "output", "weights"):
        value = getattr(options, name)
        if value is not None and value != OUTPUT:
            parts += [f"--{name}", str(value)]
    if options.split:
        parts += ["--split", *map(str, options.split)]
    for place in options.also:
        parts += ["--also", *place]
    parts += ["--with-sample", str(options.with_sample)] if options.with_sample else []
    return parts + (["--skip-bad"] if options.skip_bad else [])


def show_results(folder: Path) -> None:
    """Print a table of the epochs, the best one, and the command that opens the page on it."""
    best = best_epoch(folder)
    say("\nepoch    loss    rsum   text to image R@1/5/10   image to text R@1/5/10")
    for record in results_of(folder):
        loss = f"{record['loss']:7.3f}" if record["loss"] is not None else "      -"
        ways = (
            f"{record[f'{way}_r1']:6.1f} {record[f'{way}_r5']:6.1f} {record[f'{way}_r10']:6.1f}"
            for way in ("t2i", "i2t")
        )
        mark = "  best" if record["epoch"] == best else ""
        say(f"{record['epoch']:5d} {loss} {record['rsum']:7.1f}   {'     '.join(ways)}{mark}")
    where = (
        [] if folder.resolve() == OUTPUT else [*(["--"] if "streamlit" in PAGE else []), "--checkpoints", str(folder)]
    )
    say(f"\nLook at epoch {best} with: {shlex.join([*PAGE, *where])}")


def tensorboard_log(folder: Path) -> Any:
    """Return a function that logs an epoch's figures to TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise CrossmodalError("--tensorboard needs the package tensorboard: pip install tensorboard.") from error
    writer = SummaryWriter(str(folder / "tensorboard"))

    def log(values: dict[str, float], epoch: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, epoch)
        writer.flush()

    return log


if __name__ == "__main__":
    sys.exit(main())
