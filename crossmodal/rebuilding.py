"""Models rebuilt from a checkpoint, whose weights are those that were saved: whole or not at all."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from crossmodal.checkpoint_format import ADVICE, check_checkpoint
from crossmodal.errors import CheckpointError
from crossmodal.files import checked_fingerprint, load_tensors

MISFIT = "its weights and its towers do not fit"

Module = TypeVar("Module", bound=nn.Module)


class NotWholeError(Exception):
    """Says what is wrong with a checkpoint."""


def fingerprint_of(weights: Mapping[str, Tensor], towers: Mapping[str, Any], banks: Mapping[str, Any] | None) -> str:
    """Hash all that decides an embedding and its rank: weights, preprocessing, tokenizer, banks."""
    digest = hashlib.sha256(json.dumps(towers, sort_keys=True).encode())
    if banks:
        digest.update(json.dumps(banks, sort_keys=True).encode())
    for key in sorted(weights):
        digest.update(key.encode())
        digest.update(weights[key].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def rebuilt(
    path: Path, build: Callable[[Mapping[str, Any]], Module], parts: tuple[str, ...] = ("",)
) -> tuple[Module, dict[str, Any]]:
    """Return a model, or what of it has names that begin with `parts`, ready to encode, and what else its checkpoint says.

    `build` makes it of what the checkpoint says, with random weights. Raises CheckpointError when the file is absent,
    broken, of a newer format or of another model, and when its weights are not those that its fingerprint says, or not numbers.
    """
    content = load_tensors(path, advice=ADVICE, whole=False)  # the fingerprint tells of the weights
    check_checkpoint(content, path)
    checked_fingerprint(content.get("fingerprint"), str(path))
    try:
        weights = content.pop("weights")
        towers = {key: content[key] for key in ("image_tower", "text_tower")}
        if fingerprint_of(weights, towers, content.get("banks")) != content["fingerprint"]:
            raise NotWholeError("its weights are not those that it was saved with")
        weights = {
            key: value.float() if value.is_floating_point() else value
            for key, value in weights.items()
            if key.startswith(parts)
        }
        if not all(value.sum().isfinite() for value in weights.values()):
            raise NotWholeError("its weights are not all numbers")
        with torch.device("meta"):  # takes no memory, whatever sizes the file says
            expected = build(content).state_dict()
        if {key: value.shape for key, value in weights.items()} != {k: v.shape for k, v in expected.items()}:
            raise NotWholeError(MISFIT)
        model = build(content)
        model.load_state_dict(weights)
    except Exception as error:  # what towers raise that are built from values which another program changed
        reason = (
            f"{error} is missing"
            if isinstance(error, KeyError)
            else str(error)
            if isinstance(error, NotWholeError)
            else MISFIT
        )
        raise CheckpointError(f"{path} does not hold a whole model ({reason}); {ADVICE}") from error
    return model.eval(), content
