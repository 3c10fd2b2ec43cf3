"""The commands that get captioned photos to train on: download and draw."""

import argparse
from pathlib import Path
from typing import Any

from crossmodal.places import TRAIN
from crossmodal.progress import terminal


def add_data_commands(commands: Any) -> None:
    """Add download and draw."""
    download = commands.add_parser("download", help="download a public data set to captions.txt and flickr30k_images")
    download.add_argument("name", choices=("flickr8k", "flickr30k"))
    download.add_argument(
        "--archive", type=Path, nargs="+", help="archives that you already have, instead of a download"
    )
    download.add_argument(
        "--to",
        type=Path,
        default=Path(),
        help="folder for captions.txt and flickr30k_images (default: the current one)",
    )
    download.set_defaults(run=_download)
    draw = commands.add_parser("draw", help="draw a sample of scenes with captions")
    draw.add_argument("folder", type=Path)
    draw.add_argument("--scenes", type=int, default=600)
    draw.add_argument("--seed", type=int, default=7)
    draw.set_defaults(run=_draw)


def _download(options: argparse.Namespace) -> None:
    from crossmodal.data.download import download

    captions, images = download(options.name, options.to, options.archive, terminal)
    print(f"Wrote {captions} and {images}; train with: {TRAIN}")


def _draw(options: argparse.Namespace) -> None:
    from crossmodal.data.sample import draw_sample

    captions, images = draw_sample(options.folder, options.scenes, options.seed, terminal)
    print(f"Wrote {captions} and {images}")
