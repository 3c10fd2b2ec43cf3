"""The format of checkpoints: a file is known by it before anything of a model is imported, which takes seconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossmodal.errors import CheckpointError
from crossmodal.places import TRAIN

FORMAT = "crossmodal-model"
FORMAT_VERSION = 1
ADVICE = f"train a model with `{TRAIN}`, or name another checkpoint."


def check_format(content: Mapping[str, Any], path: Path, kind: str, version: int) -> None:
    """Raise CheckpointError unless `content` is of this kind and of a version that is known here."""
    if content.get("format") != kind:
        raise CheckpointError(f"{path} is not a file of the kind {kind}; {ADVICE}")
    if not isinstance(content.get("version"), int) or content["version"] > version:
        raise CheckpointError(
            f"{path} has the format version {content.get('version')}, and this program reads up to {version}; "
            "update the program."
        )
