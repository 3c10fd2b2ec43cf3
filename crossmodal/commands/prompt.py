"""A prompt that takes a sentence or the path of a photo."""

import base64
import io
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from crossmodal.data.decoding import load_photo
from crossmodal.errors import CrossmodalError
from crossmodal.search.search import Search

THUMBNAIL = 240
HELP = "A sentence finds photos, the path of a photo finds captions; an empty line or Ctrl-D ends."


def prompt(search: Search, top_k: int, ask: Callable[[str], str] = input, say: Callable[[str], None] = print) -> None:
    """Ask and answer until an empty line or the end of the input."""
    say(HELP)
    while True:
        try:
            asked = ask("> ").strip()
        except EOFError:
            return
        except UnicodeDecodeError:
            say("This line is not text in the encoding of this terminal; type it again.")
            continue
        if not asked:
            return
        try:
            for line in answer(search, asked, top_k):
                say(line)
        except CrossmodalError as error:
            say(str(error))


def answer(search: Search, asked: str, top_k: int) -> list[str]:
    """Return the lines that answer a sentence, or a photo by its path; in a terminal that can, with photos."""
    path = Path(asked.strip("'\"")).expanduser()
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # a sentence that cannot be a file's name
        is_file = False
    if is_file:
        hits = search.captions(search.query(image=search.encode_photo(path)), top_k)
        return [hit.line for hit in hits]
    lines = []
    answer = search.answer(search.understood(asked), count=top_k)
    for found in answer.hits:
        lines.append(found.line)
        photo = inline_photo(found.path, os.environ) if sys.stdout.isatty() else None
        lines += [photo] if photo else []
    return [*answer.all_notes, *(lines or ["Nothing here looks like that."])]


def inline_photo(path: Path, environment: Mapping[str, str]) -> str | None:
    """Return the escape sequence that shows a photo, or None where the terminal cannot or the file is broken."""
    iterm = environment.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm")
    if not iterm and "KITTY_WINDOW_ID" not in environment:
        return None
    try:
        photo = load_photo(path, at_least=THUMBNAIL)
    except CrossmodalError:
        return None
    photo.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    photo.save(file, "PNG")
    content = base64.b64encode(file.getvalue()).decode()
    if iterm:
        return f"\033]1337;File=inline=1;size={len(file.getvalue())}:{content}\a"
    # Kitty takes at most 4096 characters at a time; m=1 says that more follow.
    parts = [content[start : start + 4096] for start in range(0, len(content), 4096)]
    first = [f"a=T,f=100,m={int(len(parts) > 1)}"]
    keys = first + [f"m={int(number < len(parts) - 1)}" for number in range(1, len(parts))]
    return "".join(f"\033_G{key};{part}\033\\" for key, part in zip(keys, parts, strict=True))
