"""Folders in which no photo is found any more: deleted, or on a disk that is away?"""

from collections.abc import Collection, Sequence


def missing_folders(lost: Sequence[str], present: Collection[str]) -> tuple[dict[str, int], set[str]]:
    """Return folders that had photos and have none now, each with how many, and these photos.

    `lost` are the paths of photos that are gone, and `present` those that are there. The photos may lie on a disk that is away, of
    which an empty folder is left, or none. Of nested folders the topmost counts; "" is the root.
    """
    alive: set[str] = set()
    for path in present:
        folder = path.rpartition("/")[0]
        while folder not in alive:
            alive.add(folder)
            folder = folder.rpartition("/")[0]
    photos: dict[str, list[str]] = {}
    for path in lost:
        folder = path.rpartition("/")[0]
        if folder not in alive:
            while folder and (above := folder.rpartition("/")[0]) not in alive:
                folder = above
            photos.setdefault(folder, []).append(path)
    return {folder: len(paths) for folder, paths in photos.items()}, {
        path for paths in photos.values() for path in paths
    }
