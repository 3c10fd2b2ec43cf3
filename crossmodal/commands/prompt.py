"""A prompt that takes a sentence or the path of a photo, and a batch of sentences from a file."""

import base64
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossmodal.data.decoding import load_photo
from crossmodal.errors import CrossmodalError
from crossmodal.search.service import SearchService

THUMBNAIL = 240
HELP = "A sentence finds photos, the path of a photo finds captions; an empty line or Ctrl-D ends."


def prompt(
    service: SearchService, top_k: int, ask: Callable[[str], str] = input, say: Callable[[str], None] = print
) -> None:
    """Ask and answer until an empty line or the end of the input."""
    say(HELP)
    while True:
        try:
            asked = ask("> ").strip()
        except EOFError:
            return
        if not asked:
            return
        try:
            for line in answer(service, asked, top_k):
                say(line)
        except CrossmodalError as error:
            say(str(error))


def answer(service: SearchService, asked: str, top_k: int) -> list[str]:
    """Return the lines that answer a sentence, or a photo by its path; photos too in a terminal that can."""
    path = Path(asked.strip("'\"")).expanduser()
    try:
        is_file = path.is_file()
    except OSError:  # a sentence too long for a file's name
        is_file = False
    if is_file:
        hits = service.find_captions(service.query(photo=load_photo(path)), top_k)
        return [f"{hit.score:.3f}  {hit.caption}" for hit in hits]
    lines = []
    for hit in service.find_images(service.query(asked), top_k):
        lines.append(f"{hit.score:.3f}  {hit.path}  {hit.captions[0] if hit.captions else ''}")
        photo = inline_photo(hit.path, os.environ) if sys.stdout.isatty() else None
        lines += [photo] if photo else []
    return lines


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


def answer_all(service: SearchService, sentences: Sequence[str], top_k: int) -> list[dict[str, Any]]:
    """Return a record for each hit of each sentence: query, rank, image, path, score, first caption."""
    return [
        {
            "query": sentence, "rank": rank, "image": hit.name, "path": str(hit.path), "score": round(hit.score, 4),
            "caption": hit.captions[0] if hit.captions else "",
        }
        for sentence in sentences
        for rank, hit in enumerate(service.find_images(service.query(sentence), top_k), start=1)
    ]  # fmt: skip
