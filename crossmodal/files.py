"""Files that are whole or not there: written beside their place, then moved there."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossmodal.errors import CheckpointError, CrossmodalError


def cache_folder() -> Path:
    """Return where this user's exported towers, thumbnails and keys lie: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossmodal"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`.

    Raises CrossmodalError when the disk refuses (full, read-only), with the old file untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _refused(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 would hide the file from other users
        os.replace(temporary, path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _refused(path: Path, error: OSError) -> CrossmodalError:
    reason = error.strerror or error
    return CrossmodalError(f"{path} cannot be written ({reason}); free some space or choose another folder.")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Save a dictionary of plain values and tensors, whole or not at all."""
    import torch  # here, since a search in an index does without

    with whole_file(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch's zip writer turns a full disk into one that does not say so
            raise OSError("the disk took only a part of it") from error


def load_tensors(path: Path, *, advice: str, mmap: bool = False) -> dict[str, Any]:
    """Read what `save_tensors` wrote, tensors on the CPU.

    Raises CheckpointError with `advice` when the file is absent, broken or needs pickle.
    """
    import torch  # as above

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is not there; {advice}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises a dozen kinds for a file that is not one of its own
        raise CheckpointError(f"{path} cannot be read as a file of tensors; {advice}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not what this project writes; {advice}")
    return content


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON line; a line torn by an earlier kill is closed first."""
    path = Path(path)
    torn = path.exists() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if torn else "") + json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(
    path: Path, keep: Callable[[Any], bool] = lambda record: isinstance(record, dict)
) -> list[dict[str, Any]]:
    """Read the whole JSON lines of a file, oldest first; torn lines are passed over."""
    if not Path(path).is_file():
        return []
    records = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if keep(record):
            records.append(record)
    return records
