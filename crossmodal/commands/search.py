"""search, caption and demo: look things up in a run's gallery, or in one's own photos."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.commands.photos import add_photo_options, refuse_without_photos, search_photos
from crossmodal.commands.sentences import read_sentences, sentences_to_ask, write_answers
from crossmodal.errors import CrossmodalError
from crossmodal.progress import silent, terminal

if TYPE_CHECKING:
    from crossmodal.search.service import SearchService


def add_gallery_commands(commands: Any) -> None:
    """Add search, caption and demo."""
    search = commands.add_parser("search", help="photos for a sentence, a photo, or both")
    search.add_argument("text", nargs="*", help="what to look for; several sentences count as their mean")
    search.add_argument("--image", type=Path, help="a photo to look for, beside the text or alone")
    search.add_argument("--queries", type=Path, metavar="FILE", help="a text file with one sentence a line, instead")
    search.add_argument("--output", type=Path, metavar="FILE", help="where the answers to --queries go, .csv or .json")
    search.set_defaults(run=_search)
    add_photo_options(search)
    demo = commands.add_parser("demo", help="a prompt that takes sentences and photos")
    demo.set_defaults(run=_demo)
    caption = commands.add_parser("caption", help="captions for a photo")
    caption.add_argument("photo", type=Path)
    caption.add_argument(
        "--among", type=Path, help="a text file with one caption a line; 'everyday' for the list that comes along"
    )
    caption.set_defaults(run=_caption)
    for command in (search, caption, demo):
        _options(command)


def _options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--checkpoint", type=Path, help="checkpoint, or folder of a run (default: the newest run's best)"
    )
    command.add_argument("--images", type=Path, help="folder of the photos, if they were moved")
    command.add_argument("--split", default="all", choices=("train", "val", "test", "all"))
    command.add_argument("--top-k", type=int, default=10)
    command.add_argument("--json", action="store_true", help="print JSON")


def _open(options: argparse.Namespace) -> "SearchService":
    from crossmodal.runs.opening import open_service

    _check_top_k(options)
    return open_service(options.checkpoint, options.split, options.images, silent if options.json else terminal)


def _check_top_k(options: argparse.Namespace) -> None:
    if options.top_k < 1:
        raise CrossmodalError(f"--top-k {options.top_k} asks for nothing; give 1 or more.")


def _search(options: argparse.Namespace) -> None:
    if options.photos or options.milvus:
        _check_top_k(options)
        if options.checkpoint or options.images or options.split != "all":
            raise CrossmodalError(
                "--checkpoint, --images and --split are for a run's gallery; photos are searched with the model that "
                "indexed them."
            )
        return search_photos(options)
    refuse_without_photos(options)
    if options.queries:
        return _search_all(options)
    if not any(text.strip() for text in options.text) and options.image is None:
        raise CrossmodalError('Say what to look for: python -m crossmodal search "two dogs in the snow".')
    from crossmodal.data.decoding import load_photo

    photo = load_photo(options.image) if options.image else None
    service = _open(options)
    hits = service.find_images(service.query(options.text, photo), options.top_k)
    if options.json:
        _print_json(
            [
                {"image": hit.name, "path": str(hit.path), "score": round(hit.score, 4), "captions": hit.captions}
                for hit in hits
            ]
        )
    else:
        for hit in hits:
            print(f"{hit.score:.3f}  {hit.path}  {hit.captions[0] if hit.captions else ''}")


def _search_all(options: argparse.Namespace) -> None:
    from crossmodal.commands.prompt import answer_all

    sentences = sentences_to_ask(options)
    write_answers(options.output, answer_all(_open(options), sentences, options.top_k), len(sentences))


def _demo(options: argparse.Namespace) -> None:
    from crossmodal.commands.prompt import prompt

    prompt(_open(options), options.top_k)


def _caption(options: argparse.Namespace) -> None:
    from crossmodal.data.decoding import load_photo

    photo = load_photo(options.photo)
    service = _open(options)
    among = service.encode_list(read_sentences(options.among)) if options.among else None
    hits = service.find_captions(service.query(photo=photo), options.top_k, among)
    if options.json:
        _print_json([{"caption": hit.caption, "score": round(hit.score, 4), "image": hit.image} for hit in hits])
    else:
        for hit in hits:
            print(f"{hit.score:.3f}  {hit.caption}")


def _print_json(content: list[dict[str, Any]]) -> None:
    print(json.dumps(content, ensure_ascii=False, indent=2))
