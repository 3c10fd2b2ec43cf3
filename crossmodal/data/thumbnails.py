"""Photos as a browser can show them: cached thumbnails, and JPEG in place of formats that it does not know."""

import hashlib
import os
from enum import IntEnum
from pathlib import Path

from crossmodal.data.decoders import shown_photos
from crossmodal.data.prepared import Wanted
from crossmodal.errors import CrossmodalError
from crossmodal.files import cache_folder, whole_file

LARGE = 2048  # pixels of the longer side of a whole photo


class Size(IntEnum):
    """The sizes of thumbnails, in pixels of the longer side: few, since each is cached."""

    TINY = 64
    SMALL = 128
    MIDDLE = 256
    BIG = 512
    HUGE = 1024


def thumbnail(path: Path, size: int) -> tuple[bytes, str]:
    """Return a JPEG of at most `size` pixels, and its ETag; raises as `as_jpeg`, and OSError where the file is gone."""
    stat = path.stat()
    about = f"{os.fspath(path)!r} {stat.st_mtime_ns} {stat.st_size} {size}"
    tag = hashlib.blake2b(about.encode(), digest_size=16).hexdigest()
    kept = cache_folder() / "thumbnails" / tag[:2] / f"{tag}.jpg"
    try:
        return kept.read_bytes(), tag
    except OSError:
        content = as_jpeg(path, size)
    try:
        with whole_file(kept) as temporary:
            temporary.write_bytes(content)
    except CrossmodalError:  # a full or read-only disk: it is made each time
        return content, tag
    return content, tag


def as_jpeg(path: Path, size: int = LARGE) -> bytes:
    """Return a photo upright as JPEG of at most `size` pixels, without the data that cameras write into files.

    Raises PhotoError, and BusyError where too many are decoded already.
    """
    return shown_photos()(path, Wanted(jpeg=size, label=str(path))).jpeg
