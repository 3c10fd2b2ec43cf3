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
from crossmodal.photos.store import index_folder
from crossmodal.places import DRAWN, INSTALLED, PAGE, SHIPPED_RUN, WORKPLACE

SHIPPED, SAMPLE = SHIPPED_RUN, DRAWN


@dataclass(frozen=True)
class Options:
    """Where the page looks: a folder of runs, the photos of a run if they were moved, a folder or Milvus to begin with."""

    checkpoints: Path = WORKPLACE / "model-checkpoints"
    images: Path | None = None
    photos: Path | None = None  # with `milvus`, where its photos lie on this machine
    index: Path | None = None  # of `photos`, where it is not in the folder
    milvus: str = ""
    collection: str = Place.collection
    model: Path | None = None  # that makes new indexes, in the place of a run's: a published one by its name
    weights: Path | None = None  # the folder of those of a published model
    votes: Path | None = None  # a ballot on `photos`, which is all that is shown then
    below: Path | None = None  # no other folder, and none that is not below it, is shown
    unknown: str = ""  # what was given beside these, in a sentence

    def allowed(self, folder: Path) -> Path:
        """Return a folder of photos; raises CrossmodalError for one that the visitors of this page may not see.

        Where the page listens on this machine alone, every folder is allowed unless `below` names one.
        """
        root = self.below or (None if _is_of_this_machine() else self.photos)
        if root and folder.resolve().is_relative_to(root.expanduser().resolve()):
            return folder
        if self.below or not _is_of_this_machine():
            where = f"below {root}" if root else "after it is started with `-- --below DIR`"
            raise CrossmodalError(f"{folder} is not shown: this page shows folders {where} alone.")
        return folder

    def index_of(self, photos: Path) -> Path:
        """Return where the index of a folder of photos lies."""
        return index_folder(photos, self.index if photos == self.photos else None)


def _is_of_this_machine() -> bool:
    address = config.get_option("server.address")
    try:
        return ip_address(address or "0.0.0.0").is_loopback
    except ValueError:
        return address == "localhost"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CrossmodalError(f"The options that the page was started with cannot be read ({message}). {KNOWN}")


def options(arguments: Sequence[str]) -> Options:
    """Read the options, and tell of unknown ones, `--help` among them; raises CrossmodalError for one without its value."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    for name in ("--checkpoints", "--images", "--photos", "--index", "--model", "--weights", "--votes", "--below"):
        parser.add_argument(name, type=Path)
    for name in ("--milvus", "--collection"):
        parser.add_argument(name)
    known, others = parser.parse_known_args(list(arguments))
    unknown = f"The page does not know {' '.join(others)}. {KNOWN}" if others else ""
    return Options(**{name: value for name, value in vars(known).items() if value is not None}, unknown=unknown)


KNOWN = (
    f"It knows: `{' '.join(PAGE)}{'' if INSTALLED else ' --'} [--checkpoints DIR] [--images DIR] [--photos DIR [--index DIR]] "
    "[--model NAME [--weights DIR]] [--below DIR] [--milvus URL [--collection NAME]]`"
)
