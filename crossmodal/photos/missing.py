"""Folders whose photos are gone with all else in them: deleted, or on a disk that is away?"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path


def missing_folders(root: Path, lost: Sequence[str], present: Collection[str]) -> tuple[dict[str, int], set[str]]:
    """Return folders that lost two photos or more and hold no file now, each with how many, and these photos.

    They may lie on a disk that is away, of which an empty folder is left, or none. Of nested ones the topmost counts.
    """
    alive: set[str] = set()
    for path in present:
        folder = path.rpartition("/")[0]
        while folder not in alive:
            alive.add(folder)
            folder = folder.rpartition("/")[0]
    empty: dict[str, bool] = {}

    def is_empty(folder: str) -> bool:
        if folder not in empty:
            empty[folder] = folder not in alive and not _holds_a_file(root / folder)
        return empty[folder]

    photos: dict[str, list[str]] = {}
    for path in lost:
        folder = path.rpartition("/")[0]
        if is_empty(folder):
            while folder and is_empty(above := folder.rpartition("/")[0]):
                folder = above
            photos.setdefault(folder, []).append(path)
    photos = {folder: paths for folder, paths in photos.items() if len(paths) > 1}
    return {folder: len(paths) for folder, paths in photos.items()}, {
        path for paths in photos.values() for path in paths
    }


def _holds_a_file(folder: Path) -> bool:
    """Say whether there is any file in a folder or below it, but for hidden ones such as the index's own."""
    for _, below, files in os.walk(folder):
        if any(not name.startswith(".") for name in files):
            return True
        below[:] = [name for name in below if not name.startswith(".")]
    return False
