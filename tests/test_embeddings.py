"""Embedding files: whatever is wrong with them is one sentence with the command that writes them again."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crossmodal.encoding.embeddings import Embeddings, image_path, load_embeddings, save_embeddings, text_path
from crossmodal.errors import CheckpointError
from crossmodal.files import save_tensors
from crossmodal.galleries import open_run
from crossmodal.runs.opening import checkpoint_of

VECTORS = torch.eye(3)
WHOLE = Embeddings(VECTORS, VECTORS[[0, 1, 2, 2]], ["a", "b", "c"], ["train", "val", "test"], list("wxyz"), torch.tensor([0, 1, 2, 2]), {})  # fmt: skip


def changed(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: content | values


@pytest.mark.parametrize(
    ("change", "only_texts", "words"),
    [
        (changed(embeds=VECTORS[0]), False, "not matrices"),
        (changed(embeds=torch.eye(3, 2)), False, "other numbers than vectors"),
        (changed(embeds=torch.eye(4, 2)), True, "different sizes"),
        (changed(embeds=torch.full((4, 3), float("nan"))), True, "not finite"),
        (changed(embeds=2 * VECTORS[[0, 1, 2, 2]]), True, "not of unit length"),
        (changed(embeds=torch.full((4, 3), float("inf")).half()), True, "not finite"),
        (changed(image_names=["a", "b", "a"]), False, "name an image twice"),
        (changed(image_names=["a", "b"]), False, "other numbers"),
        (changed(image_names=["a", "b", 3]), False, "not lists of texts"),
        (changed(splits=["train", "val", "dev"]), False, "splits other than train, val, test"),
        (changed(caption_to_image=torch.tensor([0, 1, 2, 3])), False, "image that is not there"),
        (changed(caption_to_image=torch.tensor([0, 1, 2, -1])), False, "image that is not there"),
        (changed(caption_to_image=[0, 1, 2, 2]), False, "no index"),
        (changed(captions=["another", "x", "y", "z"]), True, "different images and captions in the two files"),
        (lambda content: {key: value for key, value in content.items() if key != "splits"}, False, "lack 'splits'"),
    ],
)
def test_files_that_do_not_hold_together_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], only_texts: bool, words: str
) -> None:
    save_embeddings(tmp_path, 1, "fingerprint", WHOLE)
    assert load_embeddings(tmp_path, 1, "fingerprint", "cmd").captions == WHOLE.captions
    for path in (text_path(tmp_path, 1), image_path(tmp_path, 1))[: 1 if only_texts else 2]:
        save_tensors(path, change(torch.load(path, weights_only=True)))
    with pytest.raises(CheckpointError, match=rf"{words}.*`cmd`"):
        load_embeddings(tmp_path, 1, "fingerprint", "cmd")


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    vectors = torch.nn.functional.normalize(torch.randn(50, 64), dim=1).half()
    names = [f"{number}.jpg" for number in range(50)]
    held = Embeddings(vectors, vectors, names, ["train"] * 50, names, torch.arange(50), {})
    save_embeddings(tmp_path, 1, "f" * 32, held)
    for path in (image_path(tmp_path, 1), text_path(tmp_path, 1)):
        content = path.read_bytes()
        at = content.index(vectors.numpy().tobytes()) + 1001
        for place in (at, content.index(b"7.jpg")):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(CheckpointError, match="cannot be read as a file of tensors"):
                load_embeddings(tmp_path, 1, "f" * 32, "embed")
        path.write_bytes(content)
    load_embeddings(tmp_path, 1, "f" * 32, "embed")


def test_a_run_whose_checkpoint_was_damaged_is_not_searched(runs: Path) -> None:
    open_run(runs)
    path = checkpoint_of(runs)
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + largest.file_size // 2 + 200] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as a file of tensors"):
        open_run(runs)  # though its towers may lie exported in the cache
