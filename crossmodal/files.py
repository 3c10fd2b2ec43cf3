"""Files that are written whole or not at all, and what may be believed of those that others wrote."""

import contextlib
import fcntl
import io
import json
import os
import re
import secrets
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossmodal.errors import CheckpointError, CrossmodalError, printable

SHARED, PRIVATE = 0o666, 0o600  # modes of new files: as the umask allows, or for their owner alone
READ_AT_ONCE, MOST_BYTES = 1 << 24, 100_000_000  # bytes of a file of text
PART = re.compile(r"(?s)\..+\.[0-9a-f]{12}\.part")
TENSOR = re.compile(r"/data/\d+$")  # the names of tensors in a file of torch
FINGERPRINT = re.compile(r"[0-9a-f]{32}")


def cache_folder() -> Path:
    """Return where this user's exported towers, thumbnails and keys lie: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossmodal"


def shown(path: str) -> str:
    """Return a path as it can be printed on one line: bytes that are no UTF-8 and line breaks made visible."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return the first names in a line, as they can be printed, and how many more there are."""
    names = list(map(printable, names))
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


@contextmanager
def whole_file(path: Path, mode: int = SHARED) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, with these permissions.

    Then parts that killed writers left in the folder are removed. Raises CrossmodalError when the disk
    refuses (full, read-only), with the old file untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = _new_part(path, mode)
    except OSError as error:
        raise _refused(path, error) from error
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)
    remove_leftovers(path.parent)


def _new_part(path: Path, mode: int) -> tuple[Path, int]:
    """Create a temporary file; return its path and the descriptor whose lock says that its writer is alive."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
        with contextlib.suppress(OSError):  # a file system without locks: then nobody removes it either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return temporary, handle
        os.close(handle)  # another writer took it for a leftover before it was locked


def remove_leftovers(folder: Path) -> None:
    """Remove the parts that killed writers left in a folder; those of living writers are locked, and stay."""
    with contextlib.suppress(OSError):
        for part in [entry for entry in os.scandir(folder) if PART.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                handle = os.open(part.path, os.O_RDWR | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(part.path)
                finally:
                    os.close(handle)


def _refused(path: Path, error: OSError) -> CrossmodalError:
    reason = error.strerror or error
    return CrossmodalError(f"{path} cannot be written ({reason}); free some space or choose another folder.")


def checked_fingerprint(value: object, where: str) -> str:
    """Return the fingerprint of a model that a file states; it becomes part of paths.

    Raises CrossmodalError, which begins with `where`, unless it is 32 hexadecimal digits.
    """
    if isinstance(value, str) and FINGERPRINT.fullmatch(value):
        return value
    raise CrossmodalError(
        f"{where} names no model (its fingerprint is {value!r:.80}, not 32 hex digits); make it again."
    )


def stays_below(path: str) -> bool:
    """Say whether a relative path that a file states stays below the folder that it starts from."""
    return (
        bool(path)
        and "\0" not in path
        and not os.path.isabs(path)
        and (".." not in path or ".." not in path.split("/"))
    )


def opened_unblocked(path: Path) -> io.FileIO:
    """Open a file to be read, of which no more comes than there is: pipes, and what the system makes up, may block for ever."""
    return open(path, "rb", buffering=0, opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))


def read_bounded(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file; raises CrossmodalError for one of more than `most` bytes, which may never end."""
    content = bytearray()
    with opened_unblocked(path) as file:
        large = os.fstat(file.fileno()).st_size > most
        while not large and (part := file.read(READ_AT_ONCE)):
            content += part
            large = len(content) > most
    if large:
        raise CrossmodalError(f"{path} has more than the {most / 1_000_000:g} MB that are read of such a file.")
    return bytes(content)


def write_text(path: Path, text: str, mode: int = SHARED) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with whole_file(path, mode) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Save a dictionary of plain values and tensors, whole or not at all."""
    import torch  # here, since a search in an index does without

    with whole_file(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch's zip writer turns a full disk into one that does not say so
            raise OSError("the disk took only a part of it") from error


def load_tensors(path: Path, *, advice: str, mmap: bool = False, whole: bool = True) -> dict[str, Any]:
    """Read what `save_tensors` wrote, tensors on the CPU.

    Every byte is compared with the sums that the file has; unless `whole`, those of the tensors are left out, which may be many.
    Raises CheckpointError with `advice` when the file is absent, broken, packed so that it takes more memory than its
    size, or needs pickle.
    """
    import torch  # as above

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is not there; {advice}")
    try:
        _check_packing(path, whole)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        _check_tensors(content)
    except Exception as error:  # torch raises a dozen kinds for a file that is not one of its own
        raise CheckpointError(f"{path} cannot be read as a file of tensors; {advice}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not what this project writes; {advice}")
    return content


def _check_packing(path: Path, whole: bool) -> None:
    """Raise ValueError unless a file is a zip archive as torch writes it: nothing is compressed, and nothing stands twice.

    Raises BadZipFile where a byte has changed since; bytes of tensors are looked at where it is to be `whole`.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(one.compress_type != zipfile.ZIP_STORED or one.file_size != one.compress_size for one in entries):
            raise ValueError("compressed")
        if sum(one.file_size for one in entries) > path.stat().st_size:
            raise ValueError("overlapping")
        for entry in entries:
            if whole or not TENSOR.search(entry.filename):
                with archive.open(entry) as content:
                    while content.read(READ_AT_ONCE):
                        pass


def _check_tensors(content: Any) -> None:
    """Raise ValueError for a tensor that is more than the bytes which the file holds of it."""
    import torch  # as above

    if isinstance(content, torch.Tensor):
        plain = content.layout == torch.strided and not content.is_quantized and content.device.type == "cpu"
        if not plain or content.numel() * content.element_size() > content.untyped_storage().nbytes():
            raise ValueError("a tensor without its numbers")
    elif isinstance(content, dict):
        for value in content.values():
            _check_tensors(value)
    elif isinstance(content, (list, tuple)) and not (content and isinstance(content[0], (str, int, float))):
        for value in content:
            _check_tensors(value)


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
    for line in read_bounded(path).decode(errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if keep(record):
            records.append(record)
    return records
