"""Work that the page does in the background: drawing the sample, indexing a folder; any session can watch it."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from crossmodal.encoding.runtime import Exported
from crossmodal.errors import CrossmodalError
from crossmodal.page.address import run_again
from crossmodal.page.options import SAMPLE
from crossmodal.page.shared import Progress, Work
from crossmodal.photos.store import DATABASE, Store
from crossmodal.search.hit import Hit

if TYPE_CHECKING:
    from crossmodal.photos.changes import Changes, Step

EVERY = 0.7  # seconds between looks at work
REFRESH = 3.0  # seconds between fresh results while photos are added, at the least

_LOCK, _PREPARING = threading.Lock(), threading.Lock()
_WANTED: deque[str] = deque(maxlen=300)  # drawings that sessions show, the last ones first
_DRAWING: list[Work[None]] = []
_INDEXING: "dict[Path, Work[Changes]]" = {}


@st.fragment(run_every=EVERY)
def watch(work: Work[Any], refresh: float | None = None) -> None:
    """Show how far some work is, and the page again when it is done, or every `refresh` seconds where that is given."""
    now = time.monotonic()
    if work.finished or (refresh and now - st.session_state.get("refreshed", now) > refresh):
        st.session_state.pop("refreshed", None)
        run_again()
    st.session_state.setdefault("refreshed", now)
    # The seconds go on where a step of the work takes many of them.
    st.progress(work.progress.share, f"{work.progress.text} · {now - work.started:.0f} s")


def drawing() -> Work[None] | None:
    """Return the work that draws the sample, begun once for the whole server; None when the sample is there."""
    if (SAMPLE / "sample.json").is_file():
        return None
    with _LOCK:
        if not _DRAWING:
            _DRAWING.append(Work("Drawing the sample", _draw))
        return _DRAWING[0]


def _draw(work: Work[None]) -> None:
    from crossmodal.data.sample import draw_sample  # here, as what indexes, since most visitors need neither

    draw_sample(SAMPLE, bars=work.bars, wanted=lambda: list(_WANTED))


def want(hits: Sequence[Hit]) -> None:
    """Draw these scenes first: a session is showing them."""
    _WANTED.extendleft(reversed([hit.name for hit in hits]))


def indexing(photos: Path) -> "Work[Changes] | None":
    """Return the last run over a folder since the server started, at work or finished."""
    return _INDEXING.get(photos.resolve())


def index(
    photos: Path,
    place: Path,
    checkpoint: Path | None,
    weights: Path | None = None,
    rebuild: bool = False,
    ocr: bool | None = None,
    instead: Path | None = None,
) -> None:
    """Begin to index a folder, or to bring its index in `place` up to date, unless that is under way.

    `checkpoint` makes a new one, or a published model by its name, whose weights are looked for in `weights` first; with
    `rebuild` also in place of one that is there. Where it cannot be read the checkpoint `instead` makes the index, if there is
    one. `ocr` is as for `index_photos`.
    """
    folder = photos.resolve()
    with _LOCK:
        before = _INDEXING.get(folder)
        if before is None or before.finished:
            _INDEXING[folder] = Work(
                "Looking through the folder",
                lambda work: _index(work, photos, place, checkpoint, weights, rebuild, ocr, instead),
            )


def _index(
    work: "Work[Changes]",
    photos: Path,
    place: Path,
    checkpoint: Path | None,
    weights: Path | None,
    rebuild: bool,
    ocr: bool | None,
    instead: Path | None,
) -> "Changes":
    from crossmodal.photos.index import index_photos

    if checkpoint and instead and not (place / DATABASE).is_file():
        checkpoint = _readable(work, checkpoint, instead)
    _prepare_model(work, place, checkpoint, weights, rebuild)
    work.progress = Progress("Looking through the folder")

    def watched(step: "Step") -> None:
        detail = f" so far, {step.photos_per_second:.2g} a second, {step.seconds_left:.0f} s left"
        work.progress = Progress(step.doing, step.photos, step.photos_in_all, detail)

    return index_photos(photos, place, default=checkpoint, rebuild=rebuild, watch=watched, weights=weights, ocr=ocr)


def _readable(work: "Work[Changes]", checkpoint: Path, instead: Path) -> Path:
    """Return a checkpoint, or another one where it cannot be loaded, which is said."""
    from crossmodal.runs.opening import load_model

    try:
        load_model(checkpoint)
    except CrossmodalError as error:
        work.note = f"The shipped model was taken for this folder, since {error}"
        return instead
    return checkpoint


def _prepare_model(
    work: "Work[Changes]", place: Path, checkpoint: Path | None, weights: Path | None, rebuild: bool
) -> None:
    """Prepare the model where that was not done on this machine, which takes longer than hundreds of photos."""
    from crossmodal.encoding.openvino_export import fastest_runtime
    from crossmodal.galleries import maker_of_run
    from crossmodal.runs.opening import checkpoint_of, default_run, fingerprint_at

    if (place / DATABASE).is_file() and not rebuild:
        with Store(place, writable=False) as store:
            maker = store.maker  # whose checkpoint may have moved since the index was made
    else:
        path = checkpoint_of(checkpoint or default_run())
        maker = replace(maker_of_run(fingerprint_at(path, weights), path), weights=weights)
    if Exported.of(maker.fingerprint):
        return
    title = "Preparing the model for this machine, once"
    work.progress = Progress(title)
    with _PREPARING:  # of two folders begun at once, the second finds what the first prepared
        if Exported.of(maker.fingerprint):
            return
        work.progress = Progress(title, 1, 3, ", loading its weights")
        _, model = maker.model()
        work.progress = Progress(title, 2, 3, ", converting it for this processor and timing both forms")
        fastest_runtime(model, maker.fingerprint)
