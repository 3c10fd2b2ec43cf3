"""Answers to a file of sentences, as a file."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from crossmodal.errors import CrossmodalError


def as_file(records: Sequence[Mapping[str, Any]], suffix: str) -> str:
    """Return records as the text of a .csv or .json file; raises CrossmodalError for another suffix."""
    if suffix == ".json":
        return json.dumps(list(records), ensure_ascii=False, indent=2) + "\n"
    if suffix != ".csv":
        raise CrossmodalError(f"Answers are written as .csv or .json, not {suffix or 'without an ending'}.")
    file = io.StringIO()
    writer = csv.DictWriter(file, ["query", "rank", "image", "path", "score", "caption"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()
