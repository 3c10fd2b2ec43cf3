"""What an index needs to be searched: its folder of photos, and the model that made it."""

import os
from pathlib import Path
from typing import Any

from crossmodal.errors import CrossmodalError
from crossmodal.search.photos.engine import Engine, Exported, OpenVinoEngine
from crossmodal.search.photos.store import Store
from crossmodal.search.photos.walk import shown


def root_of(store: Store) -> Path:
    """Return the folder of photos that an index is of; one that lies inside it travels with it."""
    return Path(os.path.normpath(store.folder / store.meta["root"]))


def engine_of(store: Store, text_only: bool = False) -> Engine:
    """Return what encodes as the index was encoded; raises CrossmodalError when its model is not here.

    With `text_only` exported towers are used where they are, without a look at the checkpoint.
    """
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
