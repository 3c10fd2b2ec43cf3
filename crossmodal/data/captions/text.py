"""The text of a caption file, whatever its encoding."""

import codecs
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from crossmodal.errors import CaptionsError
from crossmodal.files import listed, read_bounded

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LINE_END = re.compile(r"\r+\n|\r")
MOST, MOST_DETECTED = (
    1_000_000_000,
    50_000_000,
)  # bytes that are read, and of which the encoding is detected in half a minute
# What Western text has in cp1252 besides ASCII, and what it does not have: marks within words, opening marks behind letters,
# capitals behind small letters, four letters with accents in a row. Those are letters of DOS, of the Mac or of other
# alphabets, or halves of characters.
LETTERS = "À-ÖØ-öø-ÿŒœ"
TYPOGRAPHY = "‘’“”‚„–—…•€™£©®°«»¿¡\xa0"
WESTERN = re.compile(rf"[\x01-\x7f{LETTERS}{TYPOGRAPHY}]*")
MISPLACED = re.compile(
    rf"[A-Za-z{LETTERS}]([‘“”•€£©°«»\xa0]+[A-Za-z{LETTERS}]|[‚„¿¡])|[a-zß-öø-ÿœ][À-ÖØ-ÞŒ]|[{LETTERS}]{{4}}",
)
FOREIGN = re.compile(rb"[\xc0-\xff]{4}")  # the same four letters, in text that has more than is Western
# Encodings of DOS, of the Mac and of East Asia, and rare ones, which a few Western letters fit by chance.
UNLIKELY = re.compile(r"cp(?!125\d$)\d+|mac_.*|hp_roman8|iso8859_(3|4|10|14|16)|big5.*|gb.*|euc_.*|shift_.*|johab")
DETECTED_WHOLE, FILLED_UP = 2_500, 300  # bytes of a file, and those of few lines with some that are ASCII
NEARLY = (0.01, 0.03)  # of chaos and coherence, as charset-normalizer measures them
DECODED_AS = "Decoded as {}, since it is not UTF-8."


def read_text(path: Path) -> tuple[str, list[str]]:
    """Return a file's text with lines that end in a newline, and a note where it is not UTF-8.

    The encoding is told by a byte-order mark, else it is UTF-8, else it is detected. Where bytes can be read both as Western
    text of Windows (cp1252) and as text of DOS or the Mac, they are that of Windows. Raises CaptionsError when the file is
    absent, cannot be read, or is not text.
    """
    content = _content(path)
    try:
        text, note = decode_text(content)
    except UnicodeDecodeError as error:
        raise CaptionsError(
            f"{path} is not text in UTF-8 (byte {error.start}) or another known encoding; save it as UTF-8."
        ) from error
    return with_newlines(text), [note] if note else []


def with_newlines(text: str) -> str:
    """Return text whose lines end in a newline alone, where they ended in carriage returns, or in both, too."""
    return LINE_END.sub("\n", text) if "\r" in text else text


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # what has no end is not read
            raise CaptionsError(f"{path} is not a regular file; name a file of captions.")
        return read_bounded(path, MOST)
    except FileNotFoundError:
        raise CaptionsError(f"The caption file {path} is not there; name it with --captions.") from None
    except OSError as error:
        raise CaptionsError(f"{path} cannot be read ({error.strerror}).") from error


def decode_text(content: bytes) -> tuple[str, str]:
    """Return a content as text, and a note where it is not UTF-8; raises UnicodeDecodeError for what is not text."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return content.decode(encoding), "" if encoding == "utf-8-sig" else DECODED_AS.format(encoding)
    try:
        text, note = _as_utf8(content)
    except UnicodeDecodeError:
        encoding = _detected(content) or ""
        if not encoding:
            raise
        return content.decode(encoding), DECODED_AS.format(encoding)
    if "\0" in text and (encoding := _detected(content) or "utf-8") not in ("utf-8", "ascii"):
        return content.decode(encoding), DECODED_AS.format(encoding)
    return text, note


def _as_utf8(content: bytes) -> tuple[str, str]:
    """Return a content of which more lines are UTF-8 than are not, ASCII aside, and a note of the others.

    So that a few damaged bytes, or lines of another file, do not make another encoding of all of it. Halves of characters,
    which are replaced later, are taken for UTF-8. Raises UnicodeDecodeError.
    """
    try:
        return content.decode("utf-8", "surrogatepass"), ""
    except UnicodeDecodeError:
        told = [(number, line) for number, line in enumerate(content.split(b"\n"), start=1) if not line.isascii()]
        broken = [number for number, line in told if not _is_utf8(line)]
        if len(broken) * 2 >= len(told):
            raise
    lines = listed(f"{number:,}" for number in broken)
    return content.decode("utf-8", "replace"), f"Bytes that are not UTF-8 are replaced in the lines {lines}."


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _detected(content: bytes) -> str | None:
    from charset_normalizer import from_bytes  # here, since nearly all files are UTF-8

    if len(content) > MOST_DETECTED:
        return None
    western = _western(content)
    if western and not re.search(f"[{LETTERS}]", western):
        return "cp1252"
    matches = from_bytes(_telling(content))
    best = matches.best()
    if best is None:
        return None
    # Where several encodings fit equally well, or nearly so, it is nearly always that of western Windows.
    near = NEARLY if western else (0.0, 0.0)
    fitting = {name for match in matches if _fits(match, best, near) for name in match.could_be_from_charset}
    fits = "cp1252" in fitting and not FOREIGN.search(content)
    # In cp1250, å and à are ĺ and ŕ, which only Slovak has, and seldom.
    unlikely = UNLIKELY.fullmatch(best.encoding) or (best.encoding == "cp1250" and re.search("[åàÅÀ]", western))
    return "cp1252" if fits or (western and unlikely) else best.encoding.replace("_", "-")


def _telling(content: bytes) -> bytes:
    """Return a content that is detected whole, or the lines of a longer one that are not ASCII, filled up with those that are.

    Of a longer one only parts are looked at, which may all be ASCII.
    """
    if len(content) <= DETECTED_WHOLE or b"\0" in content:
        return content
    lines = sorted(content.split(b"\n"), key=bytes.isascii)
    size = sum(len(line) + 1 for line in lines if not line.isascii())
    return b"\n".join(lines)[: max(size, FILLED_UP)]


def _western(content: bytes) -> str:
    """Return a content as cp1252 where that makes it Western text; "" where it does not."""
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    return text if WESTERN.fullmatch(text) and not MISPLACED.search(text) else ""


def _fits(match: "CharsetMatch", best: "CharsetMatch", near: tuple[float, float]) -> bool:
    chaos, coherence = near
    return match.chaos - best.chaos <= chaos and abs(best.coherence - match.coherence) <= coherence


def without_surrogates(text: str) -> str:
    """Return text that can be written as UTF-8: surrogate pairs joined, lone surrogates replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
