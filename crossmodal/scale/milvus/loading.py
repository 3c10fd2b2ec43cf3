"""Loading a gallery into Milvus, or bringing it up to date there: what is there already is not sent again."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from crossmodal.batched import batched
from crossmodal.errors import CrossmodalError
from crossmodal.hubs import with_bias
from crossmodal.runs.models import kept_as
from crossmodal.scale.milvus.connection import FORMAT, TEXT, VERSION, Milvus, quoted
from crossmodal.scale.milvus.rows import COLUMNS, as_row, stamp_of
from crossmodal.search.facets import FIELD_OF, Facet
from crossmodal.search.filters import filters_on
from crossmodal.search.gallery import About
from crossmodal.search.ids import opaque_id
from crossmodal.search.in_memory import PhotosInMemory
from crossmodal.search.record import Photo
from crossmodal.search.run_gallery import RunGallery

UNTOLD = frozenset({"keywords"})  # a text of several values, of which Milvus cannot be asked for one in any case
AT_ONCE = 1000  # rows that are sent together, some megabytes
CAPTION_FIELDS: dict[str, int | type] = {"id": 64, "stamp": 32, "caption": TEXT, "image": 64}
T_co = TypeVar("T_co", covariant=True)
Watch = Callable[[int, int], None]  # rows done, rows in all


class Rows(Protocol[T_co]):
    """What is gone through once, in order, and need not be in memory as a whole: a list, an array, columns of a file."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


class Vectors(Rows[np.ndarray], Protocol):
    """Vectors [N, D]: an array, or a column of a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N and D."""
        ...


