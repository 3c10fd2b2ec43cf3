"""index: make a folder of photos searchable."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from crossmodal.commands.cluster import add_spreading_options, check_spreading, cluster_of, write_parquet
from crossmodal.commands.galleries import add_model_options
from crossmodal.commands.measuring import add_quality_option

if TYPE_CHECKING:
    from crossmodal.photos.changes import Step


def add_index_command(commands: Any) -> None:
    """Add `index`."""
    index = commands.add_parser("index", help="make a folder of photos searchable, or bring its index up to date")
    index.add_argument("photos", type=Path, help="folder of photos, with all below it")
    index.add_argument(
        "--index", type=Path, metavar="DIR", help="where the index lies (default: .crossmodal in the folder)"
    )
    add_model_options(index, "model that makes it (default: the newest run's best)")
    index.add_argument(
        "--exclude",
        action="append",
        metavar="PATTERN",
        help="leave out files and folders by name or path; may be repeated",
    )
    index.add_argument(
        "--include",
        action="append",
        metavar="PATTERN",
        help="take in hidden folders and files of the system by name or path",
    )
    index.add_argument(
        "--forget-missing", action="store_true", help="forget photos that are gone with all of their folder, too"
    )
    index.add_argument(
        "--ocr",
        action=argparse.BooleanOptionalAction,
        help="read the text in photos too, so that it is found; about a second a photo; the index remembers it",
    )
    add_quality_option(index, default=None)
    index.add_argument("--rebuild", action="store_true", help="throw the old index away first")
    index.add_argument("--verbose", action="store_true", help="list every file and folder that cannot be used")
    add_spreading_options(index)
    index.set_defaults(run=_index)


def _index(options: argparse.Namespace) -> None:
    from crossmodal.encoding.runtime import TORCH
    from crossmodal.files import shown
    from crossmodal.photos.index import index_photos
    from crossmodal.photos.store import Store, index_folder
    from crossmodal.photos.summary import summary

    check_spreading(options)
    bar: tqdm[Any] = tqdm(unit="photo", desc="Preparing the model", disable=None, leave=False)
    try:
        if options.parquet:
            print(write_parquet(options, shown_on(bar)))
            return
        changes = index_photos(
            options.photos, options.index, options.checkpoint, options.exclude, options.rebuild, shown_on(bar),
            cluster=cluster_of(options), included=options.include, forget_missing=options.forget_missing,
            quality=options.quality, weights=options.weights, ocr=options.ocr,
        )  # fmt: skip
    finally:
        bar.close()
    with Store(index_folder(options.photos, options.index), writable=False) as store:
        skipped = {path: reason for path, (_, reason) in store.skipped().items()}
        photos = sum(1 for _ in store.photos())
        maker, runtime = store.maker, store.meta["runtime"]
    print(summary(changes, photos, list(skipped.values())))
    if maker.published and runtime == TORCH:
        print(f"{maker.checkpoint} runs in torch here: on a GPU, or where OpenVINO cannot hold it, or is slower.")
    if skipped and not options.verbose:
        print("--verbose lists the files that cannot be used.")
    if options.verbose:
        for path, reason in skipped.items():
            print(f"  {shown(path)}: {reason}")
        for folder in changes.unreadable:
            print(f"  {shown(folder) or '.'}: the folder cannot be listed; what was known of it is kept")


def shown_on(bar: "tqdm[Any]") -> "Callable[[Step], None]":
    """Return what moves a bar on, step by step of an indexing."""

    def watch(step: "Step") -> None:
        if step.photos < bar.n:  # text is read after all photos were indexed
            bar.reset()
        bar.set_description(step.doing, refresh=False)
        bar.total = step.photos_in_all
        bar.update(step.photos - bar.n)
        bar.set_postfix_str(f"{step.bytes / 1e9:.2f} of {step.bytes_in_all / 1e9:.2f} GB")

    return watch
