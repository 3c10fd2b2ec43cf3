"""Names of files: which are photos, which one a written name means, and which every system can store."""

import difflib
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

ENDINGS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .dib .tif .tiff .heic .heif .hif .avif".split()
)  # fmt: skip
UNSAFE = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')  # what Windows forbids in names
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # devices of Windows, whatever suffix they have
SUFFIX = re.compile(r"\.[A-Za-z]{3,4}$")
LEAST_ALIKE = 0.75


class KnownNames:
    """Known names, such as `photos/p0.jpg`, and which of them another spelling means.

    `folder` is the path of the folder that holds them: a written name may repeat it.
    """

    def __init__(self, names: Iterable[str], folder: Path | None = None) -> None:
        self._names = list(names)
        self._exact = set(self._names)
        self._parents = Path(os.path.abspath(folder)).parts if folder else ()
        self._spellings: list[dict[str, list[str]]] = [{}, {}, {}]
        for name in self._names:
            for found, key in zip(self._spellings, _keys(name, bare=True), strict=True):
                found.setdefault(key, []).append(name)

    @staticmethod
    def below(folder: Path) -> "KnownNames":
        """Return the names of all files below a folder, relative to it."""
        files = (Path(parent, file) for parent, _, files in os.walk(folder) for file in files)
        return KnownNames((file.relative_to(folder).as_posix() for file in files), folder)

    def find(self, written: str) -> str | None:
        """Return the one known name that `written` means, or None where none fits or several do; of several, the one photo.

        Unicode forms, slashes and upper and lower case may differ, the suffix may be missing, and the folder's own
        name may be repeated in front; the closest of these spellings decides.
        """
        fits = self.fitting(written)
        if len(fits) > 1:
            fits = [name for name in fits if is_photo(name)]
        return fits[0] if len(fits) == 1 else None

    def fitting(self, written: str) -> list[str]:
        """Return all known names that `written` means, by the closest spelling that any has (see `find`)."""
        if written in self._exact:
            return [written]
        for spelling in (written, self._without_parents(written)):
            for found, key in zip(self._spellings, _keys(spelling, bare=False), strict=True):
                if key in found:
                    return found[key]
        return []

    def nearest(self, written: str) -> str | None:
        """Return the known name that looks most like `written`, for "did you mean"; slow among many names."""
        folded, spelled = [_plain(name).casefold() for name in self._names], _plain(written).casefold()
        # Of a path from another place the file's own name may still be known.
        last = [name.rpartition("/")[2] for name in folded], spelled.rpartition("/")[2]
        for names, name in ((folded, spelled), last):
            if near := difflib.get_close_matches(name[:200], names, 1, LEAST_ALIKE):
                return self._names[names.index(near[0])]
        return None

    def _without_parents(self, written: str) -> str:
        """Return a name without the folders that it repeats: `images/p0.jpg` in `.../images` is `p0.jpg`."""
        parts = Path(_plain(written)).parts
        folded = [part.casefold() for part in parts]
        parents = [_plain(part).casefold() for part in self._parents]
        repeated = max(
            (
                count
                for count in range(min(len(parts), len(parents)) + 1)
                if folded[:count] == parents[len(parents) - count :]
            ),
            default=0,
        )
        return "/".join(parts[repeated:])


def is_photo(path: str) -> bool:
    """Say whether a file may be a photo by its name."""
    return os.path.splitext(path)[1].lower() in ENDINGS


def safe_name(path: str) -> str:
    """Return a relative path that every system can store, Windows too, and that leads nowhere else."""
    return "/".join(_safe_part(part) for part in path.split("/") if part) or "_"


def _safe_part(part: str) -> str:
    safe = UNSAFE.sub("_", part).rstrip(". ") or "_"
    return f"_{safe}" if RESERVED.fullmatch(safe) else safe


def safe_names(paths: Iterable[str]) -> list[str]:
    """Return `safe_name` of each path, numbered where two would be one file to a system that ignores case."""
    taken: set[str] = set()
    names = []
    for path in paths:
        stem, suffix = os.path.splitext(safe_name(path))
        name, number = stem + suffix, 1
        while unicodedata.normalize("NFC", name).casefold() in taken:
            number += 1
            name = f"{stem} ({number}){suffix}"
        taken.add(unicodedata.normalize("NFC", name).casefold())
        names.append(name)
    return names


def _plain(name: str) -> str:
    """Return a name in Unicode's composed form and with forward slashes alone."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")


def _keys(name: str, bare: bool) -> tuple[str, str, str]:
    """Return the spellings by which a name is found, closest first; the last has no suffix if `bare`."""
    plain = _plain(name)
    folded = plain.casefold()
    return plain, folded, SUFFIX.sub("", folded) if bare else folded
