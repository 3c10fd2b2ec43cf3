"""Photos and their vectors as Parquet files, for databases and tools that read those."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossmodal.errors import CrossmodalError
from crossmodal.files import append_line, whole_file
from crossmodal.photos.reading import Read
from crossmodal.photos.update import Encoded
from crossmodal.scale.milvus.rows import written
from crossmodal.scale.ray.shards import Member, Place
from crossmodal.search.record import FIELDS, Photo

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_IN_A_FILE = 4096
SKIPPED = "_skipped.jsonl"  # readers of Parquet pass over what begins so


class ParquetFolder:
    """A folder of Parquet files that belongs to one model; each file is whole or not there."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Raises CrossmodalError where another model wrote it."""
        self.folder, self._fingerprint = Path(folder), fingerprint
        self.photos = self.skipped = 0  # how many were written, and could not be used, since this was opened
        self.files = sorted(file for file in self.folder.glob("part-*.parquet") if file.stem[5:].isdecimal())
        for file in self.files:
            there = _metadata(file).get(b"fingerprint", b"").decode()
            if there != fingerprint:
                raise CrossmodalError(
                    f"{file} was written by another model ({there or 'unknown'}) than {fingerprint}; name another "
                    "folder with --parquet, or its model with --checkpoint."
                )

    @staticmethod
    def name_of(place: Place) -> str:
        """Return a photo's path as the files have it."""
        return written((place.found if isinstance(place, Member) else place).path)

    def known(self) -> set[str]:
        """Return the paths of the photos that were written, and of those that could not be used."""
        import pyarrow.parquet as pq

        paths = {path for file in self.files for path in pq.read_table(file, columns=["path"])["path"].to_pylist()}
        skipped = self.folder / SKIPPED
        if skipped.is_file():
            for line in skipped.read_text(encoding="utf-8").splitlines():
                try:
                    paths.add(json.loads(line)["path"])
                except (ValueError, KeyError):  # torn by a kill: met again
                    continue
        return paths

    def write(self, batches: Iterable[Encoded]) -> None:
        """Write batches as they come, a file whenever there are enough rows for one."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CrossmodalError(
                f"{self.folder} cannot be written ({error.strerror}); choose another folder."
            ) from error
        rows: list[tuple[Read, np.ndarray]] = []
        for reads, vectors in batches:
            described = [read for read in reads if read.described is not None]
            rows += zip(described, [] if vectors is None else vectors, strict=True)
            for read in reads:
                if read.reason:
                    append_line(self.folder / SKIPPED, {"path": written(read.found.path), "reason": read.reason})
                    self.skipped += 1
            self.photos += len(described)
            if len(rows) >= ROWS_IN_A_FILE:
                self._put(rows)
                rows = []
        if rows:
            self._put(rows)

    def _put(self, rows: list[tuple[Read, np.ndarray]]) -> None:
        import pyarrow.parquet as pq

        numbers = [int(file.stem.removeprefix("part-")) for file in self.files]
        path = self.folder / f"part-{max(numbers, default=-1) + 1:06d}.parquet"
        with whole_file(path) as temporary:
            pq.write_table(_table(rows, self._fingerprint), temporary)
        self.files.append(path)


def _table(rows: list[tuple[Read, np.ndarray]], fingerprint: str) -> "pa.Table":
    import pyarrow as pa

    photos = [Photo(read.found, described=read.described) for read, _ in rows if read.described is not None]
    vectors = np.stack([vector for _, vector in rows]).astype(np.float32)
    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    columns = {
        name: pa.array([_plain(field.of(photo)) for photo in photos], types[field.type])
        for name, field in FIELDS.items()
    }
    columns["digest"] = pa.array([photo.described.digest.hex() for photo in photos])
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    return pa.table(columns).replace_schema_metadata({"fingerprint": fingerprint})


def _plain(value: Any) -> Any:
    return written(value) if isinstance(value, str) else value


def _metadata(file: Path) -> dict[bytes, bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(file).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise broken(file, error) from error


def broken(file: Path, error: Exception) -> CrossmodalError:
    """Return what is said of a file that cannot be read."""
    return CrossmodalError(
        f"{os.fspath(file)} is broken ({error}); delete it, and write it with index --parquet again."
    )
