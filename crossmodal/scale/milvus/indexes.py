"""Which index of Milvus a collection gets, by its size and by what the server knows, and how each is searched."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

LARGE = 1_000_000  # rows from which on their vectors are held in memory compressed
# Times as many rows as are asked for, which are scored again with the vectors that are stored beside.
SCORED_AGAIN = {"HNSW_SQ": 4, "IVF_SQ8": 4, "IVF_RABITQ": 20}
LOOKED_AT, LOOKED_AT_FILTERED = 128, 1000  # neighbours that a graph keeps in sight; among few that pass it needs more
GRAPH = {"M": 16, "efConstruction": 200}
PROBED = 8  # a query looks into one of so many cells
FLAT: dict[str, Any] = {"index_type": "FLAT"}


def index_for(rows: int, version: str) -> dict[str, Any]:
    """Return the index, as its type and parameters, of a collection of so many rows in a server of a version ("v2.3.5")."""
    if rows < LARGE:
        return {"index_type": "HNSW", "params": GRAPH}
    found = re.match(r"v?(\d+)\.(\d+)", version)
    known = tuple(map(int, found.groups())) if found else (0, 0)
    if (2, 5) <= known < (2, 6):
        return {"index_type": "HNSW_SQ", "params": {**GRAPH, "sq_type": "SQ8"}}
    kind = "IVF_RABITQ" if known >= (2, 6) else "IVF_SQ8"  # a bit and a byte a dimension
    return {"index_type": kind, "params": {"nlist": min(65_536, 4 * isqrt(rows))}}


@dataclass(frozen=True)
class Searched:
    """How a collection is searched, by the index that it has."""

    kind: str
    cells: int = 0

    @staticmethod
    def of(index: Mapping[str, Any]) -> "Searched":
        """Read what the server says of an index."""
        return Searched(str(index.get("index_type", "FLAT")), int(index.get("nlist", 0)))

    def rows(self, count: int) -> int:
        """Return how many rows are asked for, to return the `count` best."""
        return count * SCORED_AGAIN.get(self.kind, 1)

    @property
    def is_compressed(self) -> bool:
        """Whether scores are those of compressed vectors."""
        return self.kind in SCORED_AGAIN

    def parameters(self, count: int, filtered: bool) -> dict[str, Any]:
        """Return the parameters of a search for `count` rows."""
        if self.kind.startswith("IVF"):
            return {"nprobe": max(1, self.cells // (PROBED // 4 if filtered else PROBED))}
        if self.kind.startswith("HNSW"):
            return {"ef": max(LOOKED_AT_FILTERED if filtered else LOOKED_AT, 2 * count)}
        return {}

    @property
    def said(self) -> str:
        """How it is searched, in words."""
        if self.kind == "FLAT":
            return "exact"
        return f"approximate, {self.kind}{', the best scored again' if self.is_compressed else ''}"
