"""Captions in Parquet, as data sets of Hugging Face have them: a column of image names, one of captions or lists of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from crossmodal.data.captions.json_files import PLURALS, entries
from crossmodal.data.captions.rows import IMAGE_KEYS, Row
from crossmodal.errors import CaptionsError

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC = b"PAR1"  # with which such a file begins


def is_parquet(path: Path) -> bool:
    """Say whether a file begins as Parquet does."""
    try:
        with path.open("rb") as file:
            return path.is_file() and file.read(len(MAGIC)) == MAGIC
    except OSError:  # the reader of texts says what is wrong
        return False


def read_parquet(path: Path) -> tuple[str, Iterator[Row]]:
    """Return a note that names the columns, and the rows; raises CaptionsError for a file that is broken or has none of them.

    Images in the file are passed over: photos lie in a folder, under the names that the file has.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        texts = [field.name for field in pq.read_schema(path) if _is_text(field.type)]
        named, said = ([name for name in texts if name.strip().lower() in keys] for keys in (IMAGE_KEYS, PLURALS))
        if not named or not said:
            raise CaptionsError(
                f"{path} is Parquet whose columns of text are {', '.join(texts[:6]) or '(none)'}; name the image's file in "
                "one that is called image, file_name or filename, and the caption in one that is called caption or text."
            )
        split = [name for name in texts if name.strip().lower() == "split"]
        table = pq.read_table(path, columns=[*dict.fromkeys([*named, *said, *split])])
    except (pa.ArrowException, OSError) as error:
        raise CaptionsError(f"{path} is Parquet that is broken ({error}); get it again.") from error
    return f"Read as Parquet, columns {', '.join(table.column_names)}.", entries(table.to_pylist())


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    if types.is_list(kind) or types.is_large_list(kind):
        kind = kind.value_type
    return types.is_string(kind) or types.is_large_string(kind)
