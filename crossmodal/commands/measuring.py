"""The commands that measure a model (evaluate, compare, report, agreement, calibrate), and embed, which writes its embeddings."""

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.commands.galleries import add_model_options, add_weights_option
from crossmodal.errors import CrossmodalError
from crossmodal.progress import terminal
from crossmodal.recipe import NORMAL, QUALITIES

if TYPE_CHECKING:
    from crossmodal.evaluation.evaluate import ImageChoice


def add_measuring_commands(commands: Any) -> None:
    """Add the commands evaluate, compare, report, agreement, calibrate and embed."""
    evaluate = commands.add_parser("evaluate", help="recall and ranks of a checkpoint, in both directions")
    evaluate.add_argument(
        "--average-captions", action="store_true", help="also rank with the mean vector of each image's captions"
    )
    evaluate.set_defaults(run=_evaluate)
    compare = commands.add_parser(
        "compare", help="several checkpoints and the baselines in one table; or two by a blind vote, with --photos"
    )
    compare.add_argument(
        "checkpoints", type=Path, nargs="+", help="checkpoints, runs, folders of runs (all of them), published models"
    )
    vote = compare.add_argument_group("a blind vote between two models, without captions")
    vote.add_argument("--photos", type=Path, metavar="DIR", help="a folder of photos that both search")
    vote.add_argument("--index", type=Path, metavar="DIR", help="where its index lies, beside which votes are kept")
    vote.add_argument(
        "--queries", type=Path, metavar="FILE", help="one a line (default: ten sentences about everyday scenes)"
    )
    compare.set_defaults(run=_compare)
    report = commands.add_parser("report", help="one HTML file: figures, curves, maps, queries, failures")
    report.add_argument(
        "checkpoints",
        type=Path,
        nargs="*",
        help="as for compare (default: the best epoch of the newest run); photos are of the first",
    )
    report.add_argument("--output", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html")
    report.add_argument("--png", action="store_true", help="also write the charts and grids as PNG files beside it")
    report.set_defaults(run=_report)
    agreement = commands.add_parser("agreement", help="Kendall's tau-c with human judgements of captions")
    agreement.add_argument("ratings", type=Path, help="image,caption,rating, or Flickr8k's expert or crowd annotations")
    agreement.set_defaults(run=_agreement)
    calibrate = commands.add_parser(
        "calibrate", help="find out, on any captions, below which scores nothing looks like a query"
    )
    calibrate.set_defaults(run=_calibrate)
    for command in (evaluate, compare, report):
        _choice_of_images(command)
    _choice_of_images(calibrate, "val")
    for command in (evaluate, compare, agreement):
        command.add_argument("--json", type=Path, metavar="FILE", help="also save the figures here")
    for command in (compare, report):
        add_weights_option(command)
    for command in (evaluate, agreement, calibrate):
        add_model_options(command, "checkpoint, or a run's folder (default: the best epoch of the newest run)")
    embed = commands.add_parser("embed", help="write a checkpoint's embeddings again")
    embed.set_defaults(run=_embed)
    embed.add_argument(
        "--checkpoint", type=Path, help="checkpoint, or a run's folder (default: the best epoch of the newest run)"
    )
    for command in (evaluate, compare, report, agreement, calibrate, embed):
        command.add_argument(
            "--captions", type=Path, help="caption file, or folder of captions (default: that of the run)"
        )
        command.add_argument("--images", type=Path, help="folder of photos (default: that of the run)")
        command.add_argument(
            "--skip-bad", action="store_true", help="continue even if more than 1 %% of the rows cannot be used"
        )
    for command in (evaluate, compare, embed):
        add_quality_option(command)


def add_quality_option(command: argparse.ArgumentParser, default: str | None = NORMAL) -> None:
    """Add --quality, of the vectors of photos; a `default` of None leaves it to what is there."""
    command.add_argument(
        "--quality",
        choices=QUALITIES,
        default=default,
        help="high encodes several views of each photo, as many as its model says, and takes their mean (default: normal, or that of an index)",
    )


def _choice_of_images(command: argparse.ArgumentParser, split: str | None = None) -> None:
    command.add_argument("--split-file", type=Path, help="evaluate the images named in this file, one per line")
    command.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        default=split,
        help=f"evaluate this split (default: {split or 'test, else val, else all'})",
    )


