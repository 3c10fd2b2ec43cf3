"""A captioned photo collection: images in a fixed order, their captions and their splits, checked."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from crossmodal.data.captions import BadRow, CaptionFile, CaptionRow, read_captions
from crossmodal.data.decoding import CUT_SHORT, load_photo
from crossmodal.data.matching import PhotoMatcher
from crossmodal.data.splits import draw_splits, splits_beside, splits_in
from crossmodal.errors import CaptionsError, CrossmodalError, PhotoError, printable
from crossmodal.files import listed
from crossmodal.progress import Bars, silent
from crossmodal.recipe import DRAWN_RATIOS

BAD_ROWS_ALLOWED = 0.01


@dataclass(frozen=True)
class CaptionedImage:
    """One image with all its captions; `split` is train, val or test.

    An epoch of training shows it `weight` times on average.
    """

    name: str
    path: Path
    captions: tuple[str, ...]
    split: str = "train"
    weight: float = 1.0


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

    @property
    def digest(self) -> str:
        """A hash of names, captions and splits."""
        plain = [(image.name, image.captions, image.split) for image in self.images]
        return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Checked:
    """A data set whose every photo decodes, the rows that were left out, and what was decided on the way.

    `rows` counts all rows of the caption file; `notes` are sentences for the user.
    """

    dataset: Dataset
    bad: tuple[BadRow, ...]
    rows: int
    notes: tuple[str, ...] = ()


def read_dataset(
    captions: Path,
    images: Path,
    ratios: Sequence[float] = DRAWN_RATIOS,
    seed: int = 0,
    bars: Bars = silent,
    check: bool = True,
    names: Collection[str] | None = None,
) -> Checked:
    """Read captions with their folder of photos; with `check`, decode each photo once.

    Splits come from the caption file, else from the lists beside it, else from a seeded draw by image with the
    ratios train, val, test; images without a split are left out. Training images keep one of equal captions,
    the others all of them. With `names` only the images named are read, all are kept, and there are no splits.

    Raises CaptionsError when the folder is absent, no row is left, a named image has none, or an image is in
    two splits.
    """
    images = Path(images)
    if not images.is_dir():
        raise CaptionsError(f"The folder of photos {images} is not there; name it with --images.")
    matcher = PhotoMatcher(images)
    file = matcher.matched(read_captions(captions, matcher.find), names)
    good, bad, cut = _decoded(file, images, bars) if check else (file.rows, [], [])
    bad = sorted([*file.bad, *bad], key=lambda row: _number(row.where))
    if not good:
        first = f"; the first: {bad[0]}" if bad else ""
        raise CaptionsError(f"No row of {captions} can be used with the photos in {images}{first}.")
    grouped: dict[str, list[str]] = {}
    for row in good:
        grouped.setdefault(row.image, []).append(row.caption)
    dataset = Dataset(tuple(CaptionedImage(name, images / name, tuple(texts)) for name, texts in grouped.items()))
    notes, total = list(file.notes), len(file.rows) + len(file.bad)
    if cut:
        notes.append(f"Photos that lack their last bytes, used as far as they go: {listed(cut)}.")
    if names is None:
        beside = Path(captions).parent
        splits, source, more = splits_in(good), "the caption file", ""
        if not splits:
            (splits, unknown), source = splits_beside(grouped, beside, matcher.find), f"the lists in {beside}"
            more = f" Names in them that are of no image with captions: {listed(unknown)}." if unknown else ""
        if not splits:
            splits, source = draw_splits(grouped, ratios, seed), ""
        dataset = _with_splits(dataset, splits)
        left_out = len(grouped) - len(dataset)
        more += f" Images without a split, which are left out: {left_out:,}." if left_out else ""
        notes += [f"The splits are those of {source}.{more}"] if source else []
    return Checked(dataset, tuple(bad), total, tuple(map(printable, notes)))


def _with_splits(dataset: Dataset, splits: Mapping[str, str]) -> Dataset:
    """Give images their splits; training needs each caption of an image once."""
    return Dataset(
        tuple(
            replace(
                image,
                split=splits[image.name],
                captions=tuple(dict.fromkeys(image.captions)) if splits[image.name] == "train" else image.captions,
            )
            for image in dataset.images
            if image.name in splits
        )
    )


def _number(where: str) -> tuple[int, ...]:
    return tuple(int(part) for part in "".join(c if c.isdigit() else " " for c in where).split())


def _decoded(file: CaptionFile, folder: Path, bars: Bars) -> tuple[list[CaptionRow], list[BadRow], list[str]]:
    """Decode every photo once, at a small scale; return the rows, those of broken photos, and which photos are cut short."""
    names, cut = list(dict.fromkeys(row.image for row in file.rows)), []

    def reason(name: str) -> str | None:
        try:
            if CUT_SHORT in load_photo(folder / name, at_least=32, name="the photo").info:
                cut.append(name)
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
    return good, bad, sorted(cut)


def refuse_if_many_bad(checked: Checked, captions: Path, skip_bad: bool) -> None:
    """Raise CrossmodalError when more than 1 % of the rows are bad and the user did not accept that."""
    if len(checked.bad) > BAD_ROWS_ALLOWED * checked.rows and not skip_bad:
        raise CrossmodalError(
            f"{len(checked.bad)} of {checked.rows} rows of {captions} cannot be used (listed above), more than "
            f"1 %; mend them, or go on without them with --skip-bad."
        )
