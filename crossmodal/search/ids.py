"""Ids of photos that tell nothing of their paths."""

import hashlib
import os
from pathlib import Path

ID_BYTES = 12


def opaque_id(path: str | Path, key: bytes) -> str:
    """Return an id that only who has the key can make of a path."""
    return hashlib.blake2b(os.fsencode(path), key=key, digest_size=ID_BYTES).hexdigest()
