"""Matches the image names of a caption file with the files of a folder of photos."""

import os
from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from crossmodal.data.captions import BadRow, CaptionFile, CaptionRow
from crossmodal.data.names import KnownNames
from crossmodal.errors import CaptionsError
from crossmodal.files import listed

SUGGESTIONS = 5  # names for which "did you mean" is looked for, since each look is slow


class PhotoMatcher:
    """Finds the file that an image name means."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._root = folder, folder.resolve()
        self._inside: dict[str, bool] = {}
        self._suggestions = 0

    @cached_property
    def _files(self) -> KnownNames:
        """All files of the folder, listed only once a name is not a file's exact name."""
        return KnownNames.below(self._folder)

    def find(self, written: str) -> str | None:
        """Return the name of the one file that `written` means, relative to the folder; None where there is none."""
        if not written or "\0" in written:
            return None
        path = os.path.normpath(self._folder / written)
        exact = os.path.isfile(path)
        name = Path(os.path.relpath(path, self._folder)).as_posix() if exact else self._files.find(written)
        if name is None:
            return None
        path = os.path.normpath(self._folder / name)
        # A folder is resolved once for all its files; a file only where it is a link.
        return name if self._is_inside(path if os.path.islink(path) else os.path.dirname(path)) else None

    def _is_inside(self, path: str) -> bool:
        if path not in self._inside:
            self._inside[path] = Path(path).resolve().is_relative_to(self._root)
        return self._inside[path]

    def matched(self, file: CaptionFile, wanted: Collection[str] | None) -> CaptionFile:
        """Return the captions with images named as their files; rows without a file become bad ones.

        With `wanted` only the rows of these images are kept; raises CaptionsError when one of them has none.
        """
        spellings = [row.image for row in file.rows] + [row.image for row in file.bad]
        found = {written: self.find(written) for written in dict.fromkeys(spellings)}
        if wanted is not None:
            file = self._only(file, found, {name: found.get(name) or self.find(name) or name for name in wanted})
        rows: list[CaptionRow] = []
        bad = list(file.bad)
        for row in file.rows:
            name = found[row.image]
            if name is None:
                bad.append(BadRow(row.where, row.image, self._reason(row.image)))
            else:
                rows.append(row if name == row.image else replace(row, image=name))
        notes = [*file.notes]
        otherwise = [(written, name) for written, name in found.items() if name and name != written]
        if otherwise:
            written, name = otherwise[0]
            notes.append(
                f"Image names matched to files by another spelling: {len(otherwise):,}, such as {written} to {name}."
            )
        return CaptionFile(file.path, tuple(rows), tuple(bad), tuple(notes))

    def _only(self, file: CaptionFile, found: dict[str, str | None], wanted: dict[str, str]) -> CaptionFile:
        names = set(wanted.values())
        rows = tuple(row for row in file.rows if (found[row.image] or row.image) in names)
        bad = tuple(row for row in file.bad if (found[row.image] or row.image) in names)
        there = {found[row.image] or row.image for row in rows} | {found[row.image] or row.image for row in bad}
        absent = sorted(written for written, name in wanted.items() if name not in there)
        if absent:
            raise CaptionsError(
                f"{len(absent)} of the {len(wanted)} listed images have no row in {file.path}, the first is {absent[0]}; "
                "correct the list or the captions."
            )
        return replace(file, rows=rows, bad=bad)

    def _reason(self, written: str) -> str:
        if "\0" in written:
            return "the image name cannot be a file's name"
        path = os.path.abspath(self._folder / written)
        if os.path.isfile(path) or not Path(path).is_relative_to(os.path.abspath(self._folder)):
            return "the image name leads out of the folder of photos"
        if len(several := self._files.fitting(written)) > 1:
            return f"several files have this name: {listed(several)}"
        self._suggestions += 1
        near = self._files.nearest(written) if self._suggestions <= SUGGESTIONS else None
        return f"no such file in {self._folder}" + (f"; did you mean {near}?" if near else "")
