"""The features of frozen towers, computed once and cached on disk."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossmodal.data.dataset import CaptionedImage
from crossmodal.errors import CheckpointError
from crossmodal.files import load_tensors, save_tensors


def kept(folder: Path, tower: nn.Module, inputs: Any, make: Callable[[], Tensor]) -> Tensor:
    """Return `make()`, or what it returned before for the same tower and inputs, from the cache `folder`.

    `inputs` are plain values that identify what is encoded: captions, or the `files_of` images.
    """
    digest = hashlib.sha256(json.dumps([tower.plain(), inputs], sort_keys=True).encode())  # type: ignore[operator]
    for key, value in tower.state_dict().items():
        digest.update(key.encode() + value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    path = folder / f"{digest.hexdigest()[:24]}.pt"
    if path.is_file():
        try:
            return load_tensors(path, advice="it is computed again.")["features"]
        except (CheckpointError, KeyError):  # damaged by another program
            pass
    features = make()
    save_tensors(path, {"features": features})
    return features


def files_of(images: Sequence[CaptionedImage]) -> list[tuple[str, int, int]]:
    """Return what changes when a photo does: its path, size and time of change."""
    stats = ((image.path.resolve(), image.path.stat()) for image in images)
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]