def _image_choice(options: argparse.Namespace) -> "ImageChoice":
    from crossmodal.evaluation.evaluate import ImageChoice

    given = vars(options)
    return ImageChoice(**{field.name: given[field.name] for field in fields(ImageChoice) if field.name in given})


def _evaluate(options: argparse.Namespace) -> None:
    from crossmodal.evaluation.evaluate import evaluate
    from crossmodal.evaluation.result import NOTE, table
    from crossmodal.files import write_text

    results = evaluate(options.checkpoint, _image_choice(options), terminal, average_captions=options.average_captions)
    print("\n".join([*map(table, results.values()), NOTE]))
    if options.json:
        flat = {
            key: {"name": result.name, **result.metrics, "intervals": result.intervals}
            for key, result in results.items()
        }
        write_text(options.json, json.dumps(flat.pop("cosine") | flat, indent=2) + "\n")


def _compare(options: argparse.Namespace) -> None:
    if options.photos:
        from crossmodal.commands.voting import compare_on_photos

        return compare_on_photos(options)
    if options.index or options.queries:
        raise CrossmodalError("--index and --queries are for a vote on photos; give --photos DIR too.")
    from crossmodal.evaluation.compare import compare, table
    from crossmodal.evaluation.result import as_json
    from crossmodal.files import write_text

    compared = compare(options.checkpoints, _image_choice(options), terminal)
    print(table(compared))
    if options.json:
        write_text(options.json, as_json([*compared.baselines, *compared.systems], compared.of))


def _report(options: argparse.Namespace) -> None:
    from crossmodal.evaluation.report.build import write_report
    from crossmodal.runs.opening import default_run

    models = options.checkpoints or [default_run()]
    for path in write_report(models, options.output, options.png, _image_choice(options), terminal):
        print(f"Wrote {path}")


def _agreement(options: argparse.Namespace) -> None:
    from crossmodal.evaluation.agreement import agreement
    from crossmodal.files import write_text
    from crossmodal.runs.opening import default_run

    figures = agreement(options.checkpoint or default_run(), options.ratings, _image_choice(options), terminal)
    print(
        f"Kendall's tau-c {figures['tau_c']:.1f} over all {figures['judgements']:,} judgements "
        f"of {figures['images']:,.0f} images"
    )
    if "published_tau_c" in figures:
        print(
            f"Kendall's tau-c {figures['published_tau_c']:.1f} over {figures['published_judgements']:,} judgements, "
            "without those of an image's own captions, as published figures are"
        )
    if options.json:
        write_text(options.json, json.dumps(figures, indent=2) + "\n")


def _calibrate(options: argparse.Namespace) -> None:
    from crossmodal.encoding.collection import encode_captions, encode_files
    from crossmodal.encoding.devices import worker_count
    from crossmodal.evaluation.evaluate import choose_images, data_paths
    from crossmodal.files import write_text
    from crossmodal.hubs import Banks
    from crossmodal.runs.opening import checkpoint_of, default_run, open_encoder
    from crossmodal.search.calibration import LEAST, calibrate, queries_about
    from crossmodal.search.cutoff import FILE, cutoff_folder

    path = checkpoint_of(options.checkpoint or default_run())
    model, content, _ = open_encoder(path, options.weights)
    chosen, of = choose_images(content, _image_choice(options), terminal, print)
    if len(chosen) < LEAST:
        raise CrossmodalError(f"{of}: fewer than {LEAST} tell too little; name more, for example with --split all.")
    images, banks = encode_files(model, chosen, worker_count(), terminal).numpy(), Banks.of(content)
    captions, _ = data_paths(options.captions, options.images, content["data"])
    queries = queries_about(
        images, [image.captions for image in chosen.images], lambda texts: encode_captions(model, texts, terminal).numpy(),
        banks.captions.bias(images) if banks else None,
    )  # fmt: skip
    cutoff = calibrate(queries, f"{len(chosen):,} photos of {captions.name}")
    place = cutoff_folder(path, content["fingerprint"]) / FILE
    write_text(place, json.dumps(cutoff.plain(), indent=2) + "\n")
    print(f"Wrote {place}, calibrated on {of}")


def _embed(options: argparse.Namespace) -> None:
    from crossmodal.evaluation.evaluate import embed

    given = options.checkpoint, options.captions, options.images, options.skip_bad
    for path in embed(*given, terminal, quality=options.quality):
        print(f"Wrote {path}")
