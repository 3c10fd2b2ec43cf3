"""Captions in Parquet, as data sets of Hugging Face have them: a column of image names, one of captions or lists of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from crossmodal.data.captions.entries import SPLIT, keys_of, read_entries
from crossmodal.data.captions.rows import IMAGE_KEYS, SAMPLE, Row, caption_kind, plain_name
from crossmodal.errors import CaptionsError

if TYPE_CHECKING:
    import pyarrow as pa

PATH = "path"
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

    The content of images in the file is passed over: photos lie in a folder, under the names that the file has.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        texts = [field.name for field in schema if _is_text(field.type)]
        named = [name for name in texts if plain_name(name) in IMAGE_KEYS]
        said = [name for name in texts if caption_kind(plain_name(name))]
        images = [] if named else [field.name for field in schema if _is_image(field)]
        if not (named or images) or not said:
            raise CaptionsError(
                f"{path} is Parquet whose columns of text are {', '.join(texts[:6]) or '(none)'}; name the image's file in "
                "one that is called image, file_name or filename, and the caption in one that is called caption or text."
            )
        split = [field.name for field in schema if plain_name(field.name) == SPLIT] or _splits(path, texts)
        if not set(split) <= set(texts):
            raise CaptionsError(
                f"{path} is Parquet whose column {split[0]} is not text; it should be train, val or test."
            )
        paths = [f"{name}.{PATH}" for name in images]
        table = pq.read_table(path, columns=[*dict.fromkeys([*named, *paths, *said, *split])])
    except (pa.ArrowException, OSError) as error:
        raise CaptionsError(f"{path} is Parquet that is broken ({error}); get it again.") from error
    rows = table.to_pylist()
    for row in rows:  # some versions give the paths as a column of their own, others within the image
        row.update((name, (row[name] or {}).get(PATH)) for name in images if name in row)
    notes, found = read_entries([(f"entry {number}", row) for number, row in enumerate(rows, start=1)])
    return ", ".join([f"Read as Parquet, columns {', '.join(table.column_names)}", *notes]) + ".", found


def _splits(path: Path, texts: list[str]) -> list[str]:
    """Return which columns of text have names of splits in their first rows, so that the others need not be read."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        batch = next(file.iter_batches(batch_size=SAMPLE, columns=texts), None)
    splits = keys_of(batch.to_pylist() if batch else []).splits
    return [name for name in texts if plain_name(name) in splits]


def _is_image(field: "pa.Field") -> bool:
    """Say whether a column has images as Hugging Face keeps them: their content, and the paths that they had."""
    import pyarrow.types as types

    return (
        plain_name(field.name) in IMAGE_KEYS and types.is_struct(field.type) and field.type.get_field_index(PATH) >= 0
    )


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    if types.is_list(kind) or types.is_large_list(kind):
        kind = kind.value_type
    if types.is_dictionary(kind):  # as pandas writes categories
        kind = kind.value_type
    return types.is_string(kind) or types.is_large_string(kind)
