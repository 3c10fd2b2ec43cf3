"""export: a checkpoint in the formats of others."""

import argparse
from pathlib import Path
from typing import Any

FORMATS = (
    "onnx",
    "openvino",
    "safetensors",
    "sentence-transformers",
)  # those of crossmodal.encoding.export, which takes seconds to import


def add_export_command(commands: Any) -> None:
    """Add `export`."""
    export = commands.add_parser(
        "export", help="write a checkpoint as ONNX (for Immich), OpenVINO, safetensors or for sentence-transformers"
    )
    export.add_argument("checkpoint", type=Path, help="checkpoint, or a run's folder, of which the best epoch is taken")
    export.add_argument("folder", type=Path, metavar="DIR", help="a new folder")
    export.add_argument("--to", choices=FORMATS, required=True, help="the format")
    export.add_argument("--int8", action="store_true", help="ONNX and OpenVINO: weights as int8; says what that loses")
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from crossmodal.dual_encoder import DualEncoder
    from crossmodal.encoding.export import export
    from crossmodal.runs.opening import trained_checkpoint_of

    model, content = DualEncoder.load(trained_checkpoint_of(options.checkpoint))
    loss = export(model, content, options.to, options.folder, options.int8)
    names = sorted(str(path.relative_to(options.folder)) for path in options.folder.rglob("*") if path.is_file())
    print(f"Wrote {options.folder}: {', '.join(names)}")
    if loss:
        print(loss)
