"""index --on and --parquet: embedding spread over a cluster."""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.errors import CrossmodalError

if TYPE_CHECKING:
    from crossmodal.photos.index import Cluster
    from crossmodal.photos.update import Step


def add_spreading_options(index: argparse.ArgumentParser) -> None:
    """Add to `index` what spreads its work."""
    spread = index.add_argument_group("spread over a cluster by Ray (requirements-ray.txt)")
    spread.add_argument("--on", metavar="WHERE", help="local, or ray://HOST:PORT")
    spread.add_argument("--workers", type=int, metavar="N", help="how many encode (default: one a core)")
    spread.add_argument("--parquet", type=Path, metavar="DIR", help="write photos and vectors there, not into an index")
    spread.add_argument(
        "--shards", action="store_true", help="the photos are WebDataset shards (*.tar); with --parquet"
    )


def check_spreading(options: argparse.Namespace) -> None:
    """Raise CrossmodalError for options that do not go together."""
    if options.on is None and (options.workers or options.parquet or options.shards):
        raise CrossmodalError("--workers, --parquet and --shards go with --on local or --on ray://HOST:PORT.")
    if options.workers is not None and options.workers < 1:
        raise CrossmodalError(f"--workers {options.workers} encode nothing; give 1 or more.")
    if options.shards and not options.parquet:
        raise CrossmodalError("An index is of photos that can be shown; write those in shards with --parquet DIR.")
    if options.parquet and (options.index or options.rebuild or options.verbose or options.quality):
        raise CrossmodalError("--index, --quality, --rebuild and --verbose are for an index; --parquet writes none.")


def cluster_of(options: argparse.Namespace) -> "Cluster | None":
    """Return where the work is done, None for this process."""
    if options.on is None:
        return None
    from crossmodal.scale.ray.workers import on_ray

    return partial(on_ray, options.on, options.workers)


def write_parquet(options: argparse.Namespace, watch: "Callable[[Step], None]") -> str:
    """Do `index --parquet`; return what was done, in a line."""
    from crossmodal.photos.update import stepped
    from crossmodal.photos.walk import walk
    from crossmodal.runs.opening import checkpoint_of, default_run, load_model
    from crossmodal.scale.ray.parquet import SKIPPED, ParquetFolder
    from crossmodal.scale.ray.shards import members_of, shards_in
    from crossmodal.scale.ray.workers import spread, start_ray

    if not options.photos.exists():
        raise CrossmodalError(f"The folder of photos {options.photos} is not there.")
    root = options.photos.resolve()
    checkpoint = checkpoint_of(options.checkpoint or default_run())
    folder = ParquetFolder(options.parquet, load_model(checkpoint)[1]["fingerprint"])
    places: list[Any]
    if options.shards:
        places = [member for shard in shards_in(root) for member in members_of(shard)]
    else:
        places = list(walk(root, options.exclude or [], lambda folder: None))
    known = folder.known()
    todo = [place for place in places if folder.name_of(place) not in known]
    started = time.monotonic()
    if todo:
        batches = spread(checkpoint, root, todo, start_ray(options.on, options.workers))
        found = [place.found if options.shards else place for place in todo]

        def told() -> Any:
            for batch, step in stepped(batches, found, started):
                yield batch
                watch(step)

        folder.write(told())
    skipped = f", {folder.skipped:,} cannot be used ({options.parquet / SKIPPED})" if folder.skipped else ""
    speed = f", {folder.photos / (time.monotonic() - started):.0f} photos a second" if folder.photos else ""
    return f"{folder.photos:,} photos written to {options.parquet}, {len(places) - len(todo):,} were there{skipped}{speed}."
