"""Sentences that a user gives in a file."""

from pathlib import Path

from crossmodal.errors import CrossmodalError
from crossmodal.files import read_bounded


def read_lines_of(path: Path) -> list[str]:
    """Return the lines of a text file, or the everyday scenes where it is called everyday.

    A byte-order mark says that it is in UTF-16 or UTF-32. Of a line that is not UTF-8 each byte that cannot be read is a half
    of a character, for which `is_readable` is false.
    """
    from crossmodal.data.captions.text import MARKS, with_newlines
    from crossmodal.data.everyday import everyday_scenes

    if str(path) == "everyday":
        return everyday_scenes()
    try:
        content = read_bounded(path)
    except OSError as error:
        raise CrossmodalError(f"{path} cannot be read ({error.strerror}).") from error
    encoding = next((encoding for mark, encoding in MARKS if content.startswith(mark)), "utf-8")
    text = content.decode(encoding, "surrogateescape" if encoding.startswith("utf-8") else "replace")
    # Not splitlines, which would also cut a sentence at U+2028 and its like.
    return with_newlines(text).removesuffix("\n").split("\n")


def is_readable(line: str) -> bool:
    """Say whether a line of a file was UTF-8."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True
