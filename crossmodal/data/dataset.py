"""A captioned photo collection: images in a fixed order, their captions, their splits; checked."""

import random
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from crossmodal.data.captions import BadRow, CaptionFile, CaptionRow, read_captions
from crossmodal.data.decoding import load_photo
from crossmodal.errors import CaptionsError, CrossmodalError, PhotoError
from crossmodal.progress import Bars, silent
from crossmodal.recipe import DRAWN_RATIOS

SPLITS = ("train", "val", "test")
BAD_ROWS_ALLOWED = 0.01
# The list files that data sets bring along, looked for beside the caption file.
SPLIT_FILES = {
    "train": ("train.txt", "Flickr_8k.trainImages.txt"),
    "val": ("val.txt", "Flickr_8k.devImages.txt"),
    "test": ("test.txt", "Flickr_8k.testImages.txt"),
}


@dataclass(frozen=True)
class CaptionedImage:
    """One image with all its captions; `split` is train, val or test."""

    name: str
    path: Path
    captions: tuple[str, ...]
    split: str = "train"


@dataclass(frozen=True)
class Dataset:
    """Images in the order of the caption file."""

    images: tuple[CaptionedImage, ...]

    def split(self, name: str) -> "Dataset":
        """Return the images of one split, or all of them for "all"."""
        return Dataset(tuple(image for image in self.images if name in ("all", image.split)))

    @property
    def captions(self) -> list[str]:
        """All captions, image by image."""
        return [caption for image in self.images for caption in image.captions]

    @property
    def caption_to_image(self) -> list[int]:
        """For each of `captions`, the index of its image."""
        return [index for index, image in enumerate(self.images) for _ in image.captions]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Checked:
    """A data set whose every photo decodes, and the rows that were left out."""

    dataset: Dataset
    bad: tuple[BadRow, ...]
    rows: int


def read_dataset(
    captions: Path,
    images: Path,
    ratios: Sequence[float] = DRAWN_RATIOS,
    seed: int = 0,
    bars: Bars = silent,
    check: bool = True,
    names: Collection[str] | None = None,
) -> Checked:
    """Read a caption file with its folder of photos; decode each photo once to check it.

    Splits come from the file (Karpathy), else from the lists beside it, else from a seeded draw by
    image with the ratios train, val, test. Images that the lists leave out are left out. With `names`
    the rows of other images are passed over unchecked, and all that are named are kept, as train.

    Raises CaptionsError when the folder is absent, no row is left, or a named image has none.
    """
    images = Path(images)
    if not images.is_dir():
        raise CaptionsError(f"The folder of photos {images} is not there; give its place with --images.")
    file = read_captions(captions)
    if names is not None:
        file = _only(file, set(names))
        _refuse_if_absent(set(names), file)
    good, bad = _check(file, images, bars) if check else (file.rows, [])
    bad = sorted([*file.bad, *bad], key=lambda row: _number(row.where))
    total = len(file.rows) + len(file.bad)
    if not good:
        first = f"; the first: {bad[0]}" if bad else ""
        raise CaptionsError(f"No row of {captions} can be used with the photos in {images}{first}.")
    grouped: dict[str, list[str]] = {}
    splits: dict[str, str | None] = {}
    for row in good:
        grouped.setdefault(row.image, []).append(row.caption)
        splits[row.image] = row.split
    dataset = Dataset(tuple(CaptionedImage(name, images / name, tuple(texts)) for name, texts in grouped.items()))
    if names is not None:
        return Checked(dataset, tuple(bad), total)
    return Checked(_assign_splits(dataset, splits, Path(captions).parent, ratios, seed), tuple(bad), total)


def _only(file: CaptionFile, names: set[str]) -> CaptionFile:
    return replace(
        file,
        rows=tuple(row for row in file.rows if row.image in names),
        bad=tuple(row for row in file.bad if row.image in names),
    )


def _refuse_if_absent(names: set[str], file: CaptionFile) -> None:
    absent = sorted(names - {row.image for row in file.rows} - {row.image for row in file.bad})
    if absent:
        raise CaptionsError(
            f"{len(absent)} of the {len(names)} listed images have no row in {file.path}, the first is {absent[0]}; "
            "mend the list or the captions."
        )


def _number(where: str) -> tuple[int, ...]:
    return tuple(int(part) for part in "".join(c if c.isdigit() else " " for c in where).split())


