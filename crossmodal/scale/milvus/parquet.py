"""What `index --parquet` wrote, as it is loaded into Milvus: some thousand rows are in memory at a time, never all."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from crossmodal.errors import CrossmodalError
from crossmodal.hubs import Banks, with_bias
from crossmodal.runs.models import kept_as
from crossmodal.runs.opening import about_checkpoint
from crossmodal.scale.milvus.loading import UNTOLD, Source
from crossmodal.scale.milvus.rows import as_photo, read
from crossmodal.scale.ray.parquet import ParquetFolder, broken
from crossmodal.search.calibration import cutoff_of
from crossmodal.search.facets import counted
from crossmodal.search.filters import filters_on
from crossmodal.search.gallery import About
from crossmodal.search.record import DESCRIBED, FIELDS, Photo

if TYPE_CHECKING:
    import pyarrow as pa

AT_ONCE = 4096
T = TypeVar("T")


@dataclass(frozen=True)
class Columns(Generic[T]):
    """Some columns of Parquet files, read anew each time that they are gone through."""

    files: Sequence[Path]
    columns: Sequence[str]
    of: Callable[["pa.RecordBatch"], Iterable[T]]
    shape: tuple[int, int]  # rows, and numbers of a vector

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[T]:
        return (row for batch in batches(self.files, self.columns) for row in self.of(batch))


def batches(files: Sequence[Path], columns: Sequence[str]) -> "Iterator[pa.RecordBatch]":
    """Yield rows of Parquet files, AT_ONCE at the most; raises CrossmodalError for a file that is broken."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(AT_ONCE, columns=list(columns))
        except (pa.ArrowException, OSError) as error:
            raise broken(path, error) from error


def source_in_parquet(folder: Path, checkpoint: Path, images: Path) -> Source:
    """Return the photos that `index --parquet` wrote into a folder with a checkpoint's model; they lie in `images`.

    Raises CrossmodalError where there are none, or where another model wrote them.
    """
    import pyarrow.parquet as pq

    content = about_checkpoint(checkpoint)
    files = ParquetFolder(folder, content["fingerprint"]).files
    if not files:
        raise CrossmodalError(
            f"There are no vectors (part-*.parquet) in {folder}; write them with: "
            f"python -m crossmodal index {images} --on local --parquet {folder}"
        )
    about = About(
        str(images), images.resolve(), content["fingerprint"], kept_as(checkpoint), content["recipe"]["name"],
        DESCRIBED - UNTOLD, cutoff_of(checkpoint, content["fingerprint"]),
    )  # fmt: skip
    banks, count = Banks.of(content), sum(pq.read_metadata(file).num_rows for file in files)
    size = pq.read_schema(files[0]).field("vector").type.list_size

    def vectors(batch: "pa.RecordBatch") -> np.ndarray:
        unit = batch.column("vector").flatten().to_numpy().reshape(-1, size)
        return with_bias(unit, banks.captions.bias(unit)) if banks else unit

    def photos(batch: "pa.RecordBatch") -> Iterator[Photo]:
        return (as_photo({**row, "captions": "[]"}) for row in batch.to_pylist())

    shape = count, size + bool(banks)
    records = Columns(files, [*FIELDS, "digest"], photos, shape)
    return Source(
        about, _values(files, about.fields), records, Columns(files, ["vector"], vectors, shape), [],
        np.empty((0, shape[1]), np.float32), banks is not None, counted(records),
    )  # fmt: skip


def _values(files: Sequence[Path], known: frozenset[str]) -> dict[str, Sequence[Any]]:
    """Return what can be chosen from, as Source says."""
    days = {kind.chosen_from: kind.kind == "day" for kind in filters_on(known) if kind.chosen_from}
    found: dict[str, set[Any]] = {name: set() for name in days}
    for batch in batches(files, list(found)):
        for name, day in days.items():
            found[name].update(batch.column(name).unique().to_pylist())
            found[name] = {min(found[name]), max(found[name])} if day else found[name]
    return {
        name: [min(there), max(there)] if days[name] else sorted(read(text) for text in there if text)
        for name, there in found.items()
    }
