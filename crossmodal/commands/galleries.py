"""The options that say which gallery is meant, and how its photos are narrowed; the same for every command."""

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.errors import CrossmodalError
from crossmodal.galleries import Place
from crossmodal.search.filters import Filters, filters_on

if TYPE_CHECKING:
    from crossmodal.search.search import Search

COLLECTION = Place.collection


def add_gallery_options(command: argparse.ArgumentParser) -> None:
    """Add what names a gallery: a run's by default, an indexed folder's, or one in Milvus."""
    which = command.add_argument_group("gallery (default: that of the newest run's best epoch)")
    which.add_argument("--photos", type=Path, metavar="DIR", help="an indexed folder of photos")
    which.add_argument("--index", type=Path, metavar="DIR", help="where its index lies, if not in the folder")
    add_model_options(which, "a checkpoint, a run, or a folder of runs")
    which.add_argument("--split", choices=("train", "val", "test", "all"), help="photos of a run (default: all)")
    which.add_argument("--images", type=Path, metavar="DIR", help="where a run's photos lie, if they were moved")
    which.add_argument(
        "--milvus", metavar="URL", help="a gallery that was loaded into Milvus; --photos and --checkpoint then say where its "
        "photos and its model lie on this machine, if elsewhere",
    )  # fmt: skip
    which.add_argument(
        "--collection", default=COLLECTION, metavar="NAME", help="its name in Milvus (default: %(default)s)"
    )


def add_model_options(command: Any, meaning: str) -> None:
    """Add --checkpoint and --weights; `meaning` says what the first takes beside the names of published models.

    It is --model too, as such models are called; `command` is a parser, or a group of one.
    """
    command.add_argument(
        "--checkpoint", "--model", type=Path, metavar="MODEL",
        help=f"{meaning}; or a published model: open_clip:MODEL/WEIGHTS, clip-ViT-B-32, "
        "sentence-transformers:NAME",
    )  # fmt: skip
    add_weights_option(command)


def add_weights_option(command: Any) -> None:
    """Add --weights to a parser, or to a group of one."""
    command.add_argument(
        "--weights", type=Path, metavar="DIR", help="folder with weights of published models, which is searched first"
    )


def place_of(options: argparse.Namespace) -> Place:
    """Return the gallery that the options mean; raises CrossmodalError for options that contradict each other."""
    if (options.photos or options.milvus) and (options.split or options.images):
        raise CrossmodalError("--split and --images are of a run; leave them out, or leave out --photos and --milvus.")
    if options.index and not options.photos:
        raise CrossmodalError("--index says where the index of --photos DIR lies; give --photos too.")
    return Place(
        options.photos, options.index, options.checkpoint, options.split or "all", options.images, options.milvus,
        options.collection, options.weights,
    )  # fmt: skip


def opened(options: argparse.Namespace) -> "Search":
    """Open the gallery that the options mean."""
    from crossmodal.galleries import open_search
    from crossmodal.progress import silent, terminal

    return open_search(place_of(options), silent if getattr(options, "json", False) else terminal)


def add_filter_options(command: argparse.ArgumentParser) -> None:
    """Add an option for each filter, and what else narrows or sorts an answer."""
    narrowed = command.add_argument_group("filters (ignored where the gallery lacks the data)")
    types: dict[str, Any] = {"day": _day, "number": float, "text": str, "choice": str}
    for one in filters_on():
        metavar = "YYYY-MM-DD" if one.kind == "day" else None
        choices = one.choices or None
        narrowed.add_argument(f"--{one.name}", type=types[one.kind], metavar=metavar, choices=choices, help=one.help)
    narrowed.add_argument("--by-date", action="store_true", help="the newest of the best first")
    narrowed.add_argument("--no-cut-off", action="store_true", help="also photos that hardly look like the query")
    narrowed.add_argument("--no-groups", action="store_true", help="copies of a photo one by one")


def filters_of(options: argparse.Namespace) -> Filters:
    """Return the filters that the options ask for."""
    return Filters(**{one.name: getattr(options, one.name) for one in filters_on()})


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a date; write it as 2024-08-31") from None
