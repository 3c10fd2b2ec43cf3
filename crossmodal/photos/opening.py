"""What searching an index needs: its folder of photos, and the model that made it."""

import os
from pathlib import Path

from crossmodal.files import shown
from crossmodal.photos.store import Store
from crossmodal.runs.models import Maker


def root_of(store: Store) -> Path:
    """Return the folder of photos that an index is of; an index inside its folder travels with it."""
    return Path(os.path.normpath(store.folder / store.meta["root"]))


def maker_of(store: Store) -> Maker:
    """Return the model that made an index."""
    again = f"python -m crossmodal index {shown(str(root_of(store)))} --rebuild --checkpoint FILE"
    return Maker(store.meta["fingerprint"], Path(store.meta["checkpoint"]), f"the index in {store.folder}", again)
