"""Evaluates a checkpoint on captioned images by the protocol, or writes its embedding files."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from crossmodal.data.dataset import Dataset, read_dataset, refuse_if_many_bad
from crossmodal.data.splits import read_names
from crossmodal.encoder import first_dimensions
from crossmodal.encoding.collection import encode_dataset
from crossmodal.encoding.devices import worker_count
from crossmodal.encoding.embeddings import Embeddings, image_path, save_embeddings, text_path
from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.evaluation.result import Result, measure
from crossmodal.hubs import Banks
from crossmodal.progress import Bars, silent
from crossmodal.recipe import DRAWN_RATIOS, NORMAL
from crossmodal.runs.opening import (
    SHIPPED,
    checkpoint_of,
    default_run,
    epoch_of,
    open_encoder,
    sample_embeddings,
)

Say = Callable[[str], None]  # prints a sentence for the user


@dataclass(frozen=True)
class ImageChoice:
    """The images to evaluate on, as the user chose them; None is the run's own data, or the default split."""

    captions: Path | None = None
    images: Path | None = None
    split_file: Path | None = None
    split: str | None = None
    skip_bad: bool = False
    weights: Path | None = None  # a folder that is searched first for a published model's weights
    quality: str = NORMAL  # of photos' vectors; HIGH takes the mean of as many views as the model says


def evaluate(
    checkpoint: Path | None, choice: ImageChoice, bars: Bars = silent, say: Say = print, average_captions: bool = False
) -> dict[str, Result]:
    """Return the figures of a checkpoint on the chosen images; a result's name says what was measured.

    `cosine` are those of plain similarities. Where the checkpoint has banks, `query_bank` are those of the order that
    search gives; a model trained with matryoshka has `first_N` for each prefix of N dimensions; with `average_captions`
    there are those of each image's captions as one vector. With a split file exactly its images are ranked; otherwise the chosen split. The default split is test where there is one, else val,
    else all. Raises CrossmodalError when no image is left.
    """
    model, content, about = open_encoder(checkpoint or default_run(), choice.weights)
    chosen, of = choose_images(content, choice, bars, say)
    views = model.views(choice.quality)
    embeddings = encode_dataset(model, chosen, {}, worker_count(), bars, views)
    of += f", {views} views of each" if views > 1 else ""
    found = {"cosine": measure_embeddings(f"{about}; {of}", embeddings)}
    if banks := Banks.of(content):
        biases = banks.biases(embeddings.images.numpy(), embeddings.texts.numpy())
        found["query_bank"] = measure_embeddings("with query-bank normalisation, as search ranks", embeddings, biases)
    for size in model.prefixes[:-1]:
        images, texts = (first_dimensions(side, size) for side in (embeddings.images, embeddings.texts))
        cut = replace(embeddings, images=images, texts=texts)
        found[f"first_{size}"] = measure_embeddings(f"the first {size} of {model.prefixes[-1]:,} dimensions", cut)
    if average_captions:
        name = "each image's captions as one mean vector"
        found["average_captions"] = measure_embeddings(name, average_of_captions(embeddings))
    return found


def measure_embeddings(
    name: str, embeddings: Embeddings, biases: tuple[np.ndarray, np.ndarray] | None = None
) -> Result:
    """Return the figures of all images and captions; `biases` as in ranks_of."""
    return measure(name, embeddings.images, embeddings.texts, embeddings.caption_to_image, biases)


def average_of_captions(embeddings: Embeddings) -> Embeddings:
    """Return the embeddings with one text per image: the normalised mean of its captions' vectors."""
    count = len(embeddings.images)
    sums = torch.zeros(count, embeddings.texts.shape[1]).index_add_(
        0, embeddings.caption_to_image, embeddings.texts.float()
    )
    return replace(embeddings, texts=F.normalize(sums, dim=1), caption_to_image=torch.arange(count))


def choose_images(content: dict[str, Any], choice: ImageChoice, bars: Bars, say: Say) -> tuple[Dataset, str]:
    """Return the images to evaluate a checkpoint on, and their description."""
    captions, images = data_paths(choice.captions, choice.images, content["data"])
    names = read_names(choice.split_file) if choice.split_file else None
    dataset = _read(captions, images, choice.skip_bad, content, bars, say, names)
    if choice.split_file:
        chosen, name = dataset, str(choice.split_file)
    else:
        name = choice.split or next((split for split in ("test", "val") if len(dataset.split(split))), "all")
        chosen = dataset.split(name)
    if not len(chosen):
        raise CrossmodalError(f"There is no image in the split {name} of {captions}; choose another with --split.")
    return chosen, f"{captions}, {name}: {len(chosen):,} images, {len(chosen.captions):,} captions"


def embed(
    checkpoint: Path | None,
    captions: Path | None,
    images: Path | None,
    skip_bad: bool = False,
    bars: Bars = silent,
    say: Say = print,
    quality: str = NORMAL,
) -> tuple[Path, Path]:
    """Write a checkpoint's embedding files of all images and captions again; return their paths.

    Those of the shipped checkpoint are of the drawn sample, unless other data are named.
    """
    path = checkpoint_of(checkpoint or default_run())
    epoch = epoch_of(path)
    model, content, _ = open_encoder(path)
    written = image_path(path.parent, epoch), text_path(path.parent, epoch)
    if captions is None and path.parent.name == SHIPPED:
        save_embeddings(path.parent, epoch, content["fingerprint"], sample_embeddings(model, content, bars=bars))
        return written
    kept = {"ratios": content["data"].get("ratios", DRAWN_RATIOS)}
    note = {"note": content["data"]["note"]} if captions is None and "note" in content["data"] else {}
    captions, images = data_paths(captions, images, content["data"])
    dataset = _read(captions, images, skip_bad, content, bars, say)
    data = {"captions": str(captions.resolve()), "images": str(images.resolve()), **kept, **note}
    views = model.views(quality)
    embeddings = encode_dataset(model, dataset, data, worker_count(), bars, views).with_banks(Banks.of(content))
    save_embeddings(path.parent, epoch, content["fingerprint"], embeddings)
    return written


def data_paths(captions: Path | None, images: Path | None, data: dict[str, Any]) -> tuple[Path, Path]:
    """Return the caption file and the image folder that the user named, or else those of the run."""
    if (captions is None) != (images is None):
        raise CrossmodalError("Give both --captions and --images, or neither for the data of the run.")
    if captions is not None and images is not None:
        return captions, images
    if not {"captions", "images"} <= data.keys() or not Path(data["captions"]).exists():
        raise CheckpointError(
            "The data that this model was trained on were not found; name the data to use with --captions and --images."
        )
    return Path(data["captions"]), Path(data["images"])


def _read(
    captions: Path,
    images: Path,
    skip_bad: bool,
    content: dict[str, Any],
    bars: Bars,
    say: Say,
    names: Collection[str] | None = None,
) -> Dataset:
    # A split that the run drew is drawn again from its seed and ratios.
    ratios, seed = content["data"].get("ratios", DRAWN_RATIOS), content["recipe"]["seed"]
    checked = read_dataset(captions, images, ratios, seed, bars, names=names)
    if checked.notes:
        say(f"{captions}: {' '.join(checked.notes)}")
    for row in checked.bad:
        say(f"  {row}")
    refuse_if_many_bad(checked, captions, skip_bad)
    return checked.dataset
