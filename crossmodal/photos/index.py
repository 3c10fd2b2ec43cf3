"""Indexing a folder as a user asks for it: with which model, in which place, and what is refused."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from crossmodal.errors import CrossmodalError
from crossmodal.files import shown
from crossmodal.hubs import Banks
from crossmodal.photos.ocr import rapidocr_reader, read_texts, require_rapidocr
from crossmodal.photos.store import DATABASE, INDEX_FOLDER, Store, index_folder
from crossmodal.photos.update import Changes, Watch, Work, here, locked, update
from crossmodal.recipe import NORMAL
from crossmodal.runs.models import kept_as
from crossmodal.search.calibration import cutoff_of

Cluster = Callable[[Path, int], Work]  # is given the model's checkpoint, and how many views of a photo to encode


def index_photos(
    photos: Path,
    index: Path | None = None,
    checkpoint: Path | str | None = None,
    excluded: Sequence[str] | None = None,
    rebuild: bool = False,
    watch: Watch = lambda step: None,
    default: Path | str | None = None,
    cluster: Cluster | None = None,
    included: Sequence[str] | None = None,
    forget_missing: bool = False,
    quality: str | None = None,
    weights: Path | None = None,
    ocr: bool | None = None,
) -> Changes:
    """Make or bring up to date the index of a folder of photos.

    `index` is where it lies, by default beside the photos. A new one is made with `checkpoint` (a checkpoint, a run, or a
    published model by its name, whose weights are looked for in `weights` first), else with `default`, else with the best of
    the default run; one that is there keeps its own model. The patterns
    `excluded` and `included` are remembered until others are given (see Excluded). With `cluster` the work is
    done where it says; `forget_missing` as for `update`. In HIGH `quality` a vector is the mean over as many views of
    its photo as the model says. With `ocr` the text in photos is read too, also of those that were indexed before, until
    `ocr` is False. Raises CrossmodalError when another model, or this one in another quality, made the
    index, unless `rebuild` throws it away first.
    """
    photos = Path(photos)
    if not photos.is_dir():
        raise CrossmodalError(f"The folder of photos {photos} is not there.")
    folder = index_folder(photos, index)
    if folder.name == INDEX_FOLDER and folder.parent.resolve() != photos.resolve():
        raise CrossmodalError(
            f"An index with the name {INDEX_FOLDER} is of the folder that it lies in; give --index another name."
        )
    if ocr:
        require_rapidocr()
    with locked(folder):
        if rebuild or not (folder / DATABASE).is_file():
            _create(folder, photos, checkpoint or default, quality or NORMAL, weights)
        with Store(folder, writable=True) as store:
            _refuse_strangers(store, photos, checkpoint, quality, weights)
            if weights and str(weights.resolve()) != store.meta["weights"]:
                store.set_meta("weights", str(weights.resolve()))
            asked = (("excluded", excluded and list(excluded)), ("included", included and list(included)), ("ocr", ocr))
            for key, value in asked:
                if value is not None and value != store.meta[key]:
                    store.set_meta(key, value)
            meta, maker = store.meta, store.maker
            if cluster and maker.published:
                raise CrossmodalError(
                    f"A cluster indexes with a checkpoint, not with {maker.checkpoint}; leave out --on."
                )
            if cluster is None:
                work = here(lambda: maker.runtime(to_stay=True), meta["views"])
            else:
                work = cluster(maker.model()[0], meta["views"])
            root = photos.resolve()
            changes = update(store, root, meta["excluded"], work, watch, meta["included"], forget_missing)
            if meta["ocr"]:
                changes.read = read_texts(store, root, rapidocr_reader, watch)
            return changes


def _create(folder: Path, photos: Path, checkpoint: Path | str | None, quality: str, weights: Path | None) -> None:
    from crossmodal.encoding.openvino_export import fastest_runtime
    from crossmodal.runs.opening import checkpoint_of, default_run, open_model

    path = kept_as(checkpoint_of(checkpoint or default_run()))
    model, content = open_model(path, weights)
    runtime = fastest_runtime(model, content["fingerprint"])
    inside = folder.resolve().is_relative_to(photos.resolve())
    root = os.path.relpath(photos.resolve(), folder.resolve()) if inside else str(photos.resolve())
    cutoff, banks = cutoff_of(path, content["fingerprint"]), Banks.of(content)
    Store.create(folder, {
        "cutoff": cutoff.plain() if cutoff else None,
        "fingerprint": content["fingerprint"], "checkpoint": str(path), "recipe": model.label,
        "size": model.joint_size + bool(banks), "bank": banks.captions.plain() if banks else None, "runtime": runtime.name, "root": root, "excluded": [],
        "included": [], "ocr": False, "quality": quality, "views": model.views(quality), "weights": str(weights.resolve()) if weights else None,
    })  # fmt: skip


def _refuse_strangers(
    store: Store, photos: Path, checkpoint: Path | str | None, quality: str | None, weights: Path | None
) -> None:
    """Raise CrossmodalError where the index is of another folder, or another model or quality was asked for."""
    again = f"python -m crossmodal index {shown(str(photos))} --rebuild"
    if store.root.resolve() != photos.resolve():
        raise CrossmodalError(
            f"The index in {store.folder} is of {shown(str(store.root))}, not of {shown(str(photos))}; name another "
            "folder with --index."
        )
    if quality not in (None, store.meta["quality"]):
        raise CrossmodalError(
            f"The index in {store.folder} has vectors of {store.meta['quality']} quality; make it again with: {again} "
            f"--quality {quality}"
        )
    if checkpoint is not None:
        from crossmodal.runs.opening import checkpoint_of, fingerprint_at

        path = checkpoint_of(checkpoint)
        if fingerprint_at(path, weights or store.maker.weights) != store.meta["fingerprint"]:
            raise CrossmodalError(
                f"The index in {store.folder} was made by another model ({store.meta['recipe']}, "
                f"{store.meta['checkpoint']}) than {path}; make it again with: {again} --checkpoint {path}"
            )
