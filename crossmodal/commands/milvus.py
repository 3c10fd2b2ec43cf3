"""load: move a gallery into an engine; and the options that name one."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from crossmodal.scale.milvus.connection import Milvus

COLLECTION = "crossmodal"


def add_load_command(commands: Any) -> None:
    """Add `load`."""
    load = commands.add_parser("load", help="load a gallery into Milvus, or bring it up to date there")
    load.add_argument("milvus", metavar="URL", help="http://HOST:PORT of a server or cluster, or a file NAME.db")
    what = load.add_mutually_exclusive_group()
    what.add_argument("--photos", type=Path, metavar="DIR", help="an indexed folder of photos")
    what.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="a run, or a folder of runs (default: the page's)"
    )
    load.add_argument(
        "--index", type=Path, metavar="DIR", help="where the index of --photos lies, if not in the folder"
    )
    add_collection_option(load)
    load.add_argument("--rebuild", action="store_true", help="throw away what is there first")
    load.set_defaults(run=_load)


def add_collection_option(command: argparse.ArgumentParser) -> None:
    """Add the option that names the gallery in an engine."""
    command.add_argument(
        "--collection", default=COLLECTION, metavar="NAME", help="its name in the engine (default: %(default)s)"
    )


def opened_milvus(options: argparse.Namespace) -> "Milvus":
    """Connect to the engine that the options name."""
    from crossmodal.scale.milvus.connection import Milvus

    return Milvus(options.milvus, options.collection)


def _load(options: argparse.Namespace) -> None:
    from crossmodal.photos.store import index_folder
    from crossmodal.scale.milvus.loading import Source, load

    milvus = opened_milvus(options)
    source = (
        Source.of_index(index_folder(options.photos, options.index))
        if options.photos
        else Source.of_run(options.checkpoints)
    )
    bar: tqdm[Any] = tqdm(unit="row", desc="Loading", disable=None, leave=False)

    def watch(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        sent = load(milvus, source, options.rebuild, watch)
    finally:
        bar.close()
    captions = f" and {len(source.captions):,} captions" if source.captions else ""
    print(
        f"{len(source.photos):,} photos{captions} in {options.milvus}, collection {options.collection}: {sent:,} rows sent. "
        f"Serve them with: python -m crossmodal serve --milvus {options.milvus}"
        + (f" --collection {options.collection}" if options.collection != COLLECTION else "")
    )
