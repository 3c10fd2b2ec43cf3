"""What is known of a photo: its record, and the fields of it that are shown, filtered by and stored elsewhere."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crossmodal.data.limits import KEYWORDS
from crossmodal.files import shown

ORIENTATIONS = ("landscape", "portrait", "square")


LARGEST = 2**63 - 1  # integer that SQLite holds


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be a photo: its path from the root, bytes, and times of change in nanoseconds.

    `inode` and `status_changed` tell of a change that kept size and time; 0 where the system has none.
    """

    path: str
    size: int
    changed: int
    inode: int = 0
    status_changed: int = 0

    @staticmethod
    def of(path: str, stat: os.stat_result) -> "Found":
        """Return what the system says of a file, in numbers that SQLite holds (of times: the years 1678 to 2262)."""
        times = (max(-LARGEST, min(LARGEST, time)) for time in (stat.st_mtime_ns, stat.st_ctime_ns))
        changed, status_changed = times
        return Found(path, stat.st_size, changed, stat.st_ino & LARGEST, status_changed)

    @property
    def state(self) -> tuple[int, int, int, int]:
        """What differs once a file was changed."""
        return self.size, self.changed, self.inode, self.status_changed


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of a photo beside its vector: content, size, time taken (seconds), camera, look, and what is written in it.

    Keywords stand in one text with limits.KEYWORDS between them, and the names of a place with commas. A position is in degrees,
    None where the camera wrote none. The text in the photo is None where nobody looked for it.
    """

    digest: bytes
    width: int
    height: int
    taken: float | None
    camera: str
    look: int  # 64 bits, of which similar photos share most
    title: str = ""
    keywords: str = ""
    description: str = ""
    place: str = ""
    latitude: float | None = None
    longitude: float | None = None
    text: str | None = None


NOT_DESCRIBED = Described(b"", 0, 0, None, "", 0)


@dataclass(frozen=True, slots=True)
class Photo:
    """A record: the file, the slot of its vector, what is known of it, and its own captions, where it has some."""

    found: Found
    slot: int = 0
    described: Described = NOT_DESCRIBED
    captions: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The path from the root of the gallery."""
        return self.found.path

    @property
    def name(self) -> str:
        """The path as it can be shown."""
        return shown(self.found.path)

    @property
    def folder(self) -> str:
        """The folder of the photo, from the root of the gallery; "" is the root itself."""
        return self.found.path.rpartition("/")[0]

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.described.width * self.described.height

    @property
    def date(self) -> float:
        """When the photo was taken, or else last written, in seconds."""
        return self.found.changed / 1e9 if self.described.taken is None else self.described.taken

    @property
    def orientation(self) -> str:
        """Landscape, portrait or square."""
        width, height = self.described.width, self.described.height
        return "square" if width == height else ORIENTATIONS[width < height]


@dataclass(frozen=True)
class RecordField:
    """A fact about a photo: how other programs call it, its type, where it comes from, how it is written."""

    name: str
    type: type[int] | type[float] | type[str]
    of: Callable[[Photo], Any]
    plain: Callable[[Any], Any] | None = None  # its form in JSON and CSV; None where it is not shown
    between: str = ""  # what stands between its values, where its text holds several


def iso(seconds: float) -> str:
    """Return a time in seconds as ISO 8601, local time."""
    return datetime.fromtimestamp(seconds).isoformat(timespec="seconds")


def _same(value: Any) -> Any:
    return value


def _keywords(text: str) -> list[str]:
    return text.split(KEYWORDS) if text else []


FIELDS: Mapping[str, RecordField] = {
    field.name: field
    for field in (
        RecordField("path", str, lambda photo: photo.path),
        RecordField("folder", str, lambda photo: photo.folder),
        RecordField("date", float, lambda photo: photo.date, iso),
        RecordField("width", int, lambda photo: photo.described.width, _same),
        RecordField("height", int, lambda photo: photo.described.height, _same),
        RecordField("pixels", int, lambda photo: photo.pixels),
        RecordField("orientation", str, lambda photo: photo.orientation, _same),
        RecordField("camera", str, lambda photo: photo.described.camera, _same),
        RecordField("title", str, lambda photo: photo.described.title, _same),
        RecordField("keywords", str, lambda photo: photo.described.keywords, _keywords, KEYWORDS),
        RecordField("description", str, lambda photo: photo.described.description, _same),
        RecordField("place", str, lambda photo: photo.described.place, _same),
        RecordField("text", str, lambda photo: photo.described.text or "", _same),
        RecordField("bytes", int, lambda photo: photo.found.size, _same),
        RecordField("look", int, lambda photo: photo.described.look),
    )
}
# What a gallery of described photos knows; the path alone is known of every photo.
DESCRIBED = frozenset(FIELDS)


def facts(photo: Photo, known: frozenset[str]) -> dict[str, Any]:
    """Return the facts about a photo that are shown, of those that its gallery knows."""
    return {name: field.plain(field.of(photo)) for name, field in FIELDS.items() if field.plain and name in known}
