"""Reading and encoding photos in an actor pool of Ray Data; a worker that dies loses only its batch, which is done again."""

import logging
import os
import pickle
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from crossmodal.data.decoders import Decoders
from crossmodal.data.prepared import Wanted
from crossmodal.errors import CrossmodalError
from crossmodal.photos.reading import MOST, TOO_LARGE, Prepare, Read, digest_of, read_content, read_photo
from crossmodal.photos.update import AT_ONCE, Encoded, Work, encoded
from crossmodal.scale.ray.shards import Place, read_member
from crossmodal.search.record import Found

BATCHES_IN_A_ROUND = 5000  # that Ray is given at once
ASKED_AHEAD = 4  # batches that are requested before they are recorded
READERS = 4  # photos that are read at a time, for each worker


def start_ray(where: str, workers: int | None) -> int:
    """Connect to a cluster (ray://HOST:PORT), or start one on this machine (local); return how many workers there will be.

    Raises CrossmodalError without Ray, or where no cluster answers.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # an error is reported once, in a sentence
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # its makers are told nothing
    if (Path.home() / ".ray" / "auth_token").is_file():  # newer clusters ask for it, and Ray's client does not look
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise CrossmodalError("--on needs Ray: pip install -r requirements-ray.txt") from error
    import crossmodal

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if where != "local" and not where.startswith("ray://"):
        raise CrossmodalError(f"--on {where} cannot be used; give local, or ray://HOST:PORT of a cluster.")
    # A cluster gets this code; what it imports has to be installed there.
    code = None if where == "local" else {"py_modules": [str(Path(crossmodal.__file__).parent)]}
    try:
        ray.init(where, runtime_env=code, log_to_driver=False, logging_level="error",
                 include_dashboard=False if where == "local" else None)  # fmt: skip
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise CrossmodalError(f"No Ray cluster answers at {where} ({str(error).splitlines()[0]}).") from error
    return workers or max(1, int(ray.cluster_resources().get("CPU", 1)))


def on_ray(where: str, workers: int | None, checkpoint: Path, views: int) -> Work:
    """Return the work of `update`, done by workers."""
    count = start_ray(where, workers)

    def work(root: Path, todo: Sequence[Found], known: Collection[bytes]) -> Iterator[Encoded]:
        for reads, vectors in spread(checkpoint, root, todo, count, views):
            yield _without_known(reads, vectors, known)

    return work


def spread(checkpoint: Path, root: Path, todo: Sequence[Place], workers: int, views: int = 1) -> Iterator[Encoded]:
    """Yield batches as they are done, in any order; the batch of a worker that died is done again by another.

    Raises CrossmodalError where the cluster is lost; what was yielded until then is done.
    """
    import ray

    step = AT_ONCE * BATCHES_IN_A_ROUND
    try:
        # The file goes along, so that no worker has to have it.
        content = ray.put(checkpoint.read_bytes())
        for start in range(0, len(todo), step):
            part = todo[start : start + step]
            batches = [pickle.dumps(part[at : at + AT_ONCE]) for at in range(0, len(part), AT_ONCE)]
            # Ray Data runs in the cluster alone, and the client it answers may be elsewhere.
            job = ray.remote(num_cpus=0)(Job).remote([content], checkpoint.name, str(root), batches, workers, views)
            waiting = [job.take.remote() for _ in range(ASKED_AHEAD)]
            while (done := ray.get(waiting.pop(0))) is not None:
                waiting.append(job.take.remote())
                yield pickle.loads(done)
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines()[-1]
        raise CrossmodalError(
            f"The work on Ray ended early ({said[:300]}); run the same command again for what is left."
        ) from error


class Job:
    """Runs in the cluster: gives batches to workers, and returns what they did."""

    def __init__(
        self, content: list[Any], name: str, root: str, batches: list[bytes], workers: int, views: int
    ) -> None:
        import ray

        ray.data.DataContext.get_current().enable_progress_bars = False  # the command has its own
        rows = [{"batch": batch} for batch in batches]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Worker, batch_size=1, fn_constructor_args=(content[0], name, root, views), concurrency=min(workers, len(rows)),
            num_cpus=1,
        )  # fmt: skip
        self._rows = iter(done.iter_rows())

    def take(self) -> bytes | None:
        """Return the next batch that is done, or None after the last."""
        row = next(self._rows, None)
        return None if row is None else row["done"]


class Worker:
    """Holds the towers, and encodes one batch after another."""

    def __init__(self, content: Any, name: str, root: str, views: int) -> None:
        import ray

        from crossmodal.dual_encoder import DualEncoder
        from crossmodal.encoding.openvino_export import fastest_runtime

        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(ray.get(content))
            model, about = DualEncoder.load(path)
        self._runtime, self._root = fastest_runtime(model, about["fingerprint"]), Path(root)
        self._views = views
        self._readers, self._decoders = ThreadPoolExecutor(READERS), Decoders(READERS)

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list[bytes]]:
        """Read and encode one batch."""
        wanted = Wanted(self._runtime.preprocessing, written=True)
        read = partial(_read, self._root, lambda content: self._decoders(content, wanted))
        batch = list(self._readers.map(read, pickle.loads(rows["batch"][0])))
        vectors = encoded(self._runtime, batch, self._views)
        bare = [replace(one, pixels=None) for one in batch]
        return {"done": [pickle.dumps((bare, vectors))]}


def _read(root: Path, prepare: Prepare, place: Place) -> Read:
    if isinstance(place, Found):
        return read_photo(root, place, prepare, ())
    found = place.found
    if found.size > MOST:
        return Read(found, reason=TOO_LARGE)
    try:
        content = read_member(place)
    except OSError as error:
        return Read(found, reason=f"{os.path.basename(place.shard)} cannot be read ({error.strerror or error})")
    return read_content(found, digest_of(content), content, prepare)


def _without_known(reads: list[Read], vectors: np.ndarray | None, known: Collection[bytes]) -> Encoded:
    """Drop the vectors of contents that an index has already, under whatever path, as a run in one process does."""
    if vectors is None:
        return reads, None
    kept, bare = [], []
    place = 0
    for read in reads:
        if read.described is None:
            bare.append(read)
            continue
        if read.digest in known:
            bare.append(Read(read.found, read.digest))
        else:
            bare.append(read)
            kept.append(place)
        place += 1
    return bare, vectors[kept] if kept else None
