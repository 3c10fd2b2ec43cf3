"""Indexes and checkpoints that somebody else damaged, or made."""

import contextlib
import copy
import json
import math
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossmodal.dual_encoder import DualEncoder
from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.photos.store import DATABASE
from crossmodal.search.search import Search
from tests.fuzz.mutations import bounded, counts, modest, mutated
from tests.test_model import signed
from tests.test_photo_index import ColourRuntime, opened, run, save, set_meta, vectors_of

VALUES: tuple[Any, ...] = (
    None, "", "x", "../../x", "/etc/hostname", "\0", "\ud800", -1, 0, 2**62, 10**9, 1e300, math.nan, math.inf, [], {}, [None], {"a": 1}, True,
    b"", b"\xff" * 16, "f" * 32,
)  # fmt: skip
COLUMNS = (
    "path",
    "size",
    "changed",
    "inode",
    "status_changed",
    "slot",
    "digest",
    "width",
    "height",
    "taken",
    "camera",
    "look",
    "latitude",
    "longitude",
)


def damage_record(folder: Path, chance: random.Random) -> None:
    value = chance.choice([value for value in VALUES if isinstance(value, (str, bytes, int, float, type(None)))])
    column = chance.choice(COLUMNS)
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as db, db:
        try:
            done = db.execute(f"UPDATE photos SET {column} = ? WHERE path = (SELECT min(path) FROM photos)", (value,))
        except (sqlite3.IntegrityError, OverflowError, UnicodeError):  # what SQLite holds not even here
            return
        assert done.rowcount == 1


def damage_index(folder: Path, chance: random.Random) -> None:
    """Damage one thing: the database or the vectors as bytes, an entry of `meta`, or a record."""
    kind = chance.randrange(5)
    if kind == 0:
        (folder / DATABASE).write_bytes(mutated((folder / DATABASE).read_bytes(), chance))
    elif kind == 1:
        vectors_of(folder).write_bytes(mutated(vectors_of(folder).read_bytes(), chance))
    elif kind == 2:
        with contextlib.closing(sqlite3.connect(folder / DATABASE)) as db:
            keys = [key for (key,) in db.execute("SELECT key FROM meta")]
        value = chance.choice([value for value in VALUES if not isinstance(value, bytes)])
        set_meta(
            folder,
            chance.choice(keys),
            json.dumps(value) if chance.random() < 0.8 else chance.choice(("", "{", "[" * 5000)),
        )
    else:
        damage_record(folder, chance)


@counts(20, 300)
def test_indexes(count: int, tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / "photos" / f"{number}.png", (40 * number, 90, 200 - number))
    run(tmp_path / "photos")
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    chance, answered = random.Random(4), 0
    with modest():
        for number in range(count):
            root = tmp_path / "damaged"
            shutil.copytree(tmp_path / "photos", root)
            damage_index(root / ".crossmodal", chance)
            with bounded(f"index {number}"), contextlib.suppress(CrossmodalError):
                search = Search(opened(root), ColourRuntime())
                query = search.query(image=search.encode_photo(root / "0.png"))
                found = search.photos(query, 9, cut_off=False).hits
                assert all(root in hit.path.parents and np.isfinite(hit.score) for hit in found), number
                assert all(hit.plain() for hit in search.newest(9)), number
                answered += 1
            if number % 5 == 0:
                with bounded(f"index {number}, brought up to date"), contextlib.suppress(CrossmodalError):
                    run(root)
            shutil.rmtree(root)
    assert answered > count / 10 and secret.read_text() == "secret"


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where values stand in nested dictionaries and lists, tokenizers' long ones aside."""
    items = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, (list, tuple))
        else ()
    )
    found = [path] if path else []
    for key, value in list(items)[:60]:
        found += places(value, (*path, key))
    return found


def with_value(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy with another value at a place."""
    if not path:
        return value
    changed = dict(content) if isinstance(content, dict) else list(content)
    changed[path[0]] = with_value(changed[path[0]], path[1:], value)
    return tuple(changed) if isinstance(content, tuple) else changed


@counts(10, 100)
def test_checkpoints(count: int, model: DualEncoder, tmp_path: Path) -> None:
    path, chance = tmp_path / "model_epoch_1.pt", random.Random(4)
    model.save(path, 1, {"rsum": 1.0}, {"captions": "c"})
    whole, content = path.read_bytes(), torch.load(path, weights_only=True)
    tensors = (
        torch.tensor(math.nan),
        torch.zeros(0),
        torch.zeros(1).expand(10**6, 10**6),
        torch.zeros(3, dtype=torch.int64),
    )
    said: list[str] = []
    with modest():
        for number in range(count):
            if number % 2:
                path.write_bytes(mutated(whole, chance))
            else:
                value = chance.choice([*VALUES, *tensors])
                changed = with_value(copy.copy(content), chance.choice(places(content)), value)
                with contextlib.suppress(Exception):  # one that cannot be signed stays as it is
                    changed = signed(changed)
                torch.save(changed, path)
            with bounded(f"checkpoint {number}"):
                try:
                    DualEncoder.load(path)
                except CheckpointError as error:
                    said.append(str(error))
    assert len(said) > count / 10
    assert all(len(one.splitlines()) == 1 and "inline_container" not in one for one in said)
