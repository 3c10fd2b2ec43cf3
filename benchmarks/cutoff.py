"""How often 'nothing here looks like that' is right: the cut-off, calibrated on one half and measured on the other.

    python -m benchmarks.cutoff --captions captions.txt --images DIR --split-file val.txt [--write]

Half of the images, by the seed, calibrate; the others ask. A sentence about a photo that is there is told
wrongly that there is nothing, or is not; sentences about what such photos do not show (ABSENT, written
for Flickr8k: people and dogs, mostly outdoors) rightly. `--write` puts the cut-off of all images beside the checkpoint.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np

from crossmodal.encoding.collection import encode_dataset
from crossmodal.encoding.devices import worker_count
from crossmodal.evaluation.evaluate import ImageChoice, choose_images
from crossmodal.files import write_text
from crossmodal.progress import terminal
from crossmodal.runs.opening import checkpoint_of, default_run, load_model
from crossmodal.search.cutoff import FILE, calibrate, scores_of, some_images

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
    """Print the rates, and write the cut-off if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "captions", "images", "split-file"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--write", action="store_true", help=f"write {FILE} beside the checkpoint")
    options = parser.parse_args()
    path = checkpoint_of(options.checkpoint or default_run())
    model, content = load_model(path)
    chosen, _of = choose_images(
        content, ImageChoice(options.captions, options.images, options.split_file), terminal, print
    )
    embeddings = encode_dataset(model, chosen, {}, worker_count(), terminal)
    images, texts = (side.float().numpy() for side in (embeddings.images, embeddings.texts))
    owner = embeddings.caption_to_image.numpy()
    absent = np.concatenate([part.numpy() for part in model.encode_sentences(ABSENT.strip().split("\n"))])

    order = random.Random(0).sample(range(len(images)), len(images))
    calibrating, asking = np.array(order[: len(order) // 2]), np.array(order[len(order) // 2 :])
    cutoff = calibrate(*some_images(images, texts, owner, calibrating), "one half")
    print(
        f"calibrated on {len(calibrating)} images: nothing below {cutoff.nothing_below}, left out below {cutoff.left_out_below}"
    )
    for size in GALLERIES:
        gallery = asking[:size]
        best, own = scores_of(*some_images(images, texts, owner, gallery))
        nothing = 100 * float((best < cutoff.threshold(size)).mean())
        left_out = 100 * float((own < cutoff.left_out_below).mean())
        right = 100 * float(((absent @ images[gallery].T).max(1) < cutoff.threshold(size)).mean())
        print(
            f"{size} photos: of {len(own):,} sentences about one of them {nothing:.1f} % are told that there is nothing, and "
            f"{left_out:.1f} % have their photo left out; of {len(absent)} about something else {right:.1f} % are told so"
        )
    if options.write:
        whole = calibrate(images, texts, owner, f"Flickr8k's development split, {len(images):,} photos")
        write_text(path.parent / FILE, json.dumps(whole.plain(), indent=2) + "\n")
        print(f"Wrote {path.parent / FILE}: {whole}")


if __name__ == "__main__":
    main()
