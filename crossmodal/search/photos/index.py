"""Indexing a folder as a user asks for it: which model, which place, what is refused."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.search.photos.cutoff import Cutoff, calibrate
from crossmodal.search.photos.engine import Engine
from crossmodal.search.photos.indexing import Changes, Watch, locked, update
from crossmodal.search.photos.store import DATABASE, Store, index_folder
from crossmodal.search.photos.walk import shown


def index_photos(
    photos: Path,
    index: Path | None = None,
    checkpoint: Path | None = None,
    excluded: Sequence[str] | None = None,
    rebuild: bool = False,
    watch: Watch = lambda step: None,
    default: Path | None = None,
) -> Changes:
    """Make or bring up to date the index of a folder of photos.

    `index` is where it lies, by default beside the photos. A new one is made with `checkpoint` (by
    default the best of the default run); one that is there goes on with its own model, and what it
    leaves out (`excluded`) stays left out unless named anew. Raises CrossmodalError when another
    model made it, unless `rebuild` throws it away first.
    """
    photos = Path(photos)
    if not photos.is_dir():
        raise CrossmodalError(f"The folder of photos {photos} is not there.")
    folder = index_folder(photos, index)
    with locked(folder):
        if rebuild or not (folder / DATABASE).is_file():
            _create(folder, photos, checkpoint or default)
        store = Store(folder, writable=True)
        try:
            _refuse_strangers(store, photos, checkpoint)
            if excluded is not None and list(excluded) != store.meta["excluded"]:
                store.set_meta("excluded", list(excluded))
            return update(store, photos, store.meta["excluded"], lambda: engine_of(store), watch)
        finally:
            store.close()


def root_of(store: Store) -> Path:
    """Return the folder of photos that an index is of; one that lies inside it travels with it."""
    return Path(os.path.normpath(store.folder / store.meta["root"]))


def engine_of(store: Store, text_only: bool = False) -> Engine:
    """Return what encodes as the index was encoded; raises CrossmodalError when its model is not here.

    With `text_only` exported towers are used where they are, without a look at the checkpoint.
    """
    from crossmodal.search.photos.engine import Exported, OpenVinoEngine

    exported = Exported.of(store.meta["fingerprint"])
    if exported and (text_only or store.meta["engine"] == "OpenVINO"):
        return OpenVinoEngine(exported)
    # Only here, since it takes seconds to import.
    from crossmodal.search.photos.export import TorchEngine, fastest_engine

    model, _ = _model_of(store)
    return TorchEngine(model) if store.meta["engine"] == "torch" else fastest_engine(model, store.meta["fingerprint"])


def _model_of(store: Store) -> tuple[Any, dict[str, Any]]:
    """Load the model that made an index: from where it was, or, for an index that travelled, from a run here."""
    from crossmodal.search.runs import CHECKPOINTS, checkpoint_of, load_model
    from crossmodal.training.run_folder import runs_in

    where = Path(store.meta["checkpoint"])
    for path in (where, *(checkpoint_of(run) for run in runs_in(CHECKPOINTS))):
        if path.is_file():
            model, content = load_model(path)
            if content["fingerprint"] == store.meta["fingerprint"]:
                return model, content
    raise CrossmodalError(
        f"The model that made the index in {store.folder} is no longer at {where}; name a checkpoint and make it anew: "
        f"python -m crossmodal index {shown(str(root_of(store)))} --rebuild --checkpoint FILE."
    )


def _create(folder: Path, photos: Path, checkpoint: Path | None) -> None:
    from crossmodal.search.photos.export import fastest_engine
    from crossmodal.search.runs import checkpoint_of, default_run, load_model

    path = checkpoint_of(checkpoint or default_run()).resolve()
    model, content = load_model(path)
    engine = fastest_engine(model, content["fingerprint"])
    inside = folder.resolve().is_relative_to(photos.resolve())
    root = os.path.relpath(photos.resolve(), folder.resolve()) if inside else str(photos.resolve())
    cutoff = _cutoff_of(path, content["fingerprint"])
    Store.create(folder, {
        "cutoff": cutoff.plain() if cutoff else None,
        "fingerprint": content["fingerprint"], "checkpoint": str(path), "recipe": model.recipe.name,
        "size": model.recipe.joint_size, "engine": engine.name, "root": root, "excluded": [],
    })  # fmt: skip


def _cutoff_of(checkpoint: Path, fingerprint: str) -> Cutoff | None:
    """Return what lies beside the checkpoint, else what its own run's validation pairs give, else None."""
    from crossmodal.search.runs import epoch_of, rebuild_command
    from crossmodal.search.tensors import load_embeddings

    found = Cutoff.read(checkpoint.parent)
    if found:
        return found
    try:
        run = load_embeddings(checkpoint.parent, epoch_of(checkpoint), fingerprint, rebuild_command(checkpoint))
    except CheckpointError:  # a checkpoint without its tensors can be searched with all the same
        return None
    rows = np.array([split == "val" for split in run.splits])
    texts = rows[run.caption_to_image.numpy()]
    if not rows.any():
        return None
    new_row = np.cumsum(rows) - 1
    owner = new_row[run.caption_to_image.numpy()[texts]]
    return calibrate(
        run.images.numpy()[rows], run.texts.numpy()[texts], owner, f"{rows.sum()} validation photos of its run"
    )


def _refuse_strangers(store: Store, photos: Path, checkpoint: Path | None) -> None:
    """Raise CrossmodalError where the index is of another folder, or another model was asked for."""
    again = f"python -m crossmodal index {shown(str(photos))} --rebuild"
    if root_of(store).resolve() != photos.resolve():
        raise CrossmodalError(
            f"The index in {store.folder} is of {shown(str(root_of(store)))}, not of {shown(str(photos))}; name another "
            "folder with --index."
        )
    if checkpoint is not None:
        from crossmodal.search.runs import checkpoint_of, load_model

        path = checkpoint_of(checkpoint)
        if load_model(path)[1]["fingerprint"] != store.meta["fingerprint"]:
            raise CrossmodalError(
                f"The index in {store.folder} was made by another model ({store.meta['recipe']}, "
                f"{store.meta['checkpoint']}) than {path}; make it anew with: {again} --checkpoint {path}"
            )
