"""Captions files and queries that nobody meant."""

import contextlib
import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossmodal.data.dataset import read_dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.errors import CrossmodalError
from crossmodal.search.query import Query, parse_terms, texts_of
from tests.fuzz.mutations import bounded, counts, modest, mutated

NAMES = ("p0.jpg", "p1.jpg", "p2.jpg", "p3.jpg")
TOKENS = (
    b'"', b"'", b",", b"\t", b";", b"|", b"\n", b"\r", b"\r\n", b"\0", b"#0\t", b"sep=;\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff",
    b"\xed\xa0\x80", b"\xe2\x80\xa8", b"[" * 3000, b'{"a":' * 3000, b"x" * 200_000, b"1e400", b"NaN", b"-1", b"null", b"../../x.jpg",
    b"/etc/hostname", b'"images":[', b"}", b"]", b"split", b"train",
)  # fmt: skip
PIECES = (
    "dog", "two dogs in the snow", "+", " + ", " - ", "-", "2:", "0:", "1e400:", "-3:", "nan:", "inf:", "3:15", "16:9", "2001: a", '"', "'",
    "\\", "\0", "\n", "\t", "\u2028", "\ud800", "é", "e\u0301", "写真", "😀", "\u202e", " ", "x" * 5000, "+" * 50, "0.5:", "99:", "100.1:", "1:1:1:",
)  # fmt: skip


def seeds() -> list[bytes]:
    """Return a captions file of each kind that is read."""
    rows = [(name, f"A {word} dog, in the snow.", "train") for name in NAMES for word in ("red", "blue")]
    plain = "image,caption\n" + "".join(f'{image},"{caption}"\n' for image, caption, _ in rows)
    split = "filename;split;caption\n" + "".join(f'{image};{split};"{caption}"\n' for image, caption, split in rows)
    token = "".join(f"{image}#{row}\t{caption}\n" for row, (image, caption, _) in enumerate(rows))
    results = "image_name| comment_number| comment\n" + "".join(
        f"{image}| 0| {caption}\n" for image, caption, _ in rows
    )
    karpathy = {
        "images": [
            {"filename": image, "split": split, "sentences": [{"raw": caption}]} for image, caption, split in rows
        ]
    }
    coco = {
        "images": [{"id": number, "file_name": image} for number, image in enumerate(NAMES)],
        "annotations": [{"image_id": number % 4, "caption": caption} for number, (_, caption, _) in enumerate(rows)],
    }  # fmt: skip
    listed = [{"file_name": image, "caption": [caption, caption]} for image, caption, _ in rows]
    lines = "\n".join(map(json.dumps, listed))
    texts = [plain, split, token, results, *map(json.dumps, (karpathy, coco, listed)), lines]
    return [*(text.encode() for text in texts), plain.encode("utf-16"), plain.encode("cp1252")]


@counts(60, 2000)
def test_captions_files(count: int, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(images / name)
    chance, files, limit = random.Random(1), seeds(), csv.field_size_limit()
    read = 0
    with modest():
        for number in range(count):
            path = tmp_path / f"captions{number % 2}.txt"
            path.write_bytes(mutated(chance.choice(files), chance, TOKENS))
            with bounded(f"captions file {number}"), contextlib.suppress(CrossmodalError):
                read += len(read_dataset(path, images, check=False).dataset) > 0
    assert read > count / 20  # and not all of them are refused
    assert csv.field_size_limit() == limit


@counts(60, 500)
def test_queries(count: int, model: DualEncoder) -> None:
    chance, understood = random.Random(2), 0
    with modest():
        for number in range(count):
            text = "".join(chance.choice(PIECES) for _ in range(chance.randint(0, 12)))
            with bounded(f"query {number}"):
                for parse in (
                    parse_terms,
                    lambda text: [term for one in texts_of(text.split(" ")) for term in parse_terms(one)],
                ):
                    try:
                        terms = parse(text)[:8]
                        vectors = (
                            np.asarray(next(model.encode_sentences([term.text for term in terms]))) if terms else None
                        )
                        query = Query.of(terms, vectors)
                    except CrossmodalError:
                        continue
                    assert np.linalg.norm(query.vector) == pytest.approx(1, abs=1e-3), number
                    understood += 1
    assert understood > count / 10
