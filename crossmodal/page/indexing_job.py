"""Indexing behind the page: in a thread of its own, watched from any session."""

import threading
import traceback
from pathlib import Path

import streamlit as st

from crossmodal.errors import CrossmodalError
from crossmodal.photos.index import index_photos
from crossmodal.photos.update import Changes, Step


class IndexingJob:
    """One run over one folder."""

    def __init__(self, photos: Path, checkpoint: Path) -> None:
        """`checkpoint` makes an index that is not there yet."""
        self.photos = photos
        self.step: Step | None = None
        self.changes: Changes | None = None
        self.error = ""
        self._checkpoint = checkpoint
        # A thread that dies with the server: what it did so far is recorded, and the next run goes on.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.changes = index_photos(self.photos, checkpoint=None, default=self._checkpoint, watch=self._watch)
        except CrossmodalError as error:
            self.error = str(error)
        except Exception as error:  # it would end unseen in this thread
            traceback.print_exc()
            self.error = f"The indexing of {self.photos} stopped unexpectedly ({error}); the log says more."

    def _watch(self, step: Step) -> None:
        self.step = step


@st.cache_resource
def jobs() -> dict[Path, IndexingJob]:
    """Return the jobs of all sessions, by folder."""
    return {}


def start(photos: Path, checkpoint: Path) -> None:
    """Start a run unless one is at work on this folder."""
    running = jobs().get(photos)
    if running is None or not running.running:
        jobs()[photos] = IndexingJob(photos, checkpoint)
