"""search, caption and demo: look things up in any gallery."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.commands.galleries import add_filter_options, add_gallery_options, filters_of, opened
from crossmodal.errors import CrossmodalError
from crossmodal.search.query import EMPTY, LIGHTEST_PHOTO, checked_weight, texts_of

MOST_HITS = 1_000_000

if TYPE_CHECKING:
    from crossmodal.search.hit import Answer
    from crossmodal.search.search import Search


def with_words(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a program, in which words that `search` is to take away are no options: -people."""
    if not arguments or arguments[0] != "search":
        return list(arguments)
    return [f" {one}" if one != "-h" and re.match(r"-[^\W\d_]", one) else one for one in arguments]


def add_search_commands(commands: Any) -> None:
    """Add search, caption and demo."""
    search = commands.add_parser("search", help="photos for a sentence, a photo, or both")
    search.add_argument(
        "text",
        nargs="*",
        type=lambda text: text.removeprefix(" "),  # which `with_words` put before a word that is taken away
        help="a sentence, or terms: dog + beach - people; each argument in quotes is a term of its own",
    )
    search.add_argument("--image", type=Path, metavar="FILE", help="a photo to look for, beside the words or alone")
    search.add_argument(
        "--like", metavar="PATH", help="a photo of the gallery to look for, by its path from the folder"
    )
    search.add_argument("--image-weight", type=float, default=1.0, help="weight of the photo beside the words")
    for side, wanted in (("more", "more"), ("less", "fewer")):
        search.add_argument(
            f"--{side}", action="append", default=[], metavar="PATH",
            help=f"find {wanted} photos like this one of the gallery; may be given again",
        )  # fmt: skip
    search.add_argument("--queries", type=Path, metavar="FILE", help="a text file with one query a line, instead")
    search.add_argument("--output", type=Path, metavar="FILE", help="where the answers to --queries go, .csv or .json")
    search.set_defaults(run=_search)
    demo = commands.add_parser("demo", help="a prompt that takes sentences and photos")
    demo.set_defaults(run=_demo)
    caption = commands.add_parser("caption", help="captions for a photo")
    caption.add_argument("photo", type=Path)
    caption.add_argument(
        "--among", type=Path, metavar="FILE", help="a text file with one caption a line; 'everyday' for everyday scenes"
    )
    caption.set_defaults(run=_caption)
    for command in (search, caption, demo):
        command.add_argument("--top-k", type=int, default=10, help="how many to find (default: %(default)s)")
        add_gallery_options(command)
    for command in (search, caption):
        command.add_argument("--json", action="store_true", help="print JSON")
    search.add_argument(
        "--explain", action="store_true", help="also how much the similarity of each photo falls without each word"
    )
    add_filter_options(search)


def _search(options: argparse.Namespace) -> None:
    _check_top_k(options)
    checked_weight(options.image_weight, "the photo", LIGHTEST_PHOTO)  # also where no photo is given
    if options.queries:
        if options.text or _asks_by_photos(options):
            raise CrossmodalError(
                "--queries FILE is asked instead of words and photos; leave them out, or leave it out."
            )
        return _answer_queries(options)
    if options.output:
        raise CrossmodalError("--output FILE is for the answers to --queries; --json prints those of one query.")
    texts = texts_of(options.text)
    if not texts and not _asks_by_photos(options) and not filters_of(options).given():
        raise CrossmodalError(f'{EMPTY} For example: python -m crossmodal search "two dogs in the snow"')
    search = opened(options)
    answer = _answer(search, options, texts)
    if options.json:
        from crossmodal.search.hit import as_json

        print(as_json([hit.plain() for hit in answer.hits]), end="")
    for note in answer.all_notes:
        print(note, file=sys.stderr)
    if not options.json:
        for hit in answer.hits:
            print(hit.line)
        if not answer.hits:
            print(_nothing(search, answer), file=sys.stderr)


def _asks_by_photos(options: argparse.Namespace) -> bool:
    return bool(options.image or options.like or options.more or options.less)


def _answer(search: "Search", options: argparse.Namespace, texts: list[str]) -> "Answer":
    understood, query = search.understood(*texts), None
    if _asks_by_photos(options):
        photo = search.encode_photo(options.image) if options.image else None
        like = search.gallery.id_at(options.like) if options.like else None
        more, less = ([search.gallery.id_at(path) for path in paths] for paths in (options.more, options.less))
        query = search.query(understood.terms, photo, options.image_weight, like, more, less)
    return search.answer(
        understood, query, options.top_k, filters_of(options), options.by_date, not options.no_cut_off, not options.no_groups,
        options.explain,
    )  # fmt: skip


def _nothing(search: "Search", answer: "Answer") -> str:
    if not answer.passing:
        return "No photo passes these filters." if search.gallery.count() else "The gallery holds no photo."
    return "Nothing here looks like that; --no-cut-off shows the closest anyway."


def _answer_queries(options: argparse.Namespace) -> None:
    from crossmodal.commands.sentences import is_readable, read_lines_of
    from crossmodal.files import write_text
    from crossmodal.search.hit import as_file

    if not options.output:
        raise CrossmodalError("--queries needs --output FILE, a .csv or .json.")
    as_file([], options.output.suffix)  # refuses another kind before the work is done
    lines = [(number, line) for number, line in enumerate(read_lines_of(options.queries), start=1) if line.strip()]
    if not lines:
        raise CrossmodalError(f"{options.queries} holds no query; it should hold one a line.")
    search, records, answered = opened(options), [], 0
    notes: dict[str, None] = {}
    for number, line in lines:
        try:
            if not is_readable(line):
                raise CrossmodalError("it is not UTF-8 text.")
            answer = _answer(search, options, [line])
        except CrossmodalError as error:
            print(f"{options.queries}, line {number}, is left out: {error}", file=sys.stderr)
            continue
        answered += 1
        notes |= dict.fromkeys(answer.all_notes)
        records += [{"query": line, "rank": rank, **hit.plain()} for rank, hit in enumerate(answer.hits, start=1)]
    write_text(options.output, as_file(records, options.output.suffix))
    for note in notes:
        print(note, file=sys.stderr)
    print(f"Wrote {len(records)} answers to {answered} of {len(lines)} queries into {options.output}")


def _demo(options: argparse.Namespace) -> None:
    from crossmodal.commands.prompt import prompt

    _check_top_k(options)
    prompt(opened(options), options.top_k)


def _caption(options: argparse.Namespace) -> None:
    from crossmodal.commands.sentences import is_readable, read_lines_of
    from crossmodal.search.captions import CaptionList

    _check_top_k(options)
    search = opened(options)
    query = search.query(image=search.encode_photo(options.photo))
    among = None
    if options.among:
        lines = read_lines_of(options.among)
        if not all(map(is_readable, lines)):
            raise CrossmodalError(f"{options.among} is not UTF-8 text; save it as UTF-8 and try again.")
        among = CaptionList.encoded(lines, search.runtime.encode_sentences)
    hits = search.captions(query, options.top_k, among)
    if options.json:
        from crossmodal.search.hit import as_json

        return print(as_json([hit.plain() for hit in hits]), end="")
    for hit in hits:
        print(hit.line)


def _check_top_k(options: argparse.Namespace) -> None:
    if not 1 <= options.top_k <= MOST_HITS:
        raise CrossmodalError(f"--top-k {options.top_k} should be from 1 to {MOST_HITS:,}.")
