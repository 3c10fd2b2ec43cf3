"""load: bring a gallery into Milvus."""

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from crossmodal.commands.galleries import COLLECTION, place_of


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
    load.add_argument("--split", choices=("train", "val", "test", "all"), help="photos of a run (default: all)")
    load.add_argument("--images", type=Path, metavar="DIR", help="where a run's photos lie, if they were moved")
    load.add_argument(
        "--index", type=Path, metavar="DIR", help="where the index of --photos lies, if not in the folder"
    )
    load.add_argument(
        "--collection", default=COLLECTION, metavar="NAME", help="its name in Milvus (default: %(default)s)"
    )
    load.add_argument("--rebuild", action="store_true", help="throw away what is there first")
    load.set_defaults(run=_load)


def _load(options: argparse.Namespace) -> None:
    from crossmodal.galleries import open_gallery
    from crossmodal.progress import terminal
    from crossmodal.scale.milvus.connection import Milvus
    from crossmodal.scale.milvus.loading import Source, load
    from crossmodal.search.in_memory import PhotosInMemory

    place = place_of(argparse.Namespace(**vars(options) | {"milvus": None, "weights": None}))
    milvus = Milvus(options.milvus, options.collection)
    gallery, _ = open_gallery(place, terminal)
    assert isinstance(gallery, PhotosInMemory)
    source = Source.of(gallery)
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
