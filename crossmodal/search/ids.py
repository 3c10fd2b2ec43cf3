"""Ids of photos that tell nothing of their paths."""

import hashlib
import os
import secrets
from pathlib import Path

from crossmodal.errors import CrossmodalError
from crossmodal.files import PRIVATE, cache_folder, whole_file

ID_BYTES = 12


def opaque_id(path: str | Path, key: bytes) -> str:
    """Return an id of a path that nobody without the key can compute."""
    return hashlib.blake2b(os.fsencode(path), key=key, digest_size=ID_BYTES).hexdigest()


def secret_key() -> bytes:
    """Return the random key of this machine's ids, made once; where the cache cannot be written, one for this process."""
    path = cache_folder() / "ids.key"
    try:
        if not path.is_file():
            with whole_file(path, PRIVATE) as temporary:
                temporary.write_bytes(secrets.token_bytes(32))
        return path.read_bytes()
    except (CrossmodalError, OSError):
        return _PROCESS_KEY


_PROCESS_KEY = secrets.token_bytes(32)
