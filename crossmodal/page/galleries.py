"""The galleries that the page can search, opened in the background once for the whole server."""

import contextlib
import threading
import time
import weakref
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cachetools import TTLCache, cached

from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.galleries import Place, loaded, maker_of_run, open_gallery, open_run
from crossmodal.page.address import BEST, Asked
from crossmodal.page.options import SAMPLE, SHIPPED, Options
from crossmodal.page.shared import Kept, Work, stamp
from crossmodal.photos.gallery import FolderGallery
from crossmodal.photos.store import DATABASE
from crossmodal.runs.folder import best_epoch, epochs_in, results_of, runs_in
from crossmodal.runs.models import LazyRuntime, Maker
from crossmodal.search.examples import examples
from crossmodal.search.gallery import About, Gallery
from crossmodal.search.in_memory import PhotosInMemory
from crossmodal.search.search import Search

if TYPE_CHECKING:
    from crossmodal.search.run_gallery import RunGallery

SECONDS_LOADED = 10.0  # between looks whether a gallery in Milvus was loaded anew
SECONDS_ALONE = 10.0  # of the text side, before the image side's packages and weights take a processor
MODELS = 4  # runtimes that are kept; the one that was used longest ago is let go


@dataclass(frozen=True)
class Chosen:
    """The gallery that a session looks at, and the run and epoch behind it; one in Milvus has none of its own."""

    name: str
    run: Path | None = None
    epoch: int = 0
    folder: Path | None = None

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint of the run."""
        return self.run / f"model_epoch_{self.epoch}.pt" if self.run else None


def own_runs(options: Options) -> list[Path]:
    """Return the folders of runs but for the shipped one, newest first."""
    return [run for run in runs_in(options.checkpoints) if run != SHIPPED]


def labels(options: Options, run: Path | None) -> dict[str, str]:
    """Return the galleries that can be chosen, with what a user reads."""
    found: dict[str, str] = {}
    if run:
        # A run without validation photos has measured itself on the photos that it was trained on.
        validated = all(record.get("split") != "train" for record in results_of(run))
        found |= {"val": f"Validation photos of {run.name}"} if validated else {}
        found["all"] = f"All photos of {run.name}"
    if epochs_in(SHIPPED):
        found["sample"] = "The drawn sample"
    return (
        found
        | {"folder": "A folder of yours"}
        | ({"milvus": f"Milvus: {options.collection}"} if options.milvus else {})
    )


def own_run(asked: Asked, options: Options) -> Path | None:
    """Return the run that the address names, else the newest, None where there is none; raises CheckpointError for a name of none."""
    runs = own_runs(options)
    names = {run.name: run for run in runs}
    if asked.run and asked.run not in names:
        raise CheckpointError(f"There is no run {asked.run} in {options.checkpoints}; choose another one.")
    return names.get(asked.run) or (runs[0] if runs else None)


def chosen(asked: Asked, options: Options) -> Chosen:
    """Return what the address means; raises CrossmodalError for what is not there, or not shown."""
    run = own_run(asked, options)
    known = labels(options, run)
    first = "milvus" if options.milvus else "folder" if options.photos else next(iter(known))
    name = asked.gallery if asked.gallery in known else first
    if name == "folder":
        place = asked.folder or str(options.photos or "")
        folder = options.allowed(_expanded(place)) if place.strip() else None
        return Chosen(name, run, _epoch(run, asked.epoch), folder)
    if name == "sample":
        return Chosen(name, SHIPPED, best_epoch(SHIPPED) or 0)
    return Chosen(name, run, _epoch(run, asked.epoch))


def _expanded(place: str) -> Path:
    try:
        folder = Path(place).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            folder.stat()
    except RuntimeError as error:  # of a user that this machine does not have
        raise CrossmodalError(f"{place} is not there: this machine has no such user.") from error
    except (OSError, ValueError) as error:
        raise CrossmodalError(f"{place!r:.80} is no name that a folder can have.") from error
    return folder


def _epoch(run: Path | None, asked: int) -> int:
    if run is None:
        return 0
    if asked != BEST and asked not in epochs_in(run):
        raise CheckpointError(f"The run {run.name} has no epoch {asked}; choose another one.")
    return asked if asked != BEST else best_epoch(run) or 0


class Opened:
    """An open gallery and its split views, each with its search; they share vectors, indexes and the model."""

    def __init__(self, gallery: Gallery, maker: Maker, run: "RunGallery | None" = None) -> None:
        """`run` is the gallery again where it is that of a run, which has splits."""
        self.gallery, self.maker, self.run = gallery, maker, run
        # When the last session lets go of it: one in Milvus holds a connection.
        weakref.finalize(self, gallery.close)
        self.runtime = begin_model(maker)
        self.examples = examples(gallery)
        self._searches: dict[str, Search] = {}
        self._lock = threading.Lock()

    def search(self, split: str = "all") -> Search:
        """Return the search of one split of a run, or of all photos; raises CrossmodalError for an empty split."""
        with self._lock:
            if split not in self._searches:
                self._searches[split] = Search(self.run.only(split) if self.run else self.gallery, self.runtime)
            return self._searches[split]

    @property
    def about(self) -> About:
        """What the gallery is."""
        return self.gallery.about


_RUNTIMES: dict[str, LazyRuntime] = {}
_RUNTIMES_LOCK = threading.Lock()


def runtime_of(maker: Maker) -> LazyRuntime:
    """Return the runtime of a model, one for all galleries that it made and all sessions; opened when it is first used."""
    with _RUNTIMES_LOCK:
        runtime = _RUNTIMES.pop(maker.fingerprint, None) or LazyRuntime(maker)
        _RUNTIMES[maker.fingerprint] = runtime
        if len(_RUNTIMES) > MODELS:
            del _RUNTIMES[next(iter(_RUNTIMES))]
        return runtime


def begin_model(maker: Maker) -> LazyRuntime:
    """Return the runtime of a model, and begin to open it, so that the first query does not wait for it as a whole.

    Its text side comes first, and the whole model once the first words are likely to be answered.
    """
    runtime = runtime_of(maker)

    def begin() -> None:
        with contextlib.suppress(CrossmodalError):  # the first query says what is wrong
            runtime.encode_sentences(["a photo"])
            time.sleep(SECONDS_ALONE)
            _ = runtime.preprocessing

    threading.Thread(target=begin, daemon=True).start()
    return runtime


def _bytes(opened: Opened) -> int:
    texts = opened.run.embeddings.texts.nbytes if opened.run else 0
    images = opened.gallery.vectors.nbytes if isinstance(opened.gallery, PhotosInMemory) else 0
    return 2 * (images + texts)  # the vectors, and the indexes that may be made of them


GALLERIES = Kept(_bytes)


def opening(choice: Chosen, options: Options) -> Work[Opened] | None:
    """Return the work that opens a gallery, shared by all sessions; None for a folder that has no index."""
    if choice.name == "folder":
        return _folder(choice.folder, options.index_of(choice.folder)) if choice.folder else None
    if choice.name == "milvus":
        place = Place(
            milvus=options.milvus, collection=options.collection, photos=options.photos, weights=options.weights
        )  # fmt: skip
        return GALLERIES.get(
            place,
            _loaded(place),
            "Opening the gallery in Milvus",
            lambda work: Opened(*open_gallery(place)),
        )
    assert choice.run
    return _run(choice.run, choice.epoch, SAMPLE / "images" if choice.name == "sample" else options.images)


# Once for all sessions and runs: it is asked of Milvus.
_loaded = cached(TTLCache(4, SECONDS_LOADED), lock=threading.Lock())(loaded)


def opening_of_run(choice: Chosen, options: Options) -> Work[Opened] | None:
    """Return the work that opens the run behind what is chosen: of a folder's gallery, the shipped one where there is no other."""
    if choice.run and choice.name != "sample":
        return _run(choice.run, choice.epoch, options.images)
    return _run(SHIPPED, best_epoch(SHIPPED) or 0, SAMPLE / "images") if epochs_in(SHIPPED) else None


