"""The file of an index's vectors: written whole, and what killed runs left of others removed."""

import contextlib
import os
import re
from pathlib import Path

from crossmodal.files import remove_leftovers
from crossmodal.photos.meta import VECTORS


def write_whole(file: int, content: bytes, at: int) -> None:
    """Write all of some bytes into an open file, from a place on; raises OSError where the disk refuses."""
    while content:
        written = os.pwrite(file, content, at)
        content, at = content[written:], at + written


def remove_strays(folder: Path, vectors: str) -> None:
    """Remove the files of vectors that the index no longer names, and what killed writers left."""
    for path in folder.glob("vectors-*.f32"):
        if path.name != vectors and re.fullmatch(VECTORS, path.name):
            with contextlib.suppress(OSError):
                path.unlink()
    remove_leftovers(folder)
