"""Which photos may be found: by folder, date, size, orientation, camera."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np

from crossmodal.errors import CrossmodalError
from crossmodal.photos.store import Photo

NOT_OF_A_RUN = "Filters and dates are for an index of photos; this is the gallery of a training run."
ORIENTATIONS = ("landscape", "portrait", "square")


@dataclass(frozen=True)
class Filters:
    """What a photo must be; None asks for nothing."""

    folder: str | None = None  # from the root of the photos, with all below it
    after: date | None = None  # taken on this day or later
    before: date | None = None  # taken on this day or earlier
    megapixels: float | None = None  # at least
    orientation: str | None = None
    camera: str | None = None  # a part of its name, in any case

    def check(self) -> None:
        """Raise CrossmodalError for values that nothing can be."""
        if self.orientation not in (None, *ORIENTATIONS):
            raise CrossmodalError(
                f"The orientation {self.orientation} is not known; there is {', '.join(ORIENTATIONS)}."
            )
        if self.after and self.before and self.after > self.before:
            raise CrossmodalError(f"Nothing was taken after {self.after} and before {self.before}.")

    def mask(self, photos: Sequence[Photo]) -> np.ndarray | None:
        """Return which photos pass [N], or None where all do."""
        self.check()
        if self == Filters():
            return None
        return np.fromiter((self._passes(photo) for photo in photos), bool, len(photos))

    def _passes(self, photo: Photo) -> bool:
        width, height = photo.described.width, photo.described.height
        if self.folder is not None and not photo.found.path.startswith(below(self.folder)):
            return False
        if self.megapixels is not None and width * height < self.megapixels * 1e6:
            return False
        if self.orientation is not None and orientation_of(width, height) != self.orientation:
            return False
        if self.camera is not None and self.camera.lower() not in photo.described.camera.lower():
            return False
        if self.after is None and self.before is None:
            return True
        low, high = self.period()
        return low <= date_of(photo) < high

    def period(self) -> tuple[float, float]:
        """Return from when on and until before when, in seconds; infinite where nothing is asked."""
        low = datetime.combine(self.after, time()).timestamp() if self.after else float("-inf")
        high = datetime.combine(self.before + timedelta(days=1), time()).timestamp() if self.before else float("inf")
        return low, high


def below(folder: str) -> str:
    """Return what the path of every photo in a folder, or below it, begins with."""
    folder = folder.strip("/")
    return "" if folder in ("", ".") else f"{folder}/"


def orientation_of(width: int, height: int) -> str:
    """Return landscape, portrait or square."""
    return "square" if width == height else ORIENTATIONS[width < height]


def date_of(photo: Photo) -> float:
    """Return when a photo was taken, or else last written, in seconds."""
    return photo.found.changed / 1e9 if photo.described.taken is None else photo.described.taken
