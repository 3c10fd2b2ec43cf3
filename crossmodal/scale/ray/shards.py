"""WebDataset shards: tar files whose photos are read in place, so that a batch needs no whole shard."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crossmodal.data.names import ENDINGS
from crossmodal.errors import CrossmodalError
from crossmodal.search.record import Found


@dataclass(frozen=True, slots=True)
class Member:
    """A photo in a shard: named SHARD.tar/NAME in `found`; its bytes begin at `offset` of the file `shard`."""

    found: Found
    shard: str
    offset: int


Place = Found | Member  # of a photo: a file, or a part of a shard


def shards_in(folder: Path) -> list[Path]:
    """Return the shards in a folder, or the one shard that is named; raises CrossmodalError where there is none."""
    folder = Path(folder)
    found = [folder] if folder.is_file() else sorted(folder.glob("*.tar"))
    if not found:
        raise CrossmodalError(f"There is no shard (*.tar) in {folder}.")
    return found


def members_of(shard: Path) -> Iterator[Member]:
    """Yield the photos of a shard; raises CrossmodalError for what is no plain tar file."""
    try:
        changed = shard.stat().st_mtime_ns
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                if member.isreg() and os.path.splitext(member.name)[1].lower() in ENDINGS:
                    found = Found(f"{shard.name}/{member.name}", member.size, changed)
                    yield Member(found, str(shard.resolve()), member.offset_data)
    except (tarfile.TarError, OSError) as error:
        raise CrossmodalError(
            f"{shard} is no tar file that can be read ({error}); a compressed one has to be unpacked first (gunzip)."
        ) from error


def read_member(member: Member) -> bytes:
    """Return a photo's bytes."""
    with open(member.shard, "rb") as file:
        file.seek(member.offset)
        return file.read(member.found.size)