def _run(run: Path, epoch: int, images: Path | None) -> Work[Opened]:
    files = [run / f"{kind}_epoch_{epoch}.pt" for kind in ("model", "img_embeds", "txt_embeds")]

    def work(work: Work[Opened]) -> Opened:
        from crossmodal.runs.opening import about_checkpoint  # brings torch

        maker = maker_of_run(about_checkpoint(files[0])["fingerprint"], files[0])
        begin_model(maker)  # beside the embeddings, since it takes longer than they do
        gallery = open_run(files[0], images, work.bars)
        return Opened(gallery, maker, gallery)

    return GALLERIES.get((str(run), epoch, str(images)), stamp(*files), "Opening the gallery", work)


def _folder(photos: Path, folder: Path) -> Work[Opened] | None:
    if not photos.is_dir():
        raise CrossmodalError(
            f"{photos} is {'a file; name the folder that it lies in' if photos.exists() else 'not there'}."
        )
    files = [folder / name for name in (DATABASE, f"{DATABASE}-wal")]
    if not files[0].is_file():
        return None

    def work(work: Work[Opened]) -> Opened:
        gallery = FolderGallery(folder, to_stay=True)
        return Opened(gallery, gallery.maker)

    key: Hashable = str(photos.resolve())
    return GALLERIES.get(key, stamp(*files), "Opening the index", work)
