"""Downloads public data sets, resuming and with checksums, or unpacks archives that the user has."""

import contextlib
import csv
import hashlib
import os
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO

from crossmodal.data.captions import CaptionRow, read_captions
from crossmodal.errors import CaptionsError, CrossmodalError
from crossmodal.files import whole_file, write_text
from crossmodal.progress import Bars, silent

PHOTOS = {".jpg", ".jpeg", ".png"}
CAPTION_FILES = {".txt", ".csv", ".json"}
LISTS = {"train": "train", "dev": "val", "val": "val", "test": "test"}
BLOCK = 1 << 20
TRIES = 5
TIMEOUT = 30.0


@dataclass(frozen=True)
class Source:
    """One public file. Without a published `sha256`, the digest that the server sends is used, if any.

    Each member of an archive is also checked by its CRC-32 as it is unpacked.
    """

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The name of the file."""
        return PurePosixPath(self.url).name


SOURCES: dict[str, tuple[Source, ...]] = {
    "flickr8k": (
        Source("https://github.com/jbrownlee/Datasets/releases/download/Flickr8k/Flickr8k_text.zip"),
        Source("https://github.com/jbrownlee/Datasets/releases/download/Flickr8k/Flickr8k_Dataset.zip"),
    ),
    "flickr30k": (
        Source("https://huggingface.co/datasets/nlphuji/flickr30k/resolve/main/flickr_annotations_30k.csv"),
        Source("https://huggingface.co/datasets/nlphuji/flickr30k/resolve/main/flickr30k-images.zip"),
    ),
}


def download(name: str, to: Path, archives: Sequence[Path] | None = None, bars: Bars = silent) -> tuple[Path, Path]:
    """Write a data set to `to`/captions.txt and `to`/flickr30k_images, with lists of its official splits.

    Raises CrossmodalError when captions.txt exists, a file cannot be fetched or is incomplete, or the disk is
    full; what was fetched is kept, and the same command resumes.
    """
    captions, images = to / "captions.txt", to / "flickr30k_images"
    if captions.exists():
        raise CrossmodalError(f"{captions} exists already; move it away first, so that it is not overwritten.")
    for archive in archives or ():
        if not archive.is_file():
            raise CrossmodalError(f"The archive {archive} is not there.")
    files = list(archives) if archives else [fetch(source, to / "downloads", bars) for source in SOURCES[name]]
    with _disk_errors(to), tempfile.TemporaryDirectory(dir=_made(to), prefix=".unpacking-") as texts:
        for file in files:
            _unpack(file, images, Path(texts), bars)
        rows, splits = _find_captions(Path(texts), files)
    for split, names in splits.items():
        write_text(to / f"{split}.txt", "".join(f"{name}\n" for name in names))
    with whole_file(captions) as temporary, temporary.open("w", newline="", encoding="utf-8") as output:
        writer = csv.writer(output)
        writer.writerow(("image", "caption"))
        writer.writerows(rows)
    return captions, images


def fetch(source: Source, folder: Path, bars: Bars = silent) -> Path:
    """Download one file into `folder`, resuming an earlier try; return its path.

    Raises CrossmodalError when it cannot be fetched or its checksum is wrong.
    """
    whole = folder / source.name
    if whole.exists():
        return whole
    part = _made(folder) / f"{source.name}.part"
    digest = source.sha256
    problem = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(min(2**attempt, 10) / 4)
        try:
            with _disk_errors(folder):
                served = _fetch_rest(source.url, part, bars)
            digest = digest or served
            break
        except urllib.error.HTTPError as error:
            raise CrossmodalError(
                f"{source.url} answers {error.code} ({error.reason}); if you have the archive, give it with --archive."
            ) from error
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            problem = str(error)
    else:
        raise CrossmodalError(
            f"{source.url} cannot be fetched ({problem}); try again later, which resumes the download, or give the archive with --archive."
        )
    if digest and _sha256(part) != digest:
        part.unlink()
        raise CrossmodalError(f"{source.name} was fetched with a wrong checksum and removed; try again.")
    os.replace(part, whole)
    return whole


def _fetch_rest(url: str, part: Path, bars: Bars) -> str | None:
    """Append the missing part of `url` to `part`; return the digest that the server sends, if any."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(
        url, headers={"Range": f"bytes={have}-", "User-Agent": "crossmodal"} if have else {"User-Agent": "crossmodal"}
    )
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing
            return _digest_in(error.headers.get("X-Linked-ETag"))
        raise
    with answer:
        if have and answer.status != 206:  # the server starts from the beginning, and so do we
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else 0
        if total and shutil.disk_usage(part.parent).free < total - have:
            raise CrossmodalError(
                f"{part.parent} has too little space: {(total - have) / 1e9:.1f} GB are needed for {part.stem}; free some and try again."
            )
        with part.open("ab" if have else "wb") as file, bars(f"Fetching {part.stem}", total, "B") as advance:
            advance(have)
            while block := answer.read(BLOCK):
                file.write(block)
                advance(len(block))
        if total and part.stat().st_size < total:
            raise ConnectionError(f"cut after {part.stat().st_size:,} of {total:,} bytes")
        return _digest_in(answer.headers.get("X-Linked-ETag"))


