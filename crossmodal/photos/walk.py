"""Which files of a folder are photos, and what tells whether they changed."""

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from crossmodal.data.names import is_photo
from crossmodal.search.record import Found

INDEX_FOLDER = ".crossmodal"
# What file servers, systems and programs keep beside photos: thumbnails, waste, the second half of a Mac's files.
SYSTEM = (
    "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", ".Trash*", "._*", "__MACOSX",
    "node_modules",
)  # fmt: skip


class Excluded:
    """The names that are left out: those the user names, hidden folders, and SYSTEM but for what is `included`."""

    def __init__(self, excluded: Sequence[str] = (), included: Sequence[str] = ()) -> None:
        """Shell patterns of names, or of paths from the root."""
        self._excluded, self._included = _matching(excluded), _matching(included)
        self._system = _matching(SYSTEM, re.IGNORECASE)

    def file(self, path: str) -> bool:
        """Say whether a file is left out for its own name or path."""
        return self._excluded(path) or bool(self.system(path))

    def folder(self, path: str) -> bool:
        """Say whether a folder is left out for its own name or path."""
        hidden = path.rpartition("/")[2].startswith(".") and not self._included(path)
        return hidden or self.file(path)

    def system(self, path: str) -> str:
        """Return the pattern of SYSTEM that leaves a file or folder out, or nothing."""
        name = path.rpartition("/")[2]
        if not self._system(name) or self._included(path):
            return ""
        return next(pattern for pattern in SYSTEM if fnmatch.fnmatchcase(name.lower(), pattern.lower()))

    def below(self, path: str) -> bool:
        """Say whether a file is left out for its name or for that of a folder above it."""
        parts = path.split("/")
        return self.file(path) or any(self.folder("/".join(parts[:depth])) for depth in range(1, len(parts)))


def _matching(patterns: Sequence[str], flags: int = 0) -> Callable[[str], bool]:
    """Return what says whether one of the patterns matches a path's name, or the path."""
    if not patterns:
        return lambda path: False
    match = re.compile("|".join(map(fnmatch.translate, patterns)), flags).match
    return lambda path: bool(match(path.rpartition("/")[2]) or match(path))


def walk(
    root: Path,
    excluded: Sequence[str],
    unreadable: Callable[[str], None],
    included: Sequence[str] = (),
    system: Callable[[str], None] = lambda path: None,
) -> Iterator[Found]:
    """Yield the files below `root` that are photos by their names, folder by folder; links are followed, each folder once.

    Pipes, devices and links to nowhere are among them: whoever reads them says why they cannot be used.
    Patterns as for Excluded. `unreadable` is told of folders that cannot be listed, `system` of the
    pattern of SYSTEM that leaves a file or folder out.
    """
    without = Excluded(excluded, included)
    seen: set[tuple[int, int]] = set()

    def listed(folder: str) -> list[os.DirEntry[str]]:
        at = os.stat(os.path.join(root, folder))
        if (at.st_dev, at.st_ino) in seen:  # a link back to where we are, or to where we were
            return []
        seen.add((at.st_dev, at.st_ino))
        with os.scandir(os.path.join(root, folder)) as entries:
            return sorted(entries, key=lambda entry: entry.name)

    folders = [""]  # a stack of our own: folders may lie deeper than calls may be nested
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
                is_folder = _is_folder(entry)
                if not is_folder and not is_photo(path):
                    continue
                if without.folder(path) if is_folder else without.file(path):
                    if pattern := without.system(path):
                        system(pattern)
                elif is_folder:
                    below.append(path)
                else:
                    yield Found.of(path, _state(entry))
            except OSError:  # gone since it was listed
                continue
        folders += reversed(below)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _state(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except OSError:  # a link to nowhere, or to itself
        return entry.stat(follow_symlinks=False)
