"""What stands after `--` on the command line of the page."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

from streamlit import config

from crossmodal.errors import CrossmodalError
from crossmodal.galleries import Place

ROOT = Path(__file__).resolve().parent.parent.parent
SHIPPED = ROOT / "model-checkpoints" / "shipped"
SAMPLE = ROOT / "drawn-sample"


@dataclass(frozen=True)
class Options:
    """Where the page looks: a folder of runs, the photos of a run if they were moved, a folder or Milvus to begin with."""

    checkpoints: Path = ROOT / "model-checkpoints"
    images: Path | None = None
    photos: Path | None = None
    milvus: str = ""
    collection: str = Place.collection
    below: Path | None = None  # no other folder, and none that is not below it, is shown

    def allowed(self, folder: Path) -> Path:
        """Return a folder of photos; raises CrossmodalError for one that whoever sees this page should not see.

        Where the page listens on this machine alone, every folder is allowed unless `below` names one.
        """
        root = self.below or (None if _is_of_this_machine() else self.photos)
        if root and folder.resolve().is_relative_to(root.expanduser().resolve()):
            return folder
        if self.below or not _is_of_this_machine():
            where = f"below {root}" if root else "after it is started with `-- --below DIR`"
            raise CrossmodalError(f"{folder} is not shown: this page shows folders {where} alone.")
        return folder


def _is_of_this_machine() -> bool:
    address = config.get_option("server.address")
    try:
        return ip_address(address or "0.0.0.0").is_loopback
    except ValueError:
        return address == "localhost"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CrossmodalError(
            f"The page was started with options that it does not know ({message}), so they were left out. It knows: "
            "`streamlit run app.py -- [--checkpoints DIR] [--images DIR] [--photos DIR] [--below DIR] [--milvus URL [--collection NAME]]`"
        )


def options(arguments: Sequence[str]) -> Options:
    """Read the options; raises CrossmodalError for unknown ones, `--help` among them."""
    parser = _Parser(add_help=False)
    parser.add_argument("--checkpoints", type=Path, default=Options.checkpoints)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--below", type=Path)
    parser.add_argument("--milvus", default="")
    parser.add_argument("--collection", default=Options.collection)
    return Options(**vars(parser.parse_args(list(arguments))))
