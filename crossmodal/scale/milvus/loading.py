"""Loading a gallery into Milvus, or bringing it up to date there: what is there already is not sent again."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.batched import batched
from crossmodal.errors import CrossmodalError
from crossmodal.photos.store import Described, Photo
from crossmodal.photos.walk import Found
from crossmodal.scale.milvus.connection import FORMAT, TEXT, VERSION, Milvus, quoted
from crossmodal.scale.milvus.rows import FIELDS, as_row, stamp_of
from crossmodal.search.ids import opaque_id

AT_ONCE = 1000  # rows that are sent together, some megabytes
CAPTION_FIELDS: dict[str, int | type] = {"id": 64, "stamp": 32, "caption": TEXT, "image": 64}
Watch = Callable[[int, int], None]  # rows done, rows in all


@dataclass(frozen=True)
class Source:
    """What is loaded: what it is, its photos, and its captions (text, path of its photo), each with unit vectors."""

    about: Mapping[str, Any]
    photos: list[Photo]
    vectors: np.ndarray
    captions: list[tuple[str, str]]
    caption_vectors: np.ndarray

    @staticmethod
    def of_index(folder: Path) -> "Source":
        """Return an index of photos; raises CrossmodalError when there is none."""
        from crossmodal.photos.gallery import PhotoLibrary

        library = PhotoLibrary(folder)
        kept = {key: library.meta[key] for key in ("fingerprint", "checkpoint", "recipe", "size", "runtime", "cutoff")}
        about = {
            **kept,
            "root": str(library.root.resolve()),
            "cameras": library.cameras(),
            "metrics": {},
            "holds": "photos",
        }
        return Source(about, list(library.photos), library.vectors, [], np.empty((0, library.meta["size"]), np.float32))

    @staticmethod
    def of_run(checkpoint: Path | None) -> "Source":
        """Return a run's gallery, by default that of the page."""
        from crossmodal.runs.opening import checkpoint_of, default_run, load_model, open_embeddings

        path = checkpoint_of(checkpoint or default_run())
        model, content = load_model(path)
        embeddings = open_embeddings(path, content["fingerprint"], model)
        captions: dict[str, list[str]] = {name: [] for name in embeddings.image_names}
        pairs = []
        for caption, owner in zip(embeddings.captions, embeddings.caption_to_image.tolist(), strict=True):
            captions[embeddings.image_names[owner]].append(caption)
            pairs.append((caption, embeddings.image_names[owner]))
        unknown = Described(b"", 0, 0, None, "", 0)
        photos = [Photo(Found(name, 0, 0), 0, unknown, tuple(captions[name])) for name in embeddings.image_names]
        about = {
            "fingerprint": content["fingerprint"], "checkpoint": str(path.resolve()), "recipe": model.recipe.name,
            "size": model.recipe.joint_size, "runtime": "OpenVINO", "cutoff": None, "cameras": [], "holds": "run",
            "root": str(Path(embeddings.data["images"]).resolve()), "metrics": dict(content["metrics"]),
        }  # fmt: skip
        return Source(about, photos, embeddings.images.float().numpy(), pairs, embeddings.texts.float().numpy())


def load(milvus: Milvus, source: Source, rebuild: bool, watch: Watch = lambda done, total: None) -> int:
    """Bring a gallery in Milvus up to date with its source; return how many rows were sent.

    A load that was cut off is gone on with by the next. Raises CrossmodalError where the gallery there is
    of another model, unless `rebuild` throws it away first.
    """
    if rebuild:
        milvus.drop()
    there = milvus.about()
    if there and there["fingerprint"] != source.about["fingerprint"]:
        raise CrossmodalError(
            f"The gallery {milvus.name} in {milvus.url} was made by another model ({there['recipe']}, "
            f"{there['fingerprint']}) than what is loaded ({source.about['fingerprint']}); name another --collection, or "
            "throw it away with --rebuild."
        )
    # The key of the ids is the gallery's own, so that ids stay the same on whichever machine it is loaded or served.
    key = there.get("id_key") or secrets.token_hex(32)
    milvus.say_about({"format": FORMAT, "version": VERSION, **source.about, "id_key": key, "complete": False})
    total = len(source.photos) + len(source.captions)
    secret = bytes.fromhex(key)
    sent = _bring(
        milvus, milvus.photos, FIELDS, source.vectors, (as_row(one, opaque_id(one.found.path, secret)) for one in source.photos),
        lambda done: watch(done, total),
    )  # fmt: skip
    if source.captions:
        sent += _bring(
            milvus, milvus.captions, CAPTION_FIELDS, source.caption_vectors, _caption_rows(source.captions, secret),
            lambda done: watch(len(source.photos) + done, total),
        )  # fmt: skip
    milvus.say_about({"complete": True})
    return sent


def _caption_rows(captions: Iterable[tuple[str, str]], key: bytes) -> Iterator[dict[str, Any]]:
    for place, (caption, image) in enumerate(captions):
        cut = caption.encode()[:TEXT].decode(errors="ignore")
        row = {"caption": cut, "image": opaque_id(image, key)}
        yield {"id": opaque_id(f"{place} {image}", key), "stamp": stamp_of(row), **row}


def _bring(
    milvus: Milvus, collection: str, fields: Mapping[str, int | type], vectors: np.ndarray, rows: Iterable[dict[str, Any]],
    done: Callable[[int], None],
) -> int:  # fmt: skip
    """Make a collection hold these rows with their vectors, and no others; return how many were sent."""
    fresh = not milvus.has(collection)
    milvus.create(collection, fields, vectors.shape[1])  # whole, where a load was cut off in it
    wanted: set[str] = set()
    sent = start = 0
    for batch in batched(rows, AT_ONCE):
        keys = [row["id"] for row in batch]
        wanted.update(keys)
        known = {} if fresh else _stamps(milvus, collection, keys)
        changed = [
            {**row, "vector": vectors[start + place].astype(np.float32)}
            for place, row in enumerate(batch)
            if known.get(row["id"]) != row["stamp"] + _mark(vectors[start + place])
        ]
        if changed:
            for row in changed:
                row["stamp"] += _mark(row["vector"])
            milvus.put(collection, changed, new=not known)
        sent, start = sent + len(changed), start + len(batch)
        done(start)
    if sent >= AT_ONCE:
        milvus.settle(collection)
    if milvus.count(collection) > len(wanted):
        for there in milvus.keys(collection):
            gone = [key for key in there if key not in wanted]
            if gone:
                milvus.delete(collection, gone)
    return sent


def _mark(vector: np.ndarray) -> str:
    return stamp_of({"vector": vector.astype(np.float32).tobytes().hex()})[:8]


def _stamps(milvus: Milvus, collection: str, keys: list[str]) -> dict[str, str]:
    asked = ", ".join(quoted(key) for key in keys)
    return {row["id"]: row["stamp"] for row in milvus.query(collection, f"id in [{asked}]", ["id", "stamp"])}
