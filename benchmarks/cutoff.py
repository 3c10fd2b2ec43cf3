"""How often 'nothing here looks like that' is right: the cut-off, calibrated on one half and measured on the other.

    python -m benchmarks.cutoff --captions captions.txt --images DIR --split-file val.txt

Half of the images, drawn with a seed, calibrate; the others ask: by a sentence, a word, a sum of two, a difference. A
query about a photo that is there may be told wrongly that there is nothing; sentences about what such photos do
not show (ABSENT, written for Flickr8k: people and dogs, mostly outdoors) should be told so. What is kept is calibrated on all images, by
`python -m crossmodal calibrate`.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossmodal.batched import batched
from crossmodal.data.decoding import load_photo
from crossmodal.encoding.openvino_export import fastest_runtime
from crossmodal.encoding.runtime import Runtime
from crossmodal.evaluation.evaluate import ImageChoice, choose_images
from crossmodal.hubs import Banks
from crossmodal.progress import terminal
from crossmodal.runs.opening import checkpoint_of, default_run, load_model
from crossmodal.search.calibration import Pairs, calibrate, queries_about
from crossmodal.search.cutoff import Thresholds

GALLERIES = (50, 200, 500)
ABSENT = """
a spreadsheet on a computer screen
an x-ray of a broken hand
a bowl of ramen noodles with an egg
a cathedral interior with stained glass windows
a rocket launching into space
the surface of the moon
a bar chart of quarterly sales
a close-up of a circuit board
a passport and a boarding pass
a wedding cake with white frosting
a giraffe eating leaves from a tree
an elephant spraying water
a lion sleeping on a rock
a penguin colony on the ice
a jar of pickles on a kitchen shelf
an airplane cockpit at night
a microscope image of cells
a satellite photo of a hurricane
a violin in its case
a shelf full of old books
a cup of coffee with latte art
a sushi platter
a dentist examining teeth
a handwritten shopping list
a pile of gold coins
a laptop keyboard
an oil painting of a vase of sunflowers
a map of europe
a baby sleeping in a crib
a hospital operating room
a tractor plowing a field
a wind turbine on a hill
a nuclear power plant
a submarine under water
a spider in its web
a butterfly on a purple flower
a row of supermarket shelves
a chess board with pieces
a bottle of red wine and cheese
a bathroom with a white sink
a bedroom with a large bed
an empty classroom
a train at a railway station
a cargo ship in the harbor
a volcano erupting
a waterfall in the jungle at night
northern lights over a cabin
a herd of sheep on a road
a cow being milked
pizza slices on a plate
a screenshot of a chat
a receipt from a restaurant
a parking garage
a kitten playing with yarn
a goldfish in a bowl
a castle on a hill
a telescope in an observatory
a robot arm in a factory
a stack of pancakes with syrup
a traffic light showing red
"""


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "captions", "images", "split-file"):
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args()
    path = checkpoint_of(options.checkpoint or default_run())
    model, content = load_model(path)
    chosen, _of = choose_images(
        content, ImageChoice(options.captions, options.images, options.split_file), terminal, print
    )
    runtime = fastest_runtime(model, content["fingerprint"])
    images = encode_all(runtime, [image.path for image in chosen.images])
    captions = [image.captions for image in chosen.images]
    order = random.Random(0).sample(range(len(images)), len(images))
    halves = np.array(order[: len(order) // 2]), np.array(order[len(order) // 2 :])
    banks = Banks.of(content)
    bias = banks.captions.bias(images) if banks else np.zeros(len(images), np.float32)
    calibrating, asking = (
        queries_about(images[half], [captions[row] for row in half], runtime.encode_sentences, bias[half])
        for half in halves
    )
    cutoff = calibrate(calibrating, "one half")
    absent = runtime.encode_sentences(ABSENT.strip().split("\n"))
    for kind, limits in cutoff.kinds.items():
        print(f"{kind}, calibrated on {len(halves[0])} images: {limits}")
        for size in GALLERIES:
            print(
                f"  {size} photos: {rates(limits, asking[kind].of_images(np.arange(size)), absent if kind == 'sentence' else None)}"
            )


def encode_all(runtime: Runtime, paths: Sequence[Path]) -> np.ndarray:
    """Return the unit vectors [N, D] of photos."""
    prepare = runtime.preprocessing
    decoded = (np.stack([prepare.array(load_photo(path)) for path in batch]) for batch in batched(paths, 32))
    return np.concatenate([runtime.encode_pixels(pixels) for pixels in decoded])


def rates(limits: Thresholds, there: Pairs, absent: np.ndarray | None) -> str:
    """Return in words how often queries about a gallery's photos, and sentences about something else, are told so."""
    best, own = there.scores()
    threshold = limits.nothing(len(there.images))
    nothing, left_out = 100 * float((best < threshold).mean()), 100 * float((own < limits.left_out_below).mean())
    told = (
        f"of {len(own):,} queries about one of them {nothing:.1f} % are told that there is nothing, and {left_out:.1f} % "
        "have their photo left out"
    )
    if absent is None:
        return told
    right = 100 * float(((absent @ there.images.T - there.bias).max(1) < threshold).mean())
    return f"{told}; of {len(absent)} sentences about something else {right:.1f} % are told so"


if __name__ == "__main__":
    main()