@dataclass(frozen=True)
class Source:
    """What is loaded: what it is, its photos, and its captions (text, path of its photo), each with its vector.

    Vectors are unit vectors, or `with_bias` where the gallery has biases.
    """

    about: About
    values: Mapping[str, Sequence[Any]]  # what can be chosen from, folders for example; of dates the first and the last
    photos: Rows[Photo]
    vectors: Vectors
    captions: Sequence[tuple[str, str]]
    caption_vectors: np.ndarray
    corrected: bool = False
    facets: Mapping[Facet, Mapping[str, int]] = field(default_factory=dict)  # of all photos

    def plain(self) -> dict[str, Any]:
        """Return what the gallery is, as plain values."""
        about = self.about
        return {
            "title": about.title, "root": str(about.root), "fingerprint": about.fingerprint,
            "checkpoint": str(about.checkpoint), "recipe": about.recipe, "fields": sorted(about.fields),
            "cutoff": about.cutoff.plain() if about.cutoff else None, "metrics": dict(about.metrics), "note": about.note,
            "values": {name: list(values) for name, values in self.values.items()}, "corrected": self.corrected,
            "facets": {facet: dict(counts) for facet, counts in self.facets.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class SourceInMemory(Source):
    """A run's gallery, or an indexed folder's."""

    photos: Sequence[Photo]
    vectors: np.ndarray

    @staticmethod
    def of(gallery: PhotosInMemory) -> "SourceInMemory":
        """Return what a gallery holds."""
        about = replace(
            gallery.about, root=gallery.about.root.resolve(), checkpoint=kept_as(gallery.about.checkpoint),
            fields=gallery.about.fields - UNTOLD,
        )  # fmt: skip
        values: dict[str, Sequence[Any]] = {}
        for kind in filters_on(about.fields):
            if kind.chosen_from:
                there = gallery.values(kind.chosen_from)
                values[kind.chosen_from] = [there[0], there[-1]] if kind.kind == "day" and there else there
        captions: list[tuple[str, str]] = []
        rows = gallery.rows
        photos = [gallery.photos[row] for row in rows.tolist()]
        photo_vectors, vectors = gallery.vectors[rows], np.empty((0, gallery.vectors.shape[1]), np.float32)
        if isinstance(gallery, RunGallery):
            held = gallery.embeddings
            owners = held.caption_to_image.numpy()
            own = np.flatnonzero(np.isin(owners, rows))
            captions = [(held.captions[row], held.image_names[owners[row]]) for row in own.tolist()]
            vectors = held.texts.numpy()[own]
            if held.biases:
                vectors = with_bias(vectors, held.biases[1].numpy()[own])
        if gallery.bias is not None:
            photo_vectors = with_bias(photo_vectors, gallery.bias[rows])
        return SourceInMemory(about, values, photos, photo_vectors, captions, vectors, gallery.bias is not None,
            {facet: gallery.facet(facet) for facet in FIELD_OF},
        )  # fmt: skip


def load(milvus: Milvus, source: Source, rebuild: bool, watch: Watch = lambda done, total: None) -> int:
    """Bring a gallery in Milvus up to date with its source; return how many rows were sent.

    The next load resumes one that was cut off. Raises CrossmodalError where the gallery there is
    of another model, unless `rebuild` throws it away first, but for its albums.
    """
    albums: dict[str, Any] = {}
    if rebuild:
        milvus.make_ready()
        albums = milvus.albums()
        milvus.drop()
    there = milvus.about()
    if there and there["fingerprint"] != source.about.fingerprint:
        raise CrossmodalError(
            f"The gallery {milvus.name} in {milvus.url} was made by another model ({there['recipe']}, "
            f"{there['fingerprint']}) than what is loaded ({source.about.fingerprint}); name another --collection, or "
            "throw it away with --rebuild."
        )
    # The key of the ids is the gallery's own, so that ids stay the same on whichever machine it is loaded or served.
    key = there.get("id_key") or secrets.token_hex(32)
    milvus.say_about(
        {"format": FORMAT, "version": VERSION, **albums, **source.plain(), "id_key": key, "complete": False}
    )
    total = len(source.photos) + len(source.captions)
    secret = bytes.fromhex(key)
    sent = _bring(
        milvus, milvus.photos, COLUMNS, source.vectors, (as_row(one, opaque_id(one.found.path, secret)) for one in source.photos),
        lambda done: watch(done, total),
    )  # fmt: skip
    if source.captions:
        sent += _bring(
            milvus, milvus.captions, CAPTION_FIELDS, source.caption_vectors, _caption_rows(source.captions, secret),
            lambda done: watch(len(source.photos) + done, total),
        )  # fmt: skip
    milvus.say_about({"complete": True, "loaded": time.time()})
    return sent


def _caption_rows(captions: Iterable[tuple[str, str]], key: bytes) -> Iterator[dict[str, Any]]:
    for place, (caption, image) in enumerate(captions):
        cut = caption.encode()[:TEXT].decode(errors="ignore")
        row = {"caption": cut, "image": opaque_id(image, key)}
        yield {"id": opaque_id(f"{place} {image}", key), "stamp": stamp_of(row), **row}


def _bring(
    milvus: Milvus, collection: str, fields: Mapping[str, int | type], vectors: Vectors, rows: Iterable[dict[str, Any]],
    done: Callable[[int], None],
) -> int:  # fmt: skip
    """Make a collection hold these rows with their vectors, and no others; return how many were sent."""
    fresh = not milvus.has(collection)
    milvus.create(collection, fields, vectors.shape[1], len(vectors))  # whole, where a load was cut off in it
    wanted: set[str] = set()
    sent = there = 0
    for batch in batched(zip(rows, vectors, strict=True), AT_ONCE):
        keys = [row["id"] for row, _ in batch]
        wanted.update(keys)
        known = {} if fresh else _stamps(milvus, collection, keys)
        changed = [
            {**row, "vector": vector.astype(np.float32)}
            for row, vector in batch
            if known.get(row["id"]) != row["stamp"] + _mark(vector)
        ]
        if changed:
            for row in changed:
                row["stamp"] += _mark(row["vector"])
            milvus.put(collection, changed, new=not known)
        sent, there = sent + len(changed), there + len(batch)
        done(there)
    if sent >= AT_ONCE:
        milvus.settle(collection)
    if milvus.count(collection, up_to_date=True) > len(wanted):
        for rows_there in milvus.rows(collection, ["id"]):
            gone = [row["id"] for row in rows_there if row["id"] not in wanted]
            if gone:
                milvus.delete(collection, gone)
    return sent


def _mark(vector: np.ndarray) -> str:
    return stamp_of({"vector": vector.astype(np.float32).tobytes().hex()})[:8]


def _stamps(milvus: Milvus, collection: str, keys: list[str]) -> dict[str, str]:
    asked = ", ".join(quoted(key) for key in keys)
    return {row["id"]: row["stamp"] for row in milvus.query(collection, f"id in [{asked}]", ["id", "stamp"])}
