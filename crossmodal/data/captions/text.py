"""The text of a caption file, whatever its encoding."""

import codecs
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from crossmodal.errors import CaptionsError

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path) -> tuple[str, list[str]]:
    """Return a file's text with lines that end in a newline, and a note where it is not UTF-8.

    The encoding is told by a byte-order mark, else it is UTF-8, else it is detected. Raises CaptionsError when
    the file is absent, cannot be read, or is not text.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # what has no end is not read
            raise CaptionsError(f"{path} is not a regular file; name a file of captions.")
        content = path.read_bytes()
    except FileNotFoundError:
        raise CaptionsError(f"The caption file {path} is not there; name it with --captions.") from None
    except OSError as error:
        raise CaptionsError(f"{path} cannot be read ({error.strerror}).") from error
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        encoding = _detected(content) or ""
        if not encoding:
            raise CaptionsError(
                f"{path} is not text in UTF-8 (byte {error.start}) or another known encoding; save it as UTF-8."
            ) from error
        text = content.decode(encoding)
    if "\0" in text:
        if encoding != "utf-8" or not (encoding := _detected(content) or ""):
            raise CaptionsError(f"{path} is not text: it has zero bytes; save it as UTF-8.")
        text = content.decode(encoding)
    if "\n" not in text.rstrip("\n"):  # old Macs, and some of their programs still, end lines with a carriage return
        text = text.replace("\r", "\n")
    utf8 = encoding in ("utf-8", "utf-8-sig", "ascii")
    return text, [] if utf8 else [f"Decoded as {encoding}, since it is not UTF-8."]


def _detected(content: bytes) -> str | None:
    from charset_normalizer import from_bytes  # here, since nearly all files are UTF-8

    matches = from_bytes(content)
    best = matches.best()
    if best is None:
        return None
    # Where several encodings fit equally well, it is nearly always that of western Windows.
    equal = {name for match in matches if _fit(match) == _fit(best) for name in match.could_be_from_charset}
    return "cp1252" if "cp1252" in equal else best.encoding.replace("_", "-")


def _fit(match: "CharsetMatch") -> tuple[float, float]:
    return match.chaos, match.coherence


def without_surrogates(text: str) -> str:
    """Return text that can be written as UTF-8: surrogate pairs joined, lone surrogates replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
