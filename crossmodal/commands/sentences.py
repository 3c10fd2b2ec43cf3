"""Sentences that a user gives in a file."""

from pathlib import Path

from crossmodal.errors import CrossmodalError
from crossmodal.files import read_bounded


def read_lines_of(path: Path) -> list[str]:
    """Return the lines of a text file, or the everyday scenes where it is called everyday.

    Of a line that is not UTF-8 each byte that cannot be read is a half of a character, for which `is_readable` is false.
    """
    from crossmodal.data.everyday import everyday_scenes

    if str(path) == "everyday":
        return everyday_scenes()
    try:
        content = read_bounded(path).decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise CrossmodalError(f"{path} cannot be read ({error.strerror}).") from error
    # Not splitlines, which would also cut a sentence at U+2028 and its like.
    return [line.rstrip("\r") for line in content.removesuffix("\n").split("\n")]


def is_readable(line: str) -> bool:
    """Say whether a line of a file was UTF-8."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True
