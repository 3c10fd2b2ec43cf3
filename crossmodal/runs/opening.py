"""Opening a run: its checkpoint with its embeddings; the drawn sample's where a model comes without."""

import contextlib
import shlex
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from crossmodal.checkpoint_format import ADVICE, check_checkpoint
from crossmodal.data.everyday import everyday_scenes
from crossmodal.encoding.devices import choose_device
from crossmodal.encoding.embeddings import (
    Embeddings,
    image_path,
    load_embeddings,
    model_path,
    save_embeddings,
    text_path,
)
from crossmodal.encoding.everyday_embeddings import save_everyday
from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.files import load_tensors
from crossmodal.hubs import Banks
from crossmodal.places import DRAWN, SHIPPED_RUN, TRAINING
from crossmodal.progress import Bars, silent
from crossmodal.runs.folder import best_epoch, epochs_in, runs_in
from crossmodal.towers.published_names import NAMES, is_published

if TYPE_CHECKING:
    from crossmodal.dual_encoder import DualEncoder
    from crossmodal.encoder import Encoder
    from crossmodal.encoding.openvino_export import Model
    from crossmodal.text_side import TextAlone

CHECKPOINTS = Path("model-checkpoints")
SAMPLE = DRAWN
SHIPPED = "shipped"
_LOADING = threading.Lock()


def default_run(checkpoints: Path = CHECKPOINTS) -> Path:
    """Return the folder of the newest run of one's own, else of the shipped one.

    Raises CheckpointError when there is none.
    """
    runs = runs_in(checkpoints)
    if not runs and checkpoints == CHECKPOINTS and epochs_in(SHIPPED_RUN):
        return SHIPPED_RUN  # of the package, in a folder where nothing was trained
    own = [run for run in runs if run.name != SHIPPED]
    if not runs:
        raise CheckpointError(f"There is no checkpoint in {checkpoints}; train one with `{shlex.join(TRAINING)}`.")
    return (own or runs)[0]


def checkpoint_of(path: Path | str) -> Path:
    """Return the checkpoint that a path means: the file itself, or the best epoch of a run folder.

    The name of a published model means itself, and the shipped run is found from any folder, as the page's own folder names it.
    Raises CheckpointError for what is neither there nor named as a checkpoint's file.
    """
    path = Path(path)
    if path == CHECKPOINTS / SHIPPED and not path.exists():
        path = SHIPPED_RUN
    if is_published(path):
        return path
    if not path.is_dir():
        if path.suffix != ".pt" and not path.exists():
            raise CheckpointError(
                f"{path} is not there. Name a checkpoint, the folder of a run, or a published model: {NAMES}."
            )
        return path
    run = path if epochs_in(path) else default_run(path)
    return model_path(run, best_epoch(run) or 0)


def trained_checkpoint_of(path: Path | str) -> Path:
    """Return the checkpoint that a path means, as `checkpoint_of`; raises CheckpointError for a published model."""
    if is_published(path):
        raise CheckpointError(f"{path} is a published model; name a checkpoint, or the folder of a run.")
    return checkpoint_of(path)


def rebuild_command(checkpoint: Path) -> str:
    """Return the command that makes a checkpoint's embeddings again."""
    return f"python -m crossmodal embed --checkpoint {shlex.quote(str(checkpoint))}"


def epoch_of(checkpoint: Path) -> int:
    """Return the epoch in a checkpoint's name; raises CheckpointError for another kind of name."""
    epochs = [epoch for epoch in epochs_in(checkpoint.parent) if model_path(checkpoint.parent, epoch) == checkpoint]
    if not epochs:
        raise CheckpointError(f"{checkpoint} is not there, or not named model_epoch_N.pt as training names it.")
    return epochs[0]


def load_model(checkpoint: Path) -> "tuple[DualEncoder, dict[str, Any]]":
    """Load a checkpoint onto the best device; one at a time, since transformers cannot be imported by two threads at once."""
    _refuse_published(checkpoint)
    with _LOADING:
        # Here, since the towers take seconds to import, and embeddings are read without them.
        from crossmodal.dual_encoder import DualEncoder

        return DualEncoder.load(checkpoint, choose_device())


def load_text(checkpoint: Path) -> "tuple[TextAlone, str]":
    """Load the text side of a checkpoint onto the best device, and its fingerprint; one at a time, as `load_model`."""
    with _LOADING:
        from crossmodal.text_side import TextAlone  # here, as above

        return TextAlone.load(checkpoint, choose_device())


