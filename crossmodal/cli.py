"""The command line: python -m crossmodal COMMAND; `--help` lists the commands."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.errors import CrossmodalError
from crossmodal.photo_commands import add_index_command, add_photo_options, refuse_without_photos, search_photos
from crossmodal.progress import silent, terminal

if TYPE_CHECKING:
    from crossmodal.evaluation.evaluate import Asked
    from crossmodal.search.service import SearchService

# Each command imports what it needs when it runs: `--help` answers at once, and `download` without torch.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except CrossmodalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output left, as `head` does
        sys.stderr.close()
        return 0
    except OSError as error:
        print(f"{error.filename or 'The disk'} cannot be used ({error.strerror or error}).", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m crossmodal", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    search = commands.add_parser("search", help="photos for a sentence, a picture, or both")
    search.add_argument("text", nargs="*", help="what to look for; several sentences count as their mean")
    search.add_argument("--image", type=Path, help="a picture to look for, beside the text or alone")
    search.add_argument("--queries", type=Path, metavar="FILE", help="a text file with one sentence a line, instead")
    search.add_argument("--output", type=Path, metavar="FILE", help="where the answers to --queries go, .csv or .json")
    search.set_defaults(run=_search)
    add_photo_options(search)
    add_index_command(commands)
    demo = commands.add_parser("demo", help="a prompt that takes sentences and photos")
    demo.set_defaults(run=_demo)
    caption = commands.add_parser("caption", help="captions for a photo")
    caption.add_argument("picture", type=Path)
    caption.add_argument(
        "--among", type=Path, help="a text file with one caption a line; 'everyday' for the list that comes along"
    )
    caption.set_defaults(run=_caption)
    for command in (search, caption, demo):
        _gallery_options(command)

    evaluate = commands.add_parser("evaluate", help="recall and ranks of a checkpoint, both ways")
    evaluate.add_argument(
        "--average-captions", action="store_true", help="also rank each image's captions as one mean vector"
    )
    evaluate.set_defaults(run=_evaluate)
    compare = commands.add_parser("compare", help="several checkpoints and the baselines in one table")
    compare.add_argument(
        "checkpoints", type=Path, nargs="+", help="checkpoints, runs, folders of runs (all of them), published models"
    )
    compare.set_defaults(run=_compare)
    report = commands.add_parser("report", help="one HTML file: figures, curves, maps, queries, failures")
    report.add_argument(
        "checkpoints",
        type=Path,
        nargs="*",
        help="as for compare (default: the newest run's best); pictures are of the first",
    )
    report.add_argument("--output", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html")
    report.add_argument("--png", action="store_true", help="charts and grids as PNG files beside it too")
    report.set_defaults(run=_report)
    agreement = commands.add_parser("agreement", help="Kendall's tau-c with human judgements of captions")
    agreement.add_argument("ratings", type=Path, help="image,caption,rating, or Flickr8k's expert or crowd annotations")
    agreement.set_defaults(run=_agreement)
    for command in (evaluate, compare, report):
        _choice_of_images(command)
    for command in (evaluate, compare, agreement):
        command.add_argument("--json", type=Path, metavar="FILE", help="also save the figures here")
    for command in (evaluate, compare, report, agreement):
        command.add_argument(
            "--weights", type=Path, help="folder with the weights of published models, looked into first"
        )
    embed = commands.add_parser("embed", help="make a checkpoint's embedding tensors anew")
    embed.set_defaults(run=_embed)
    for command in (evaluate, agreement, embed):
        command.add_argument(
            "--checkpoint", type=Path, help="checkpoint, or folder of a run (default: the newest run's best)"
        )
    for command in (evaluate, compare, report, agreement, embed):
        command.add_argument("--captions", type=Path, help="caption file (default: that of the run)")
        command.add_argument("--images", type=Path, help="folder of pictures (default: that of the run)")
        command.add_argument(
            "--skip-bad", action="store_true", help="go on though more than 1 %% of the rows cannot be used"
        )

    download = commands.add_parser("download", help="bring a public data set to captions.txt and flickr30k_images")
    download.add_argument("name", choices=("flickr8k", "flickr30k"))
    download.add_argument(
        "--archive", type=Path, nargs="+", help="archives that you have already, instead of a download"
    )
    download.add_argument(
        "--to", type=Path, default=Path(), help="folder that gets captions.txt and flickr30k_images (default: here)"
    )
    download.set_defaults(run=_download)
    draw = commands.add_parser("draw", help="draw a sample set")
    draw.add_argument("folder", type=Path)
    draw.add_argument("--scenes", type=int, default=600)
    draw.add_argument("--seed", type=int, default=7)
    draw.set_defaults(run=_draw)
    return parser


def _choice_of_images(command: argparse.ArgumentParser) -> None:
    command.add_argument("--split-file", type=Path, help="evaluate the images named in this file, one a line")
    command.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        help="evaluate this split (default: test, else val, else all)",
    )


def _gallery_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--checkpoint", type=Path, help="checkpoint, or folder of a run (default: the newest run's best)"
    )
    command.add_argument("--images", type=Path, help="folder of the pictures, if they were moved")
    command.add_argument("--split", default="all", choices=("train", "val", "test", "all"))
    command.add_argument("--top-k", type=int, default=10)
    command.add_argument("--json", action="store_true", help="print JSON")


def _open(options: argparse.Namespace) -> "SearchService":
    from crossmodal.search.runs import open_service

    if options.top_k < 1:
        raise CrossmodalError(f"--top-k {options.top_k} asks for nothing; give 1 or more.")
    return open_service(options.checkpoint, options.split, options.images, silent if options.json else terminal)


def _search(options: argparse.Namespace) -> None:
    if options.queries:
        return _search_all(options)
    if options.photos:
        if options.top_k < 1:
            raise CrossmodalError(f"--top-k {options.top_k} asks for nothing; give 1 or more.")
        return search_photos(options)
    refuse_without_photos(options)
    if not any(text.strip() for text in options.text) and options.image is None:
        raise CrossmodalError('Say what to look for: python -m crossmodal search "two dogs in the snow".')
    from crossmodal.data.pictures import load_picture

    picture = load_picture(options.image) if options.image else None
    service = _open(options)
    hits = service.find_images(service.query(options.text, picture), options.top_k)
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
    from crossmodal.files import write_text
    from crossmodal.search.prompt import answer_all, as_file

    if not options.output:
        raise CrossmodalError("--queries needs --output FILE, a .csv or .json.")
    as_file([], options.output.suffix)  # refuses another kind before the work is done
    sentences = [line for line in _sentences(options.queries) if line.strip()]
    if not sentences:
        raise CrossmodalError(f"{options.queries} holds no sentence; it should hold one a line.")
    records = answer_all(_open(options), sentences, options.top_k)
    write_text(options.output, as_file(records, options.output.suffix))
    print(f"Wrote {len(records)} answers to {len(sentences)} sentences into {options.output}")


def _demo(options: argparse.Namespace) -> None:
    from crossmodal.search.prompt import prompt

    prompt(_open(options), options.top_k)


def _caption(options: argparse.Namespace) -> None:
    from crossmodal.data.pictures import load_picture

    picture = load_picture(options.picture)
    service = _open(options)
    among = service.encode_list(_sentences(options.among)) if options.among else None
    hits = service.find_captions(service.query(picture=picture), options.top_k, among)
    if options.json:
        _print_json([{"caption": hit.caption, "score": round(hit.score, 4), "image": hit.image} for hit in hits])
    else:
        for hit in hits:
            print(f"{hit.score:.3f}  {hit.caption}")


def _sentences(path: Path) -> list[str]:
    from crossmodal.data.everyday import everyday_scenes

    if str(path) == "everyday":
        return everyday_scenes()
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CrossmodalError(f"The list of captions {path} cannot be read as text ({error}).") from error


def _print_json(content: list[dict[str, Any]]) -> None:
    print(json.dumps(content, ensure_ascii=False, indent=2))


def _asked(options: argparse.Namespace) -> "Asked":
    from crossmodal.evaluation.evaluate import Asked

    given = vars(options)
    return Asked(**{field.name: given[field.name] for field in fields(Asked) if field.name in given})


def _evaluate(options: argparse.Namespace) -> None:
    from crossmodal.evaluation.evaluate import evaluate
    from crossmodal.evaluation.result import NOTE, table
    from crossmodal.files import write_text

    results = evaluate(options.checkpoint, _asked(options), terminal, average_captions=options.average_captions)
    print("\n".join([*map(table, results), NOTE]))
    if options.json:
        flat = [{"name": result.name, **result.metrics, "intervals": result.intervals} for result in results]
        averaged = {"average_captions": flat[1]} if options.average_captions else {}
        write_text(options.json, json.dumps(flat[0] | averaged, indent=2) + "\n")


def _compare(options: argparse.Namespace) -> None:
    from crossmodal.evaluation.compare import compare, table
    from crossmodal.evaluation.result import as_json
    from crossmodal.files import write_text

    compared = compare(options.checkpoints, _asked(options), terminal)
    print(table(compared))
    if options.json:
        write_text(options.json, as_json([*compared.baselines, *compared.systems], compared.of))


def _report(options: argparse.Namespace) -> None:
    from crossmodal.evaluation.report.report import report
    from crossmodal.search.runs import default_run

    models = options.checkpoints or [default_run()]
    for path in report(models, options.output, options.png, _asked(options), terminal):
        print(f"Wrote {path}")


def _agreement(options: argparse.Namespace) -> None:
    from crossmodal.evaluation.agreement import agreement
    from crossmodal.files import write_text
    from crossmodal.search.runs import default_run

    figures = agreement(options.checkpoint or default_run(), options.ratings, _asked(options), terminal)
    print(
        f"Kendall's tau-c {figures['tau_c']:.1f} over {figures['judgements']:,} judgements of {figures['images']:,} images"
    )
    if options.json:
        write_text(options.json, json.dumps(figures, indent=2) + "\n")


def _embed(options: argparse.Namespace) -> None:
    from crossmodal.evaluation.evaluate import embed

    for path in embed(options.checkpoint, options.captions, options.images, options.skip_bad, terminal):
        print(f"Wrote {path}")


def _download(options: argparse.Namespace) -> None:
    from crossmodal.data.download import download

    captions, images = download(options.name, options.to, options.archive, terminal)
    print(f"Wrote {captions} and {images}; train with: python training_script.py")


def _draw(options: argparse.Namespace) -> None:
    from crossmodal.data.sample import draw_sample

    captions, images = draw_sample(options.folder, options.scenes, options.seed, terminal)
    print(f"Wrote {captions} and {images}")