def _check(file: CaptionFile, folder: Path, bars: Bars) -> tuple[list[CaptionRow], list[BadRow]]:
    """Decode every named photo once, at a small scale, and set aside the rows of broken ones."""
    names = list(dict.fromkeys(row.image for row in file.rows))

    def reason(name: str) -> str | None:
        path = folder / name
        try:
            if not path.resolve().is_relative_to(folder.resolve()):
                return "the image name leads out of the folder of photos"
            if not path.is_file():
                return f"no such file in {folder}"
        except (OSError, ValueError):  # too long, or with a zero byte
            return "the image name cannot be a file's name"
        try:
            load_photo(path, at_least=32, name="the photo")
        except PhotoError as error:
            return str(error)
        return None

    reasons: dict[str, str | None] = {}
    with ThreadPoolExecutor() as pool, bars("Checking photos", len(names), "file") as advance:
        for name, why in zip(names, pool.map(reason, names), strict=True):
            reasons[name] = why
            advance(1)
    good = [row for row in file.rows if reasons[row.image] is None]
    bad = [BadRow(row.where, row.image, reasons[row.image] or "") for row in file.rows if reasons[row.image]]
    return good, bad


def refuse_if_many_bad(checked: Checked, captions: Path, skip_bad: bool) -> None:
    """Raise CrossmodalError when more than 1 % of the rows are bad and the user did not accept that."""
    if len(checked.bad) > BAD_ROWS_ALLOWED * checked.rows and not skip_bad:
        raise CrossmodalError(
            f"{len(checked.bad)} of {checked.rows} rows of {captions} cannot be used (listed above), more than "
            f"1 %; mend them, or go on without them with --skip-bad."
        )


def read_names(path: Path) -> list[str]:
    """Read a list of image names, one a line; raises CrossmodalError when it is absent or empty."""
    try:
        names = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise CrossmodalError(f"The list of image names {path} cannot be read ({error}).") from error
    if not names:
        raise CrossmodalError(f"The list of image names {path} is empty; it should hold one name a line.")
    return names


def _assign_splits(
    dataset: Dataset, given: dict[str, str | None], beside: Path, ratios: Sequence[float], seed: int
) -> Dataset:
    if any(given.values()):
        named = {name: split for name, split in given.items() if split}
    else:
        named = _lists_beside(dataset, beside) or _draw_splits(dataset, ratios, seed)
    return Dataset(tuple(replace(image, split=named[image.name]) for image in dataset.images if image.name in named))


def _lists_beside(dataset: Dataset, folder: Path) -> dict[str, str]:
    lists: dict[str, set[str]] = {}
    for split, candidates in SPLIT_FILES.items():
        found = next((folder / name for name in candidates if (folder / name).is_file()), None)
        if found:
            lists[split] = set(read_names(found))
    if "val" not in lists and "test" not in lists:
        return {}
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        both = lists.get(first, set()) & lists.get(second, set())
        if both:
            raise CrossmodalError(
                f"{len(both)} images are both in the {first} and the {second} list in {folder}, "
                f"the first is {min(both)}; an image may be in one split only."
            )
    named = {name: split for split, names in lists.items() for name in names}
    rest = {} if "train" in lists else {image.name: "train" for image in dataset.images}
    present = {image.name for image in dataset.images}
    return {name: split for name, split in (rest | named).items() if name in present}


def _draw_splits(dataset: Dataset, ratios: Sequence[float], seed: int) -> dict[str, str]:
    if len(ratios) != 3 or min(ratios) < 0 or abs(sum(ratios) - 1) > 1e-6 or ratios[0] == 0:
        raise CrossmodalError(
            f"The split ratios {', '.join(map(str, ratios))} should be three shares for train, val and test "
            "that add up to 1, for example 0.8 0.1 0.1."
        )
    # Sorted first: the split depends on the names and the seed, not on the order of the file.
    names = sorted(image.name for image in dataset.images)
    random.Random(seed).shuffle(names)
    val_from = round(ratios[0] * len(names))
    test_from = round((ratios[0] + ratios[1]) * len(names))
    bounds = ((0, val_from), (val_from, test_from), (test_from, len(names)))
    return {name: split for split, (low, high) in zip(SPLITS, bounds, strict=True) for name in names[low:high]}
