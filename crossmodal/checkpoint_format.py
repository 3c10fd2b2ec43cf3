"""The format of checkpoints: a file is known by it before anything of a model is imported, which takes seconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossmodal.errors import CheckpointError
from crossmodal.places import TRAIN

FORMAT = "crossmodal-model"
FORMAT_VERSION = 1
ADVICE = f"train a model with `{TRAIN}`, or name another checkpoint."


def check_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Raise CheckpointError unless a checkpoint of a version that is known here says all that is read of it."""
    check_format(content, path, FORMAT, FORMAT_VERSION)
    kinds = {
        "fingerprint": str,
        "recipe": dict,
        "epoch": int,
        "metrics": dict,
        "data": dict,
        "image_tower": dict,
        "text_tower": dict,
    }
    wrong = next((key for key, kind in kinds.items() if not isinstance(content.get(key), kind)), None)
    if wrong is None and not isinstance(content["recipe"].get("name"), str):
        wrong = "recipe"
    if wrong is None and not all(isinstance(value, (int, float)) for value in content["metrics"].values()):
        wrong = "metrics"
    if wrong:
        raise CheckpointError(f"{path} is damaged: its {wrong} is missing or impossible; {ADVICE}")


def check_format(content: Mapping[str, Any], path: Path, kind: str, version: int) -> None:
    """Raise CheckpointError unless `content` is of this kind and of a version that is known here."""
    if content.get("format") != kind:
        raise CheckpointError(f"{path} is not a file of the kind {kind}; {ADVICE}")
    if not isinstance(content.get("version"), int) or content["version"] > version:
        raise CheckpointError(
            f"{path} has the format version {content.get('version')}, and this program reads up to {version}; "
            "update the program."
        )
