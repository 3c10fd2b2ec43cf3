"""Training on a user's own captions in the background: the trainer as a process of the server's, and what came of it."""

import atexit
import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crossmodal.data.names import safe_name
from crossmodal.errors import CrossmodalError, printable
from crossmodal.page.shared import Kept, Progress, Work, stamp
from crossmodal.photos.own_captions import EPOCHS, OWN_CAPTIONS, OwnCaptions, training_options
from crossmodal.photos.store import Store
from crossmodal.places import SCRIPTS
from crossmodal.runs.folder import RESULTS, best_epoch, epochs_in, results_of, runs_in

LOG = "training.log"
EVERY = 0.5  # seconds between looks at the trainer
LAST_BYTES = 20_000  # of a log, in which the reason of a failure stands

_LOCK = threading.Lock()
_TRAINING: dict[Path, Work[Path]] = {}


@dataclass(frozen=True)
class Learned:
    """A run that was trained on a user's captions: its best epoch, and its figures on held-out captions.

    These are of the split `test`, which neither training nor the choice of the epoch saw. `before` is the model as it was.
    """

    run: Path
    epoch: int
    before: Mapping[str, float]
    after: Mapping[str, float]

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.run / f"model_epoch_{self.epoch}.pt"


def training(photos: Path) -> Work[Path] | None:
    """Return the last training on the captions of a folder since the server started, at work or finished."""
    return _TRAINING.get(photos.resolve())


def busy() -> bool:
    """Say whether the server trains, on whichever captions."""
    return any(not work.finished for work in _TRAINING.values())


def train(photos: Path, index: Path, checkpoints: Path) -> None:
    """Begin to train the model that made an index further on the captions beside it, unless the server trains already.

    The run goes into a new folder in `checkpoints`; work returns it.
    """
    with _LOCK:
        if not busy():
            _TRAINING[photos.resolve()] = Work("Training", lambda work: _train(work, photos, index, checkpoints))


def _train(work: Work[Path], photos: Path, index: Path, checkpoints: Path) -> Path:
    work.progress = Progress("Opening the model that made the index")
    captions = OwnCaptions(index / OWN_CAPTIONS)
    with Store(index, writable=False) as store:
        maker, root = store.maker, store.root
    if wanting := captions.counted(root).wanting:
        raise CrossmodalError(wanting)
    if maker.published:
        raise CrossmodalError(
            f"The index was made by {maker.checkpoint}, a published model, which is not trained here."
        )
    start, _ = maker.model()
    name = f"learned-{safe_name(photos.resolve().name)}-{time.strftime('%Y-%m-%d-%H%M%S')}"
    run = checkpoints.resolve() / name
    try:
        run.mkdir(parents=True)
        _run(work, training_options(start, captions.path.resolve(), root.resolve(), run), run)
    except OSError as error:
        raise CrossmodalError(f"The training cannot be started: {run}: {error.strerror}.") from error
    return run


def _run(work: Work[Path], options: list[str], run: Path) -> None:
    """Run the trainer to its end; raises CrossmodalError with its reason where it fails."""
    command = [sys.executable, str(SCRIPTS / "training_script.py"), *options]
    with (run / LOG).open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    atexit.register(process.terminate)  # it ends with the server, as other work
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EVERY)
                break
            done = max((record["epoch"] for record in results_of(run)), default=-1)
            work.progress = (
                Progress("Training", done, EPOCHS, " epochs")
                if done >= 0
                else Progress("Reading the photos, and measuring the model as it is")
            )
    finally:
        process.terminate()
        process.wait()
        atexit.unregister(process.terminate)
    if process.returncode:
        raise CrossmodalError(f"The training failed: {reason(run / LOG, process.returncode)}")


def reason(log: Path, code: int) -> str:
    """Return why the trainer ended with an exit code, in a sentence: the last line of its log, unless that is of a crash."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_BYTES))
        text = file.read().decode(errors="replace")
    if code < 0:
        return f"it was ended by the system ({signal.Signals(-code).name}); there may be too little memory."
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    if not lines or "Traceback (most recent call last)" in text:
        return f"it stopped unexpectedly; {log} says more."
    return printable(lines[-1])


_LEARNED = Kept(lambda runs: 0)


def learned(captions: Path, checkpoints: Path) -> Work[list[Learned]]:
    """Return the work that finds the runs that were trained on a file of captions, also from the command line, newest first."""
    runs = runs_in(checkpoints)
    key, files = (str(captions), str(checkpoints)), [run / RESULTS for run in runs]
    return _LEARNED.get(
        key, (*runs, *stamp(*files)), "Looking for what was learned",
        lambda work: [one for run in runs if (one := _learned(run, captions.resolve()))],
    )  # fmt: skip


def _learned(run: Path, captions: Path) -> Learned | None:
    from crossmodal.encoding.embeddings import load_embeddings, model_path
    from crossmodal.evaluation.metrics import metrics_of_split  # these bring torch, which a search does without
    from crossmodal.runs.opening import about_checkpoint, rebuild_command

    epoch = best_epoch(run)
    if epoch is None or 0 not in epochs_in(run):
        return None
    figures = []
    try:
        for one in (0, epoch):
            path = model_path(run, one)
            content = about_checkpoint(path)
            if content["data"].get("captions") != str(captions):
                return None
            embeddings = load_embeddings(run, one, content["fingerprint"], rebuild_command(path))
            if "test" not in embeddings.splits:
                return None
            figures.append(metrics_of_split(embeddings, "test"))
    except CrossmodalError:  # it is not whole, which the run's own gallery says
        return None
    return Learned(run, epoch, *figures)
