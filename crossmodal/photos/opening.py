"""What searching an index needs: its folder of photos, and the model that made it."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossmodal.encoding.runtime import Exported, OpenVinoRuntime, Runtime
from crossmodal.errors import CrossmodalError
from crossmodal.files import checked_fingerprint
from crossmodal.photos.store import Store
from crossmodal.photos.walk import shown


def root_of(store: Store) -> Path:
    """Return the folder of photos that an index is of; an index inside its folder travels with it."""
    return Path(os.path.normpath(store.folder / store.meta["root"]))


def runtime_of(store: Store, text_only: bool = False) -> Runtime:
    """Return the runtime of the model that made an index; raises CrossmodalError when that model is not here.

    With `text_only` exported towers are used where they are there, without loading the checkpoint.
    """
    return runtime_by(store.meta, f"the index in {store.folder}", _again(store), text_only)


def runtime_by(meta: Mapping[str, Any], of: str, again: str, text_only: bool = False) -> Runtime:
    """Return the runtime of the model that `meta` names; `of` is what it made, `again` the command to make that anew."""
    exported = Exported.of(checked_fingerprint(meta["fingerprint"], of[0].upper() + of[1:]))
    if exported and (text_only or meta["runtime"] == "OpenVINO"):
        return OpenVinoRuntime(exported)
    # Only here, since it takes seconds to import.
    from crossmodal.encoding.openvino_export import TorchRuntime, fastest_runtime

    model = _model_of(meta, of, again)[1]
    return TorchRuntime(model) if meta["runtime"] == "torch" else fastest_runtime(model, meta["fingerprint"])


def checkpoint_of_index(store: Store) -> Path:
    """Return the file of the model that made an index; raises CrossmodalError when it is not here."""
    return _model_of(store.meta, f"the index in {store.folder}", _again(store))[0]


def _again(store: Store) -> str:
    return f"python -m crossmodal index {shown(str(root_of(store)))} --rebuild --checkpoint FILE"


def _model_of(meta: Mapping[str, Any], of: str, again: str) -> tuple[Path, Any]:
    """Return a model and its file: where `meta` says, or, on another machine, among the runs here."""
    from crossmodal.runs.folder import runs_in
    from crossmodal.runs.opening import CHECKPOINTS, checkpoint_of, load_model

    where = Path(meta["checkpoint"])
    for path in (where, *(checkpoint_of(run) for run in runs_in(CHECKPOINTS))):
        with contextlib.suppress(CrossmodalError):  # absent, or what lies there now is no checkpoint
            model, content = load_model(path)
            if content["fingerprint"] == meta["fingerprint"]:
                return path, model
    raise CrossmodalError(
        f"The model that made {of} is no longer at {where}; name a checkpoint, and make it anew with: {again}"
    )
