"""Folders as a gallery spells them, whatever door asks for them."""

import os
from dataclasses import replace
from pathlib import PurePosixPath

from crossmodal.data.names import KnownNames
from crossmodal.errors import CrossmodalError
from crossmodal.files import shown
from crossmodal.search.filters import Filters, several
from crossmodal.search.gallery import Gallery


def as_spelled(filters: Filters, gallery: Gallery) -> Filters:
    """Return filters whose folders are spelled as in the gallery, which knows folders.

    Raises CrossmodalError for a folder that only looks like one of the gallery's.
    """
    asked = [folder.strip("/") for folder in several(filters.folder)]
    if not any(folder not in ("", ".") for folder in asked):
        return filters
    known = known_folders(gallery)
    if known.issuperset(asked):
        return filters
    names = KnownNames(known, gallery.about.root)
    return replace(filters, folder=tuple(_spelled(folder, names) for folder in asked))


def known_folders(gallery: Gallery) -> set[str]:
    """Return the folders that photos are in or below, as paths from the root."""
    below = map(PurePosixPath, gallery.values("folder"))
    return {str(one) for folder in below for one in (folder, *folder.parents)} - {"."}


def _spelled(folder: str, names: KnownNames) -> str:
    found = names.find(folder) or names.find(os.path.normpath(folder))
    if not found and (near := names.nearest(folder)):
        raise CrossmodalError(f"There is no photo in the folder {shown(folder)}; did you mean {shown(near)}?")
    return found or folder
