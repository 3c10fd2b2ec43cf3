"""load: bring a gallery into Milvus."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from crossmodal.commands.galleries import COLLECTION, place_of
from crossmodal.errors import CrossmodalError

if TYPE_CHECKING:
    from crossmodal.scale.milvus.loading import Source


def add_load_command(commands: Any) -> None:
    """Add `load`."""
    load = commands.add_parser("load", help="load a gallery into Milvus, or bring it up to date there")
    load.add_argument("milvus", metavar="URL", help="http://HOST:PORT of a server or cluster, or a file NAME.db")
    what = load.add_mutually_exclusive_group()
    what.add_argument("--photos", type=Path, metavar="DIR", help="an indexed folder of photos")
    what.add_argument(
        "--checkpoint",
        "--model",
        type=Path,
        metavar="MODEL",
        help="a checkpoint, a run, or a folder of runs (default: the newest run)",
    )
    load.add_argument(
        "--parquet", type=Path, metavar="DIR", help="what `index --parquet` wrote with the model of --checkpoint"
    )
    load.add_argument("--split", choices=("train", "val", "test", "all"), help="photos of a run (default: all)")
    load.add_argument(
        "--images", type=Path, metavar="DIR", help="where the photos of --parquet lie, or a run's, if they were moved"
    )
    load.add_argument(
        "--index", type=Path, metavar="DIR", help="where the index of --photos lies, if not in the folder"
    )
    load.add_argument(
        "--collection", default=COLLECTION, metavar="NAME", help="its name in Milvus (default: %(default)s)"
    )
    load.add_argument("--rebuild", action="store_true", help="throw away what is there first")
    load.set_defaults(run=_load)


def _load(options: argparse.Namespace) -> None:
    from crossmodal.scale.milvus.connection import Milvus
    from crossmodal.scale.milvus.loading import load

    milvus = Milvus(options.milvus, options.collection)
    source = _source(options)
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
        f"{len(source.photos):,} photos{captions} in {options.milvus}, collection {options.collection}: {sent:,} rows sent, searched {milvus.kind}. "
        f"Serve them with: python -m crossmodal serve --milvus {options.milvus}"
        + (f" --collection {options.collection}" if options.collection != COLLECTION else "")
    )


def _source(options: argparse.Namespace) -> "Source":
    """Return what the options name; raises CrossmodalError for options that do not go together."""
    if options.parquet:
        if options.photos or options.split or options.index or not options.images:
            raise CrossmodalError(
                "--parquet DIR goes with --images DIR, where its photos lie, and --checkpoint, which wrote it; leave out "
                "--photos, --index and --split."
            )
        from crossmodal.runs.opening import checkpoint_of, default_run
        from crossmodal.scale.milvus.parquet import source_in_parquet

        return source_in_parquet(options.parquet, checkpoint_of(options.checkpoint or default_run()), options.images)
    from crossmodal.galleries import open_gallery
    from crossmodal.progress import terminal
    from crossmodal.scale.milvus.loading import SourceInMemory
    from crossmodal.search.in_memory import PhotosInMemory

    place = place_of(argparse.Namespace(**vars(options) | {"milvus": None, "weights": None}))
    gallery, _ = open_gallery(place, terminal)
    assert isinstance(gallery, PhotosInMemory)
    return SourceInMemory.of(gallery)
