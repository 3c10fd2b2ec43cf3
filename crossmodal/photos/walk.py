"""Which files of a folder are photos, and what tells whether they changed."""

import fnmatch
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from crossmodal.search.record import Found

ENDINGS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .dib .tif .tiff .heic .heif .hif .avif".split()
)  # fmt: skip
INDEX_FOLDER = ".crossmodal"


def walk(root: Path, excluded: Sequence[str], unreadable: Callable[[str], None]) -> Iterator[Found]:
    """Yield the photos below `root`, folder by folder, by their names; links are followed, each folder once.

    Hidden folders are passed over, and files and folders whose name, or path from the root, matches one
    of the shell patterns `excluded`. `unreadable` is told of folders that cannot be listed.
    """
    seen: set[tuple[int, int]] = set()

    def left_out(path: str) -> bool:
        name = path.rpartition("/")[2]
        return any(fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(path, pattern) for pattern in excluded)

    def listed(folder: str) -> list[os.DirEntry[str]]:
        at = os.stat(os.path.join(root, folder))
        if (at.st_dev, at.st_ino) in seen:  # a link back to where we are, or to where we were
            return []
        seen.add((at.st_dev, at.st_ino))
        with os.scandir(os.path.join(root, folder)) as entries:
            return sorted(entries, key=lambda entry: entry.name)

    folders = [""]  # a list rather than calls of calls, for folders may lie deeper than those may
    while folders:
        folder = folders.pop()
        below = []
        try:
            entries = listed(folder)
        except OSError:
            unreadable(folder)
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                if entry.is_dir():
                    if not entry.name.startswith(".") and not left_out(path):
                        below.append(path)
                elif os.path.splitext(entry.name)[1].lower() in ENDINGS and entry.is_file() and not left_out(path):
                    stat = entry.stat()
                    yield Found(path, stat.st_size, stat.st_mtime_ns)
            except OSError:  # gone since it was listed, or a link to nowhere
                continue
        folders += reversed(below)
