"""Reading a photo file: the digest of its content, its pixels, and what it says of itself."""

import hashlib
import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossmodal.data.limits import WRITTEN
from crossmodal.data.prepared import Prepared
from crossmodal.errors import PhotoError
from crossmodal.files import opened_unblocked
from crossmodal.photos.meta import DIGEST_BYTES
from crossmodal.photos.place_names import place_name
from crossmodal.search.record import Described, Found

PART = 1 << 24  # bytes that are read at once
IN_MEMORY = 64_000_000  # bytes; larger files are read twice rather than held
MOST = 2_000_000_000  # bytes; no photo of a size that is decoded needs more
TOO_LARGE = f"it has more than the {MOST // 10**9} GB that are read"

Prepare = Callable[[bytes | Path], Prepared]  # decodes a file's content, or the file; raises PhotoError


@dataclass(frozen=True)
class Read:
    """What became of one file: known by its content, described with its pixels, skipped, or gone."""

    found: Found
    digest: bytes = b""
    described: Described | None = None
    pixels: np.ndarray | None = None
    cut_short: bool = False
    reason: str = ""
    gone: bool = False


def read_photo(root: Path, found: Found, prepare: Prepare, known: Collection[bytes]) -> Read:
    """Read a file; decode it unless its content is `known`. Nothing is raised: every failure is a reason."""
    path = root / found.path
    if found.size > MOST:
        return Read(found, reason=TOO_LARGE)
    try:
        digest, content = content_of(path, found.size)
    except FileNotFoundError:
        return Read(found, gone=True, reason="it is a link to a file that is not there" if path.is_symlink() else "")
    except OSError as error:
        return Read(found, reason=f"it cannot be read ({error.strerror})")
    if digest is None:
        return Read(found, reason="it changed while it was read, or is no ordinary file")
    if digest in known:
        return Read(found, digest)
    return read_content(found, digest, path if content is None else content, prepare)


def content_of(path: Path, size: int) -> tuple[bytes | None, bytes | None]:
    """Return the digest of a file, and its bytes unless they are too many to be held.

    What is no ordinary file may block, or never end: no more than `size` bytes are read, and both are None where
    the file holds more, or fewer.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a device may already do something
        return None, None
    with opened_unblocked(path) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None, None
        digest, parts, rest = hashlib.blake2b(digest_size=DIGEST_BYTES), [], size
        while rest and (part := file.read(min(rest, PART))):
            digest.update(part)
            rest -= len(part)
            if size <= IN_MEMORY:
                parts.append(part)
        if rest or (size and file.read(1)):
            return None, None
    return digest.digest(), b"".join(parts) if size <= IN_MEMORY else None


def read_content(found: Found, digest: bytes, content: bytes | Path, prepare: Prepare) -> Read:
    """Decode a file's content, or the file itself; nothing is raised."""
    if content == b"":
        return Read(found, reason="it is empty")
    try:
        photo = prepare(content)
    except PhotoError as error:
        return Read(found, digest, reason=str(error).rstrip("."))
    latitude, longitude = photo.position or (None, None)
    described = Described(
        digest, photo.width, photo.height, photo.taken, photo.camera, photo.look, **_written(photo),
        latitude=latitude, longitude=longitude,
    )  # fmt: skip
    return Read(found, digest, described, photo.pixels, photo.cut_short)


def _written(photo: Prepared) -> dict[str, str]:
    """Return what is written in a photo, cut here too: it comes from the process that the photo was decoded in."""
    said = {name: str(photo.written.get(name, ""))[:most] for name, most in WRITTEN.items()}
    if photo.position:
        names = [*filter(None, [said["place"]]), place_name(*photo.position)]
        said["place"] = ", ".join(dict.fromkeys(filter(None, ", ".join(names).split(", "))))[: WRITTEN["place"]]
    return said


def digest_of(content: bytes) -> bytes:
    """Return what identifies a content."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
