"""Sentences that a user gives in a file."""

from pathlib import Path

from crossmodal.errors import CrossmodalError


def read_lines_of(path: Path) -> list[str]:
    """Return the lines of a text file, or the everyday scenes where it is called everyday."""
    from crossmodal.data.everyday import everyday_scenes

    if str(path) == "everyday":
        return everyday_scenes()
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CrossmodalError(f"{path} is not UTF-8 text; save it as UTF-8 and try again.") from error
    except OSError as error:
        raise CrossmodalError(f"{path} cannot be read ({error.strerror}).") from error
