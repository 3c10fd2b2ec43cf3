"""Captions that a user writes under photos of an index: a file beside it, which training reads as any other."""

import csv
import hashlib
import io
import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import filelock

from crossmodal.errors import CrossmodalError, has_controls
from crossmodal.files import read_bounded, stays_below, write_text

OWN_CAPTIONS = "captions.csv"
COLUMNS = ["image", "caption", "split"]
LONGEST_CAPTION = 500  # characters
MOST_BYTES = 50_000_000
WAIT = 10.0  # seconds for another process that is writing
# A fifth is held out to measure on: of 50 photos ten, so that one caption more or less is ten points.
NEEDED = 50  # photos with a caption
TEST, VAL = 0.2, 0.35  # below these shares a photo is of the split; the others are trained on
LEAST = {"test": 5, "val": 3}  # photos
# Batches of a recipe for thousands of photos would hold all of these, and an epoch would be one step.
EPOCHS, BATCH = 8, 64


@dataclass(frozen=True)
class Edit:
    """A change of one caption of a photo, which is named by its path from the root: "" is one that is not there."""

    photo: str
    old: str
    new: str


@dataclass(frozen=True)
class Counted:
    """How many captions there are, of how many photos, by split, and how many captions are of photos that are gone."""

    captions: int
    splits: Counter[str]
    gone: int

    @property
    def photos(self) -> int:
        """The photos that can be trained on, or measured on."""
        return self.splits.total()

    @property
    def wanting(self) -> str:
        """What is wanting before a model can learn from them, in a sentence; "" where nothing is."""
        if self.photos < NEEDED:
            return f"{self.photos} of {NEEDED} photos have a caption of yours; a model can learn from {NEEDED}."
        if any(self.splits[split] < least for split, least in LEAST.items()):
            return "Too few of these photos are among those to measure on, which are drawn by their names; write some more."
        return ""


def split_of(photo: str) -> str:
    """Return the split of a photo, drawn by its path alone.

    So it stays whatever else gets a caption, and a model that is trained again is measured on photos that it never saw.
    """
    drawn = int.from_bytes(hashlib.sha256(photo.encode()).digest()[:4], "big") / 2**32
    return "test" if drawn < TEST else "val" if drawn < VAL else "train"


class OwnCaptions:
    """The captions in a file; several threads and processes may use it."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def captions(self) -> dict[str, list[str]]:
        """Return the captions by the path of their photo, in the order they were written; none where there is no file.

        Raises CrossmodalError for a broken file, which may be another's.
        """
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise self._broken("it is no regular file")
            text = read_bounded(self.path, MOST_BYTES).decode("utf-8-sig")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise CrossmodalError(f"{self.path.name} cannot be read ({error.strerror}).") from error
        except UnicodeDecodeError as error:
            raise self._broken("it is not UTF-8") from error
        return self._parsed(text)

    def _parsed(self, text: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            if next(rows, [])[:2] != COLUMNS[:2]:
                raise self._broken(f"its first line is not {','.join(COLUMNS)}")
            for row in rows:
                if not row:
                    continue
                if len(row) < 2 or not stays_below(row[0]) or not row[1].strip():
                    raise self._broken(f"line {rows.line_num} is no caption of a photo below the folder")
                found.setdefault(row[0], []).append(row[1])
        except csv.Error as error:
            raise self._broken(f"line {rows.line_num}: {error}") from error
        return found

    def edit(self, edits: Iterable[Edit]) -> None:
        """Make changes, all or none; a caption that another session has taken away meanwhile is not missed.

        Raises CrossmodalError for captions that are too long, for names that no caption file can hold, and where the file is
        broken or cannot be written.
        """
        edits = [Edit(one.photo, one.old, _one_line(one.new)) for one in edits]
        for photo in {one.photo for one in edits if one.new}:
            _check_name(photo)
        try:
            with filelock.FileLock(self.path.with_name(f"{self.path.name}.lock"), timeout=WAIT):
                kept = self.captions()
                for one in edits:
                    kept[one.photo] = _changed(kept.get(one.photo, []), one)
                self._write(kept)
        except filelock.Timeout as error:
            raise CrossmodalError(f"Another program is changing {self.path}; try again in a moment.") from error
        except OSError as error:
            raise CrossmodalError(
                f"{self.path} cannot be written ({error.strerror}); captions are kept beside the index, in a folder that can."
            ) from error

    def _write(self, captions: dict[str, list[str]]) -> None:
        file = io.StringIO(newline="")
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows((photo, one, split_of(photo)) for photo, ones in captions.items() for one in ones)
        write_text(self.path, file.getvalue())

    def counted(self, root: Path) -> Counted:
        """Count the captions, those of photos that are not below `root` any more apart; raises as `captions`."""
        captions, whole = self.captions(), root.resolve()
        there = [photo for photo in captions if _is_below(whole, photo)]
        return Counted(
            sum(len(captions[photo]) for photo in there),
            Counter(map(split_of, there)),
            sum(map(len, captions.values())) - sum(len(captions[photo]) for photo in there),
        )

    def _broken(self, what: str) -> CrossmodalError:
        return CrossmodalError(
            f"{self.path.name} is broken ({what:.120}); mend it, or delete it and write captions again."
        )


def _is_below(root: Path, photo: str) -> bool:
    """Say whether a photo is there; links that lead elsewhere are not trained on."""
    path = root / photo
    return os.path.isfile(path) and path.resolve().is_relative_to(root)


def _one_line(caption: str) -> str:
    caption = " ".join(caption.split())
    if len(caption) > LONGEST_CAPTION or has_controls(caption):
        raise CrossmodalError(
            f"A caption has at most {LONGEST_CAPTION} printable characters; {caption!r:.40}... does not."
        )
    return caption


def _check_name(photo: str) -> None:
    if has_controls(photo) or photo != photo.strip():
        raise CrossmodalError(f"{photo!r:.80} cannot stand in a caption file; rename the photo and index it again.")


def _changed(captions: list[str], edit: Edit) -> list[str]:
    """Return the captions of a photo after an edit, each of them once."""
    renewed = [edit.new if one == edit.old else one for one in captions]
    return [one for one in dict.fromkeys([*renewed, edit.new]) if one]


def training_options(start: Path, captions: Path, images: Path, output: Path) -> list[str]:
    """Return the trainer's options to train a checkpoint further on captions of a user's own."""
    places = {"--start-from": start, "--captions": captions, "--images": images, "--output": output}
    options = [str(part) for pair in places.items() for part in pair]
    # Photos may have vanished since, hence the last one.
    return [*options, "--epochs", str(EPOCHS), "--batch-size", str(BATCH), "--skip-bad"]
