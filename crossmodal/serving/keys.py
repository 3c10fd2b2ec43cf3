"""API keys: shown once, kept as hashes in a file, compared in constant time."""

import hashlib
import hmac
import re
import secrets
from pathlib import Path

from crossmodal.errors import CrossmodalError
from crossmodal.files import PRIVATE, read_bounded, write_text

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
LINE = re.compile(rf"(?P<name>{NAME.pattern}):(?P<digest>[0-9a-f]{{64}})")


def read_keys(path: Path) -> dict[str, bytes]:
    """Return the hash of each key by its name; raises CrossmodalError for a file that is not such a list."""
    found = {match["name"]: bytes.fromhex(match["digest"]) for _, match in _lines(path) if match}
    if not found:
        raise CrossmodalError(f"{path} holds no API key; add one with: python -m crossmodal api-key NAME --keys {path}")
    return found


def _lines(path: Path) -> list[tuple[str, re.Match[str] | None]]:
    """Return the lines of a file of keys, each with the key that it holds; None for a comment and an empty line."""
    try:
        lines = read_bounded(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CrossmodalError(f"The API keys {path} cannot be read ({error}).") from error
    found = [(line, LINE.fullmatch(line.strip())) for line in lines]
    for number, (line, match) in enumerate(found, start=1):
        if match is None and line.strip() and not line.strip().startswith("#"):
            raise CrossmodalError(
                f"{path}, line {number}, is no API key; add one with: python -m crossmodal api-key NAME --keys {path}"
            )
    return found


def add_key(path: Path, name: str) -> str:
    """Add a new key to a file, in place of one of the same name, and return it; only its hash is kept.

    All other lines of the file stay as they are.
    """
    if not NAME.fullmatch(name):
        raise CrossmodalError(
            f"{name!r} is no name for a key; use 1 to 64 letters, digits, dots, hyphens, underscores."
        )
    key = secrets.token_urlsafe(32)
    added = f"{name}:{_digest(key).hex()}"
    before = _lines(path) if Path(path).is_file() else []
    lines = [added if match and match["name"] == name else line for line, match in before]
    lines += [] if added in lines else [added]
    write_text(path, "".join(f"{line}\n" for line in lines), PRIVATE)
    return key


def owner_of(key: str, keys: dict[str, bytes]) -> str | None:
    """Return the name of a key, or None; every hash is compared, whether one matched or not."""
    digest, owner = _digest(key), None
    for name, known in keys.items():
        if hmac.compare_digest(digest, known):
            owner = name
    return owner


def _digest(key: str) -> bytes:
    # A key is 256 random bits, so a fast hash is enough: there is nothing to guess.
    return hashlib.sha256(key.encode()).digest()
