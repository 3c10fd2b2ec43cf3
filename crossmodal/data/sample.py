"""The drawn sample: made from a seed, and written like any data set of captioned photos."""

import csv
import json
import random
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from crossmodal.data.drawn.drawing import draw_scene
from crossmodal.data.drawn.scenes import describe, imagine_scene
from crossmodal.errors import CrossmodalError
from crossmodal.files import whole_file, write_text
from crossmodal.progress import Bars, silent

SCENES = 600
SEED = 7
NOTE = "These are drawings made by this project's own code, not photographs."


def draw_sample(
    folder: Path,
    scenes: int = SCENES,
    seed: int = SEED,
    bars: Bars = silent,
    wanted: Callable[[], Iterable[str]] = tuple,
) -> tuple[Path, Path]:
    """Draw a sample into `folder` and return its caption file and its folder of images.

    Images that `wanted` names, each time it is asked, are drawn before others.
    Nothing is drawn when the same sample is already there. Raises CrossmodalError when `folder` has other files
    in it.
    """
    folder = Path(folder)
    captions, images, stamp = folder / "captions.txt", folder / "images", folder / "sample.json"
    made_with = {"scenes": scenes, "seed": seed, "note": NOTE}
    if stamp.is_file() and _read_stamp(stamp) == made_with:
        return captions, images
    if folder.is_dir() and any(folder.iterdir()) and not (stamp.is_file() or (folder / "unfinished").is_file()):
        raise CrossmodalError(f"{folder} has other files in it; give an empty folder for the drawn sample.")
    if scenes < 1:
        raise CrossmodalError(f"A sample of {scenes} scenes cannot be drawn; ask for at least one.")
    if folder.is_dir():
        shutil.rmtree(folder)
    images.mkdir(parents=True)
    (folder / "unfinished").touch()
    rng = random.Random(seed)
    left, rows = {}, []
    for number in range(scenes):
        name = f"scene_{seed}_{number:04d}.jpg"
        left[name] = scene = imagine_scene(rng)
        rows += [(name, caption) for caption in describe(scene, rng)]
    with bars("Drawing the sample", scenes, "scene") as advance:
        while left:
            name = next((name for name in wanted() if name in left), next(iter(left)))
            draw_scene(left.pop(name)).save(images / name, quality=90)
            advance(1)
    with whole_file(captions) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "caption"))
        writer.writerows(rows)
    write_text(stamp, json.dumps(made_with))
    (folder / "unfinished").unlink()
    return captions, images


def _read_stamp(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
