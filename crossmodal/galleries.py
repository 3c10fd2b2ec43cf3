"""Opening a gallery to be searched, wherever it lies: what page, serving and commands have in common."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from crossmodal.errors import CrossmodalError
from crossmodal.places import TRAIN
from crossmodal.progress import Bars, silent

if TYPE_CHECKING:
    from crossmodal.runs.models import Maker
    from crossmodal.search.gallery import Gallery
    from crossmodal.search.run_gallery import RunGallery
    from crossmodal.search.search import Search


@dataclass(frozen=True)
class Place:
    """Which gallery is meant: one in Milvus, an indexed folder of photos, else a run's, by default the newest run's best."""

    photos: Path | None = None  # an indexed folder; with `milvus`, where the photos lie on this machine
    index: Path | None = None  # where its index lies, if not in the folder
    checkpoint: Path | None = (
        None  # a checkpoint, or a folder of runs; with `milvus` or `photos`, where their model lies, by name too
    )
    split: str = "all"
    images: Path | None = None  # where a run's photos lie, if they were moved
    milvus: str | None = None
    collection: str = "crossmodal"
    weights: Path | None = None  # where those of a published model lie on this machine, if elsewhere


def open_gallery(place: Place, bars: Bars = silent, to_stay: bool = False) -> "tuple[Gallery, Maker]":
    """Open a gallery, and say which model made it; with `to_stay` it is prepared for many searches.

    Raises CrossmodalError for what is not there, or does not belong together.
    """
    if place.milvus:
        from crossmodal.runs.opening import checkpoint_of
        from crossmodal.scale.milvus.connection import Milvus
        from crossmodal.scale.milvus.gallery import MilvusGallery

        checkpoint = checkpoint_of(place.checkpoint) if place.checkpoint else None
        loaded = MilvusGallery(Milvus.existing(place.milvus, place.collection), checkpoint, place.photos, place.weights)
        return loaded, loaded.maker
    if place.photos:
        from crossmodal.photos.gallery import FolderGallery
        from crossmodal.photos.store import index_folder

        folder = FolderGallery(index_folder(place.photos, place.index), to_stay)
        maker = replace(folder.maker, weights=place.weights) if place.weights else folder.maker
        return folder, _at(maker, place.checkpoint) if place.checkpoint else maker
    run = open_run(place.checkpoint, place.images, bars).only(place.split)
    return run, maker_of_run(run.about.fingerprint, run.about.checkpoint)


def _at(maker: "Maker", checkpoint: Path) -> "Maker":
    """Return the model that made an index, which lies at `checkpoint` too; raises CrossmodalError for another one."""
    from crossmodal.runs.opening import checkpoint_of, fingerprint_at

    checkpoint = checkpoint_of(checkpoint)
    if fingerprint_at(checkpoint, maker.weights) != maker.fingerprint:
        raise CrossmodalError(
            "A folder of photos is searched with the model that indexed it; leave out --checkpoint, or index the folder "
            "again with it: python -m crossmodal index DIR --rebuild --checkpoint MODEL"
        )
    return replace(maker, checkpoint=checkpoint)


def open_search(place: Place, bars: Bars = silent, to_stay: bool = False) -> "Search":
    """Open a gallery with the model that made it, which is loaded when the first query comes.

    With `to_stay` both are prepared for many searches, and the model is opened at once. Raises as `open_gallery` does.
    """
    from crossmodal.runs.models import LazyRuntime
    from crossmodal.search.search import Search

    gallery, maker = open_gallery(place, bars, to_stay)
    return Search(gallery, maker.runtime(to_stay) if to_stay else LazyRuntime(maker))


def open_run(checkpoint: Path | None = None, images: Path | None = None, bars: Bars = silent) -> "RunGallery":
    """Open the gallery of a run: all photos that it encoded, or those of the drawn sample for the shipped model."""
    # Here, since torch takes seconds to import, and a search in an index does without.
    from crossmodal.data.sample import draw_sample
    from crossmodal.runs.opening import (
        SAMPLE,
        about_checkpoint,
        checkpoint_of,
        default_run,
        open_embeddings,
        photos_of,
    )  # fmt: skip
    from crossmodal.search.calibration import cutoff_of
    from crossmodal.search.gallery import About
    from crossmodal.search.run_gallery import RunGallery

    path = checkpoint_of(checkpoint or default_run())
    # Whole, since its towers may be exported already, and be those from before a damage.
    content = about_checkpoint(path, whole=True)
    embeddings = open_embeddings(path, content["fingerprint"], bars)
    cutoff = cutoff_of(path, content["fingerprint"], embeddings)
    if embeddings.data.get("sample"):  # drawings, and thresholds of photos
        cutoff = cutoff.of_sentences() if cutoff else None
        if not images:
            draw_sample(SAMPLE, bars=bars)
    about = About(
        f"{content['recipe']['name']}, epoch {content['epoch']}", photos_of(embeddings, images), content["fingerprint"],
        path, content["recipe"]["name"], frozenset(), cutoff, content["metrics"],
        str(embeddings.data.get("note", "")),
    )  # fmt: skip
    return RunGallery(embeddings, about)


def loaded(place: Place) -> float | None:
    """Return when a gallery was loaded into Milvus, in seconds; None where it is not there whole."""
    from crossmodal.scale.milvus.connection import Milvus

    milvus = Milvus.existing(str(place.milvus), place.collection)
    try:
        return milvus.about().get("loaded")
    finally:
        milvus.close()


def maker_of_run(fingerprint: str, checkpoint: Path) -> "Maker":
    """Return the model that made a run's gallery."""
    from crossmodal.runs.models import Maker

    return Maker(fingerprint, checkpoint, "this run's embeddings", TRAIN)
