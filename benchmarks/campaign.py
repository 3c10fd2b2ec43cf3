"""What each change of a recipe brings on frozen towers, and what more photos bring.

    python -m benchmarks.campaign --captions captions.txt --images DIR [--also CAPTIONS IMAGES WEIGHT]

One run of training_script.py a row and seed, with both towers frozen whole, of which the figures are those of the head
start. The towers' features are computed once for all runs with the same images and views. What was measured is kept in
OUTPUT/campaign.jsonl: the same command goes on where it was stopped. Of the models only those that teach are kept.
"""

import argparse
import csv
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

from crossmodal.data.dataset import Dataset, read_dataset
from crossmodal.encoding.embeddings import model_path
from crossmodal.files import append_line, read_lines
from crossmodal.runs.folder import results_of

ROOT = Path(__file__).resolve().parent.parent
LITE0, LITE2 = "tf_efficientnet_lite0.in1k", "tf_efficientnet_lite2.in1k"
EVERY_RUN = "--recipe compact --frozen-image -1 --frozen-text -1 --epochs 1 --joint-size 1024 --temperature 0.04"
DROPOUT = "--image-dropout 0.5 --text-dropout 0.2 --head-start-epochs 40"
VIEWS = "--views 3 --crop-area 0.5"
LAYERS = f"--text-layers 0,3,6 --image-dropout 0.5 --text-dropout 0.3 --head-start-epochs 80 {VIEWS}"
SIDE_BY_SIDE = f"--image-tower {LITE0}+{LITE2} --image-size 260 {LAYERS}"
RESIDUAL = f"{SIDE_BY_SIDE} --projection residual --hidden-size 2048 --dropout 0.6 --mixup 1 --captions-per-image 1"
BEST = f"{RESIDUAL} --image-stages 5,7"
TEACHERS = "Lite0, text layers 0, 3 and 6, 80 epochs"  # the row whose models teach; {teachers} stands for them
ROWS = {
    "Lite0, the last text layer, linear": "--augment 0",
    "dropout of features, 40 epochs": f"--augment 0 {DROPOUT}",
    "and three views beside the photo": f"{DROPOUT} {VIEWS}",
    "and text layers 0 and 6": f"{DROPOUT} {VIEWS} --text-layers 0,6",
    TEACHERS: LAYERS,
    "and distilled from the models of all its seeds": f"{LAYERS} --soft-targets teacher --soft-share 0.5 --teacher {{teachers}}",
    "and a penalty on neighbourhoods": f"{LAYERS} --structure 1",
    "Lite2 at 260 pixels, the last text layer, 40 epochs": f"{DROPOUT} {VIEWS} --image-tower {LITE2} --image-size 260",
    "Lite2, the same": f"{LAYERS} --image-tower {LITE2} --image-size 260",
    "Lite0 and Lite2 side by side": SIDE_BY_SIDE,
    "and a residual projection, mixup": RESIDUAL,
    "and the image stages 5 and 7": BEST,
    "and 320 pixels": f"{BEST} --image-size 320",
}
PHOTOS = (750, 1500, 3000)  # of the train split; all of it is the row of BEST


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--also", nargs=3, metavar=("CAPTIONS", "IMAGES", "WEIGHT"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "campaign")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = [(label, options.captions, given.split()) for label, given in ROWS.items()]
    rows += curve(options.captions, options.images, options.also, options.output)
    for label, captions, given in rows:
        for seed in range(options.seeds):
            measure(label, captions, options.images, [*given, "--seed", str(seed)], options.output)
    print("\n| changed | options | rsum | text to image R@1 | image to text R@1 | seeds | processor seconds |")
    print("|---|---|---|---|---|---|---|")
    known = read_lines(options.output / "campaign.jsonl")
    for label, _, given in rows:
        found = [record for record in known if record["label"] == label]
        columns = [spread([record[key] for record in found]) for key in ("rsum", "t2i_r1", "i2t_r1")]
        # The least: the features are computed in the first of the runs that read them.
        spent = min((record["cpu_seconds"] for record in found), default="-")
        print(f"| {label} | `{' '.join(given)}` | {' | '.join(columns)} | {len(found)} | {spent} |")


def curve(
    captions: Path, images: Path, also: Sequence[str] | None, output: Path
) -> Iterator[tuple[str, Path, list[str]]]:
    """Yield a run for each number of training photos, with a captions file for it, and one with more than all of them."""
    dataset = read_dataset(captions, images, check=False).dataset
    for count in PHOTOS:
        yield f"{count:,} training photos", few(dataset, count, output / f"captions-{count}.csv"), BEST.split()
    if also:
        yield "and those of the second data set", captions, [*BEST.split(), "--also", *also]


def few(dataset: Dataset, count: int, path: Path) -> Path:
    """Write the captions of `count` training photos and of the validation split, and return their file."""
    train = random.Random(0).sample(dataset.split("train").images, count)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "split"])
        for image in [*train, *dataset.split("val").images]:
            writer.writerows([image.name, caption, image.split] for caption in image.captions)
    return path


def measure(label: str, captions: Path, images: Path, given: Sequence[str], output: Path) -> None:
    """Train one row with one seed and note what its head start gave, unless that is known."""
    known, command = output / "campaign.jsonl", " ".join(given)
    if any(record["label"] == label and record["command"] == command for record in read_lines(known)):
        return
    teachers = output / "teachers"
    place = ["--captions", str(captions), "--images", str(images), "--output", str(output)]
    options = [one.format(teachers=",".join(map(str, sorted(teachers.glob("*.pt"))))) for one in given]
    before = os.times()
    subprocess.run(
        [sys.executable, str(ROOT / "training_script.py"), *place, *EVERY_RUN.split(), *options], check=True, cwd=ROOT
    )
    after, start = os.times(), results_of(output)[0]
    # Of the processor, which work beside does not change as it does the time on the clock.
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    append_line(known, {"label": label, "command": command, "cpu_seconds": round(spent), **start})
    if label == TEACHERS:
        teachers.mkdir(exist_ok=True)
        shutil.move(model_path(output, 0), teachers / f"{given[-1]}.pt")
    for file in output.glob("*.pt"):  # half a gigabyte a run
        file.unlink()


def spread(values: Sequence[float]) -> str:
    """Return the mean and, behind ±, half of the range."""
    if not values:
        return "-"
    return f"{mean(values):.1f} ±{(max(values) - min(values)) / 2:.1f}"


if __name__ == "__main__":
    main()
