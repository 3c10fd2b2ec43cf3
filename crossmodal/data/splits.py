"""The splits of a data set: given with its captions, listed beside them, or drawn."""

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from crossmodal.data.captions import CaptionRow
from crossmodal.data.captions.text import decode_text
from crossmodal.errors import CaptionsError, CrossmodalError
from crossmodal.files import read_bounded

SPLITS = ("train", "val", "test")
# The list files that data sets come with, looked for beside the caption file.
SPLIT_FILES = {
    "train": ("train.txt", "Flickr_8k.trainImages.txt"),
    "val": ("val.txt", "Flickr_8k.devImages.txt"),
    "test": ("test.txt", "Flickr_8k.testImages.txt"),
}


def read_names(path: Path) -> list[str]:
    """Read a list of image names, one per line; raises CrossmodalError when it is absent or empty."""
    try:
        lines = decode_text(read_bounded(path))[0].splitlines()
    except OSError as error:
        raise CrossmodalError(f"The list of image names {path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise CrossmodalError(f"The list of image names {path} is not text; save it as UTF-8.") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise CrossmodalError(f"The list of image names {path} is empty; it should hold one name per line.")
    return names


def splits_in(rows: Iterable[CaptionRow]) -> dict[str, str]:
    """Return the split of each image that has one in the caption file; raises CaptionsError where it has two."""
    splits: dict[str, str] = {}
    for row in rows:
        if row.split and splits.setdefault(row.image, row.split) != row.split:
            raise CaptionsError(
                f"{row.where}: {row.image} is in the split {row.split} here and in {splits[row.image]} above; "
                "an image may be in one split only."
            )
    return splits


def splits_beside(
    present: Collection[str], folder: Path, find: Callable[[str], str | None]
) -> tuple[dict[str, str], list[str]]:
    """Return the splits of the images `present` by the lists in a folder, and listed names that are of none of them.

    There are no splits without a list for val or test; without one for train, the other images are train. `find`
    returns the image that a listed name means. Raises CrossmodalError where two lists have the same image, or a list is of
    other images altogether, which would then be in another split.
    """
    lists: dict[str, set[str]] = {}
    unknown: list[str] = []
    for split, candidates in SPLIT_FILES.items():
        path = next((folder / name for name in candidates if (folder / name).is_file()), None)
        if path:
            lists[split], of_none = _listed(path, set(present), find)
            if not lists[split]:
                raise CrossmodalError(
                    f"None of the names in {path} is of an image with captions, such as {of_none[0]}; write them as the captions "
                    "do, or move the list away."
                )
            unknown += of_none
    if "val" not in lists and "test" not in lists:
        return {}, []
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        both = lists.get(first, set()) & lists.get(second, set())
        if both:
            raise CrossmodalError(
                f"{len(both)} images are both in the {first} and the {second} list in {folder}, "
                f"the first is {min(both)}; an image may be in one split only."
            )
    named = {name: split for split, names in lists.items() for name in names}
    rest = {} if "train" in lists else dict.fromkeys(present, "train")
    return rest | named, unknown


def _listed(path: Path, present: set[str], find: Callable[[str], str | None]) -> tuple[set[str], list[str]]:
    """Return which images a list names, and the names of none; a name may have folders in front that images have not."""
    images, unknown = set[str](), list[str]()
    for name in read_names(path):
        spellings = (name, name.replace("\\", "/").rpartition("/")[2])
        image = name if name in present else next((one for one in map(find, spellings) if one in present), None)
        if image is None:
            unknown.append(name)
        else:
            images.add(image)
    return images, unknown


def draw_splits(images: Collection[str], ratios: Sequence[float], seed: int) -> dict[str, str]:
    """Draw a split for each image; it depends on the names and the seed, not on the order of the file.

    Raises CrossmodalError for ratios that are not three shares of 1.
    """
    if len(ratios) != 3 or min(ratios) < 0 or abs(sum(ratios) - 1) > 1e-6 or ratios[0] == 0:
        raise CrossmodalError(
            f"The split ratios {', '.join(map(str, ratios))} should be three shares for train, val and test "
            "that add up to 1, the first above 0, for example 0.8 0.1 0.1."
        )
    names = sorted(images)
    random.Random(seed).shuffle(names)
    val_from = round(ratios[0] * len(names))
    test_from = round((ratios[0] + ratios[1]) * len(names))
    bounds = ((0, val_from), (val_from, test_from), (test_from, len(names)))
    return {name: split for split, (low, high) in zip(SPLITS, bounds, strict=True) for name in names[low:high]}
