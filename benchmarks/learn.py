"""What a model learns from a person's own captions, by their number, and what that costs on other photos.

    python -m benchmarks.learn --captions captions.txt --images DIR --val-captions captions.txt --val-images DIR

So many photos of the train split get one caption each, as if they were written on the page, and the model is trained
further on them as the page does it, which holds some of them out to choose the epoch by. Recall in per cent, plain cosine,
before and after: on the val split of the same captions, all of whose photos are unseen, and on that of `--val-captions`.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from crossmodal.data.dataset import Dataset, read_dataset
from crossmodal.encoding.collection import encode_dataset
from crossmodal.encoding.devices import worker_count
from crossmodal.errors import CrossmodalError
from crossmodal.evaluation.metrics import metrics_of_split
from crossmodal.photos.own_captions import Edit, OwnCaptions, training_options
from crossmodal.progress import terminal
from crossmodal.runs.folder import best_epoch
from crossmodal.runs.opening import checkpoint_of, open_encoder

ROOT = Path(__file__).resolve().parent.parent
COUNTS = (50, 200, 1000)
FIGURES = [f"{way}_r{k}" for way in ("t2i", "i2t") for k in (1, 5, 10)]


def main() -> None:
    """Print a table: a line before, and one for each number of captions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "model-checkpoints" / "shipped")
    for name, what in (("", "written by the person"), ("val-", "of other photos")):
        parser.add_argument(f"--{name}captions", type=Path, required=True, help=f"captions {what}, with a val split")
        parser.add_argument(f"--{name}images", type=Path, required=True, help="their photos")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="of captions (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of photos (default: %(default)s)")
    options = parser.parse_args()
    own = read_dataset(options.captions, options.images, check=False).dataset
    others = read_dataset(options.val_captions, options.val_images, check=False).dataset
    galleries = {"own": own.split("val"), "others": others.split("val")}
    start = checkpoint_of(options.checkpoint)
    print(
        f"{start}; own: {len(galleries['own']):,} photos, others: {len(galleries['others']):,} photos; seed {options.seed}"
    )
    print(f"{'captions':>9} {'':7}{' '.join(f'{name:>7}' for name in [*FIGURES, 'rsum'])}   epoch   seconds")
    show("before", measured(start, galleries))
    for count, run, seconds in trained(start, own.split("train"), options.images, options.counts, options.seed):
        show(f"{count:,}", measured(checkpoint_of(run), galleries), f"{best_epoch(run):8d} {seconds:9.0f}")


def trained(
    start: Path, dataset: Dataset, images: Path, counts: Sequence[int], seed: int
) -> Iterator[tuple[int, Path, float]]:
    """Yield the number of captions, the run that was trained on them and its seconds; the run is gone after that.

    A larger number holds the captions of the smaller ones. Raises CrossmodalError where there are too few photos, or
    training fails.
    """
    drawn = random.Random(seed).sample(range(len(dataset)), len(dataset))
    for count in counts:
        if count > len(dataset):
            raise CrossmodalError(f"There are {len(dataset):,} photos to train on, fewer than {count:,}.")
        with tempfile.TemporaryDirectory() as folder:
            file, run = OwnCaptions(Path(folder) / "captions.csv"), Path(folder) / "run"
            chosen = [dataset.images[row] for row in drawn[:count]]
            file.edit([Edit(image.name, "", image.captions[0]) for image in chosen])
            began = time.monotonic()
            command = [sys.executable, str(ROOT / "training_script.py")]
            done = subprocess.run([*command, *training_options(start, file.path, images, run)], stdout=sys.stderr)
            if done.returncode:
                raise CrossmodalError(f"Training on {count:,} captions failed, as it says above.")
            yield count, run, time.monotonic() - began


def measured(checkpoint: Path, galleries: Mapping[str, Dataset]) -> dict[str, dict[str, float]]:
    """Return the metrics of a checkpoint on each gallery."""
    model, _, _ = open_encoder(checkpoint)
    return {
        name: metrics_of_split(encode_dataset(model, dataset, {}, worker_count(), terminal), "all")
        for name, dataset in galleries.items()
    }


def show(title: str, metrics: Mapping[str, Mapping[str, float]], more: str = "") -> None:
    """Print a line for each gallery."""
    for name, figures in metrics.items():
        numbers = " ".join(f"{figures[one]:7.1f}" for one in [*FIGURES, "rsum"])
        print(f"{title:>9} {name:7}{numbers}{more if name == 'own' else ''}", flush=True)


if __name__ == "__main__":
    main()
