"""What frozen towers give, computed once and kept on disk."""

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
    """Return `make()`, read from `folder` where the same tower has met the same inputs before.

    `inputs` are plain values that stand for what was encoded: captions, or `files_of` images.
    """
    digest = hashlib.sha256(json.dumps([tower.plain(), inputs], sort_keys=True).encode())  # type: ignore[operator]
    for key, value in tower.state_dict().items():
        digest.update(key.encode() + value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    path = folder / f"{digest.hexdigest()[:24]}.pt"
    if path.is_file():
        try:
            return load_tensors(path, advice="it is made anew.")["features"]
        except (CheckpointError, KeyError):  # torn by a full disk or another program
            pass
    features = make()
    save_tensors(path, {"features": features})
    return features


def files_of(images: Sequence[CaptionedImage]) -> list[tuple[str, int, int]]:
    """Return what tells whether the photos are still the same: path, size, time of change."""
    stats = ((image.path.resolve(), image.path.stat()) for image in images)
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]