def _digest_in(tag: str | None) -> str | None:
    """Return the SHA-256 in a hub's ETag, or None for another kind of tag."""
    value = (tag or "").strip('"')
    return value if len(value) == 64 and set(value) <= set("0123456789abcdef") else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _made(folder: Path) -> Path:
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Raise CrossmodalError for a full or read-only disk; network errors, which are OSErrors too, pass."""
    try:
        yield
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        raise
    except OSError as error:
        raise CrossmodalError(
            f"{folder} cannot be written ({error.strerror or error}); free some space and try again, which resumes."
        ) from error


def _unpack(archive: Path, images: Path, texts: Path, bars: Bars) -> None:
    """Unpack the photos of an archive into `images` and its text files into `texts`, by base name."""
    if archive.suffix.lower() in CAPTION_FILES:
        shutil.copy(archive, texts / archive.name)
        return
    images.mkdir(parents=True, exist_ok=True)
    try:
        for name, size, content in _members(archive, bars):
            # Only the last part of a name is used, so no member can lead out of the folder.
            base, suffix = PurePosixPath(name).name, PurePosixPath(name).suffix.lower()
            if base.startswith("._") or suffix not in PHOTOS | CAPTION_FILES:
                continue
            place = (images if suffix in PHOTOS else texts) / base
            if place.exists() and place.stat().st_size == size:
                continue
            part = place.with_name(f".{base}.part")
            with part.open("wb") as file:
                shutil.copyfileobj(content, file, BLOCK)
            os.replace(part, place)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise CrossmodalError(f"{archive} is not a complete zip or tar archive ({error}); fetch it again.") from error


def _members(archive: Path, bars: Bars) -> Iterator[tuple[str, int, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with (
            zipfile.ZipFile(archive) as file,
            bars(f"Unpacking {archive.name}", len(file.infolist()), "file") as advance,
        ):
            for member in file.infolist():
                advance(1)
                if not member.is_dir():
                    with file.open(member) as content:
                        yield member.filename, member.file_size, content
        return
    with tarfile.open(archive) as tar, bars(f"Unpacking {archive.name}", 0, "file") as advance:
        for entry in tar:
            advance(1)
            packed = tar.extractfile(entry) if entry.isfile() else None
            if packed:
                with packed:
                    yield entry.name, entry.size, packed


def _find_captions(texts: Path, files: Sequence[Path]) -> tuple[list[tuple[str, str]], dict[str, list[str]]]:
    """Return the rows of the largest caption file, and the official splits where the archive has them."""
    best: tuple[CaptionRow, ...] = ()
    splits: dict[str, list[str]] = {}
    for path in sorted(texts.iterdir()):
        if path.name.startswith("Flickr_8k."):
            split = LISTS.get(path.name.removeprefix("Flickr_8k.").removesuffix("Images.txt"))
            if split:
                splits[split] = path.read_text(encoding="utf-8").split()
            continue
        if "lemma" in path.name:  # Flickr8k has its captions a second time with each word in its dictionary form
            continue
        with contextlib.suppress(CaptionsError):
            rows = read_captions(path).rows
            if len(rows) > len(best):
                best = rows
    for row in best:
        if row.split:
            splits.setdefault(row.split, []).append(row.image)
    if not best:
        raise CrossmodalError(
            f"There is no caption file in {', '.join(file.name for file in files)}; also give the archive with the captions after --archive."
        )
    return [(row.image, row.caption) for row in best], {
        split: list(dict.fromkeys(names)) for split, names in splits.items()
    }