def open_model(which: Path, weights: Path | None = None) -> "tuple[Model, dict[str, Any]]":
    """Load a checkpoint, or a published model by its name, onto the best device; return it and what else is known of it.

    `weights` is a folder looked into first for a published one, of which next to nothing is known but its fingerprint.
    Raises WeightsError where its weights cannot be had, and as `load_model` does.
    """
    if not is_published(which):
        return load_model(which)
    with _LOADING:
        from crossmodal.rebuilding import fingerprint_of  # here, as above
        from crossmodal.towers.published_clip import published_clip

        model = published_clip(str(which), weights)
        fingerprint = fingerprint_of(model.state_dict(), model.plain(), None)
        return model.to(choose_device()), {"fingerprint": fingerprint, "data": {}, "recipe": {"seed": 0}}


def _refuse_published(path: Path) -> None:
    """Raise CrossmodalError where a run is asked for, and a published model is named."""
    if is_published(path):
        raise CrossmodalError(
            f"{path} is a published model, which has no run and no photos; index a folder with it and search that: "
            f"python -m crossmodal index DIR --model {path}"
        )


def about_checkpoint(checkpoint: Path, whole: bool = False) -> dict[str, Any]:
    """Return what a checkpoint says beside its weights; raises CheckpointError.

    The weights are not read, but for a comparison with the file's sums where it is to be `whole`.
    """
    _refuse_published(checkpoint)
    content = load_tensors(checkpoint, advice=ADVICE, mmap=True, whole=whole)
    check_checkpoint(content, checkpoint)
    return {key: value for key, value in content.items() if key != "weights"}


def fingerprint_at(which: Path, weights: Path | None = None) -> str:
    """Return the fingerprint of a checkpoint, or of a published model, which is loaded for that; raises as `open_model`."""
    return (open_model(which, weights)[1] if is_published(which) else about_checkpoint(which))["fingerprint"]


def open_encoder(which: Path | str, weights: Path | None = None) -> "tuple[Encoder, dict[str, Any], str]":
    """Open a checkpoint, a run's best one, or a published model by its name.

    Returns the model on the best device, or on a CPU by its fastest runtime, what a checkpoint says beside its weights
    (of a published model next to nothing), and a line that names it. `weights` is a folder looked into for published ones.
    """
    from crossmodal.encoding.openvino_export import FastEncoder

    path = checkpoint_of(which)
    loaded, content = open_model(path, weights)
    model = FastEncoder(loaded, content["fingerprint"]) if loaded.device.type == "cpu" else loaded
    if is_published(path):
        return model, content, f"{path}, as published"
    recipe = content["recipe"]
    return model, content, f"{path}, recipe {recipe['name']}, seed {recipe['seed']}, epoch {content['epoch']}"


def open_embeddings(checkpoint: Path, fingerprint: str, bars: Bars = silent) -> Embeddings:
    """Read a checkpoint's embeddings; where the shipped one has none, the drawn sample is encoded and they are kept.

    Raises CheckpointError, with the command that makes them, for another checkpoint without embeddings.
    """
    epoch, folder = epoch_of(checkpoint), checkpoint.parent
    absent = not image_path(folder, epoch).exists() and not text_path(folder, epoch).exists()
    if not (absent and folder.name == SHIPPED):
        return load_embeddings(folder, epoch, fingerprint, rebuild_command(checkpoint))
    model, content = load_model(checkpoint)
    embeddings = sample_embeddings(model, content, bars=bars)
    # In a folder that cannot be written they serve this session alone.
    with contextlib.suppress(CrossmodalError):
        save_embeddings(folder, epoch, fingerprint, embeddings)
        scenes = everyday_scenes()
        save_everyday(folder, epoch, fingerprint, scenes, torch.cat(list(model.encode_sentences(scenes))))
    return embeddings


def sample_embeddings(
    model: "Encoder", content: Mapping[str, Any], sample: Path = SAMPLE, bars: Bars = silent
) -> Embeddings:
    """Encode the drawn sample, drawing it first where it is not there."""
    from crossmodal.data.dataset import read_dataset
    from crossmodal.data.sample import NOTE, draw_sample
    from crossmodal.encoding.collection import encode_dataset

    captions, images = draw_sample(sample, bars=bars)
    dataset = read_dataset(captions, images, check=False).dataset
    data = {"sample": True, "note": NOTE}
    return encode_dataset(model, dataset, data, workers=0, bars=bars).with_banks(Banks.of(content))


def photos_of(embeddings: Embeddings, images: Path | None = None, sample: Path = SAMPLE) -> Path:
    """Return the folder of the photos that embeddings are of: `images` where it is named, else what the run says.

    The drawn sample, which comes with no run, lies in `sample`.
    """
    if images:
        return Path(images)
    return sample / "images" if embeddings.data.get("sample") else Path(str(embeddings.data.get("images", "")))
