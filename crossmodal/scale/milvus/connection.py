"""One gallery in Milvus: its three collections, and errors in one sentence.

Only what servers from 2.3 on accept is used. A gallery NAME is the collection NAME (photos), NAME_captions,
and NAME_about, which says what the others hold.
"""

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from crossmodal.errors import CrossmodalError, UnavailableError
from crossmodal.scale.milvus.indexes import FLAT, Searched, index_for

SECONDS = 5.0  # that an answer may take before a search is given up
SECONDS_OF_WRITING = 600.0
STALLED = 120.0  # seconds without a row indexed, after which no more is waited for
MOST = 16_384  # rows that Milvus returns at once
FORMAT, VERSION = "crossmodal-milvus-gallery", 3
# A file is served from this process, by a server that hangs up on a client that pings it as often as the client would.
UNPINGED = {"grpc.keepalive_time_ms": 2**31 - 1, "grpc.http2.bdp_probe": 0}
TEXT = 65_535  # bytes that a VARCHAR holds at the most
ALBUM = "album "  # begins the keys of albums, in what is said about a gallery
T = TypeVar("T")


def _is_file(url: str) -> bool:
    return "://" not in url


class Milvus:
    """A connection to one gallery."""

    @staticmethod
    def existing(url: str, name: str) -> "Milvus":
        """Return a connection to what was loaded before; raises CrossmodalError for a file that is not there, which none makes then."""
        if _is_file(url) and url.endswith(".db") and not Path(url).exists():
            raise CrossmodalError(
                f"{url} is not there; load a gallery into it: python -m crossmodal load {url} --photos DIR"
            )
        return Milvus(url, name)

    def __init__(self, url: str, name: str) -> None:
        """`url` is http://HOST:PORT or a file NAME.db; a token is read from MILVUS_TOKEN.

        Raises UnavailableError where nobody answers, or another process has the file open; CrossmodalError where pymilvus is not installed.
        """
        try:
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")
            from pymilvus import MilvusClient
        except ImportError as error:
            raise CrossmodalError("Milvus needs pymilvus: pip install -r requirements-milvus.txt") from error
        for talker in ("pymilvus", "milvus_lite", "grpc._server"):  # they write tracebacks beside what they raise
            logging.getLogger(talker).setLevel(logging.CRITICAL)
        self.url, self.name, self.is_file = url, name, _is_file(url)
        if self.is_file and not url.endswith(".db"):
            raise CrossmodalError(f"{url} is neither a URL like http://localhost:19530 nor a file NAME.db.")
        about: dict[str, Any] = {"token": os.environ.get("MILVUS_TOKEN", ""), "timeout": SECONDS}
        if self.is_file:
            about["grpc_options"] = UNPINGED
        try:
            self._client: Any = self._told(lambda: MilvusClient(url, **about))
        except UnavailableError as error:
            if self.is_file and _held_elsewhere(Path(url) / "LOCK"):
                raise UnavailableError(
                    f"{url} is open in another process, and a file of Milvus serves one at a time; stop that one, or "
                    "load the gallery into a Milvus server."
                ) from error
            raise
        self._searched: dict[str, Searched] = {}  # how each collection is

    @property
    def photos(self) -> str:
        """The collection of photos."""
        return self.name

    @property
    def captions(self) -> str:
        """The collection of captions."""
        return f"{self.name}_captions"

    @property
    def _about(self) -> str:
        return f"{self.name}_about"

    def _told(self, call: Callable[[], T]) -> T:
        """Call, and turn what the client raises into one sentence."""
        from grpc import RpcError
        from pymilvus.exceptions import MilvusException

        try:
            return call()
        except (MilvusException, RpcError, OSError, ValueError) as error:
            details = getattr(error, "details", None)
            said = str(getattr(error, "message", "") or (details() if callable(details) else error)).split("\n")[0]
            raise UnavailableError(f"Milvus at {self.url} does not answer ({said[:300]}).") from error

    def close(self) -> None:
        """Close the connection."""
        self._told(self._client.close)

    # --- what the gallery is ---

    def about(self) -> dict[str, Any]:
        """Return what the gallery holds, as it was written; raises CrossmodalError for another format."""
        if not self.has(self._about):
            return {}
        self.make_ready()
        rows = self.query(self._about, 'key != ""', ["key", "value"])
        about = {row["key"]: json.loads(row["value"]) for row in rows}
        if about and (about.get("format"), about.get("version")) != (FORMAT, VERSION):
            raise CrossmodalError(
                f"The gallery {self.name} in {self.url} has the format {about.get('format')} {about.get('version')}, and "
                f"this program reads {FORMAT} {VERSION}; load it again with --rebuild, or under another --collection."
            )
        return about

    def make_ready(self) -> None:
        """Have the collections loaded that are there: a file's by each process, a server's once."""
        for collection in (self._about, self.photos, self.captions):
            if self.has(collection):
                self._told(lambda of=collection: self._client.load_collection(of, timeout=SECONDS_OF_WRITING))  # type: ignore[misc]

    def albums(self) -> dict[str, Any]:
        """Return the rows of what the gallery holds that are albums, by their keys."""
        if not self.has(self._about):
            return {}
        rows = self.query(self._about, f'key like "{ALBUM}%"', ["key", "value"])
        return {row["key"]: json.loads(row["value"]) for row in rows}

    def unsay(self, keys: Sequence[str]) -> None:
        """Delete some of what is said about the gallery."""
        if keys:
            self.delete(self._about, keys)

    def say_about(self, values: Mapping[str, Any]) -> None:
        """Write some of what the gallery holds."""
        if not values:
            return
        self.create(self._about, {"key": 255, "value": TEXT}, size=2)
        self.put(
            self._about,
            [{"key": key, "value": json.dumps(value), "vector": [1.0, 0.0]} for key, value in values.items()],
        )

    def drop(self) -> None:
        """Throw the gallery away."""
        self._searched.clear()
        for collection in (self._about, self.captions, self.photos):
            if self.has(collection):
                self._told(lambda of=collection: self._client.drop_collection(of))  # type: ignore[misc]

    # --- collections ---

    def has(self, collection: str) -> bool:
        """Say whether a collection is there."""
        return bool(self._told(lambda: self._client.has_collection(collection, timeout=SECONDS)))

    def create(self, collection: str, fields: Mapping[str, int | type], size: int, rows: int = 1) -> None:
        """Make a collection that can be searched, unless it is there: its fields (a length for text, else int or float), the first the key; vectors of `size`.

        The index is for as many `rows`; a collection that is there keeps its own.
        """
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        for place, (name, kind) in enumerate(fields.items()):
            if isinstance(kind, int):
                schema.add_field(name, DataType.VARCHAR, max_length=kind, is_primary=place == 0)
            else:
                schema.add_field(name, DataType.INT64 if kind is int else DataType.DOUBLE)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=size)
        # The file's HNSW filters after it searched, and then finds too few.
        how = FLAT if self.is_file else index_for(rows, self._told(self._client.get_server_version))
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", metric_type="IP", **how)

        def work() -> None:
            client, seconds = self._client, SECONDS_OF_WRITING
            if not client.has_collection(collection, timeout=seconds):
                client.create_collection(collection, schema=schema, timeout=seconds)
            if not client.list_indexes(collection):
                client.create_index(collection, index, timeout=seconds)
            client.load_collection(collection, timeout=seconds)

        self._told(work)

    def put(self, collection: str, rows: Sequence[Mapping[str, Any]], new: bool = False) -> None:
        """Write rows, in place of those with the same keys; `new` says that there are none."""
        write = self._client.insert if new else self._client.upsert
        self._told(lambda: write(collection, list(rows), timeout=SECONDS_OF_WRITING))

    def settle(self, collection: str) -> None:
        """Have what was written indexed, and wait for it: until then a server finds too little among filtered rows."""
        self._told(lambda: self._client.flush(collection, timeout=SECONDS_OF_WRITING))
        if self.is_file:
            return
        pending, since = -1, time.monotonic()
        while left := self._pending(collection):
            if left != pending:
                pending, since = left, time.monotonic()
            elif time.monotonic() - since > STALLED:  # what is too little to be worth an index stays without
                break
            time.sleep(0.5)
        self._told(lambda: self._client.refresh_load(collection, timeout=SECONDS_OF_WRITING))

    def _pending(self, collection: str) -> int:
        about = self._told(lambda: self._client.describe_index(collection, "vector", timeout=SECONDS))
        return int(about.get("pending_index_rows", 0))

    @property
    def kind(self) -> str:
        """How it searches, in words."""
        return f"by Milvus ({self._index_of(self.photos).said})"

    def _index_of(self, collection: str) -> Searched:
        if collection not in self._searched:
            about = self._told(lambda: self._client.describe_index(collection, "vector", timeout=SECONDS))
            self._searched[collection] = Searched.of(about)
        return self._searched[collection]

    # --- reading and searching ---

    def query(self, collection: str, expression: str, fields: Sequence[str], most: int = MOST) -> list[dict[str, Any]]:
        """Return the rows that an expression is true of, `most` at the most."""
        rows = self._told(
            lambda: self._client.query(
                collection, filter=expression, output_fields=list(fields), limit=most, consistency_level="Strong",
                timeout=SECONDS,
            )
        )  # fmt: skip
        return [dict(row) for row in rows]

    def count(self, collection: str, expression: str = "", up_to_date: bool = False) -> int:
        """Return how many rows an expression is true of.

        With `up_to_date` the server waits until it has seen every write; without, some of the last seconds may be missing.
        """
        level = "Strong" if up_to_date else "Eventually"
        rows = self._told(
            lambda: self._client.query(
                collection, filter=expression, output_fields=["count(*)"], consistency_level=level, timeout=SECONDS
            )
        )
        return int(rows[0]["count(*)"])

    def rows(self, collection: str, fields: Sequence[str], expression: str = "") -> Iterator[list[dict[str, Any]]]:
        """Yield all rows that an expression is true of, some thousands at once."""
        rows = self._told(
            lambda: self._client.query_iterator(
                collection, batch_size=5000, filter=expression, output_fields=list(fields)
            )
        )
        while batch := self._told(rows.next):
            yield [dict(row) for row in batch]
        rows.close()

    def delete(self, collection: str, keys: Sequence[str]) -> None:
        """Delete rows by their keys."""
        self._told(lambda: self._client.delete(collection, ids=list(keys), timeout=SECONDS_OF_WRITING))

    def nearest(
        self, collection: str, vector: np.ndarray, count: int, fields: Sequence[str], expression: str = ""
    ) -> list[tuple[dict[str, Any], float]]:
        """Return the `count` rows (MOST at the most) most similar to a unit vector [D], with their scores, best first.

        Where the index has compressed vectors, more rows are asked for, and scored with those that are stored.
        """
        index = self._index_of(collection)
        count, asked = min(count, MOST), min(index.rows(count), MOST)
        columns = list({*fields, "vector"}) if index.is_compressed else list(fields)
        found = self._told(
            lambda: self._client.search(
                collection, data=[vector.astype(np.float32).tolist()], limit=asked, filter=expression,
                output_fields=columns, anns_field="vector", timeout=SECONDS,
                search_params={"metric_type": "IP", "params": index.parameters(asked, bool(expression))},
            )
        )  # fmt: skip
        rows = [(dict(hit["entity"]), float(hit["distance"])) for hit in found[0]]
        if index.is_compressed and rows:
            scores = np.array([row["vector"] for row, _ in rows], np.float32) @ vector.astype(np.float32)
            rows = [(rows[place][0], float(scores[place])) for place in np.argsort(-scores, kind="stable")[:count]]
        return rows


def _held_elsewhere(lock: Path) -> bool:
    """Say whether another process holds the lock of a file of Milvus; the client's error does not."""
    try:
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or it cannot be read
        return False
    return False


def quoted(text: str) -> str:
    """Return a text as Milvus's expressions write it."""
    return json.dumps(text, ensure_ascii=False)
