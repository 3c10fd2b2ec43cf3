"""The OpenVINO runtime with towers made by hand: many threads, and folders that are not its own."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import tokenizers
from openvino import opset13 as ops

from crossmodal.encoding.runtime import Exported, OpenVinoRuntime, exported_folder
from crossmodal.errors import CrossmodalError
from crossmodal.runs.models import Maker
from tests.test_photo_index import ColourRuntime

SIZE, THREADS, CALLS = 64, 4, 40
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def exported(tmp_path: Path) -> Exported:
    """Towers: an image becomes its mean colour, a sentence the mean of its words' numbers."""
    pixels = ops.parameter([-1, SIZE, SIZE, 3], np.uint8)
    colour = ops.reduce_mean(ops.convert(pixels, np.float32), np.array([1, 2]))
    ids, mask = ops.parameter([-1, -1], np.int64), ops.parameter([-1, -1], np.int64)
    mean = ops.reduce_mean(ops.convert(ops.multiply(ids, mask), np.float32), np.array([1]), keep_dims=True)
    ov.save_model(ov.Model([colour], [pixels]), tmp_path / "image.xml", compress_to_fp16=False)
    ov.save_model(ov.Model([mean], [ids, mask]), tmp_path / "text.xml", compress_to_fp16=False)
    words = tokenizers.models.WordLevel({"zero": 0, "one": 1, "two": 2}, unk_token="zero")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    about = {"preprocessing": asdict(ColourRuntime.preprocessing), "padding": 0}
    (tmp_path / "about.json").write_text(json.dumps(about))
    return Exported(tmp_path)


def test_threads_share_a_runtime(exported: Exported) -> None:
    wrong: list[object] = []

    def images(number: int) -> None:
        found = runtime.encode_pixels(np.full((8, SIZE, SIZE, 3), number, dtype=np.uint8))
        np.testing.assert_allclose(found, np.full((8, 3), number), rtol=0.01)

    def sentences(number: int) -> None:
        text = " ".join(["two", "one", "one", "zero"][: 1 + number % 4])
        found = runtime.encode_sentences([text] * 3)
        np.testing.assert_allclose(found, np.full((3, 1), [2, 1.5, 4 / 3, 1][number % 4]), rtol=0.01)

    def repeat(call: Callable[[int], None], number: int) -> None:
        try:
            for _ in range(CALLS):
                call(number)
        except Exception as error:
            wrong.append(error)

    with OpenVinoRuntime(exported) as runtime:
        threads = [
            threading.Thread(target=repeat, args=(call, number), daemon=True) for number in range(THREADS) for call in (images, sentences)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []
    assert [tower._requests for tower in runtime._towers.values()] == [None, None]
    images(7)  # a closed one is opened by the next call


def test_a_fingerprint_never_leads_out_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert exported_folder("0" * 32).parent == tmp_path / "cache" / "crossmodal"
    for wrong in ("/../../victim", "..", ""):
        with pytest.raises(CrossmodalError, match="names no model"):
            Exported.of(wrong)
        with pytest.raises(CrossmodalError, match="names no model"):
            Maker(wrong, tmp_path / "none.pt", "the index", "again").runtime()


SIGNALLED = """
import gc, os, signal, sys
from pathlib import Path
from crossmodal.encoding.runtime import Exported, OpenVinoRuntime
import numpy as np
signal.signal(signal.SIGCHLD, lambda *_: None)
opened = [OpenVinoRuntime(Exported(Path(sys.argv[1]))) for _ in range(3)]
for runtime in opened:
    runtime.encode_sentences(["one"])
del runtime
while opened:
    opened.pop(0).close()  # the first one first
    gc.collect()
for _ in range(20):
    os.kill(os.getpid(), signal.SIGCHLD)
print("alive")
"""


def test_a_signal_after_runtimes_were_closed_kills_nothing(exported: Exported) -> None:
    """With a stack of its own for signals, as Python's faulthandler asks for."""
    command = [sys.executable, "-X", "faulthandler", "-c", SIGNALLED, str(exported.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr[-2000:]


CONVERTED = """
import torch
from crossmodal.encoding.openvino_core import openvino
openvino().convert_model(torch.nn.Linear(2, 2), example_input=torch.zeros(1, 2))
print("converted")
"""


def test_nobody_is_told_of_a_conversion(tmp_path: Path) -> None:
    """OpenVINO keeps a number for the user in the home folder, and sends it to its makers from a fork of the process."""
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD", "JENKINS_URL")}
    command = [sys.executable, "-c", CONVERTED]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment | {"HOME": str(tmp_path)}
    )
    assert (done.returncode, done.stdout) == (0, "converted\n"), done.stderr[-2000:]
    assert not (tmp_path / "intel").exists()


def test_a_model_that_is_damaged_is_not_said_to_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "model_epoch_1.pt"
    maker = Maker("f" * 32, path, "the index", "again")
    with pytest.raises(CrossmodalError, match=f"is no longer at {path}; name a checkpoint"):
        maker.model()
    path.write_bytes(b"no checkpoint")
    with pytest.raises(
        CrossmodalError, match="the index cannot be used .*model_epoch_1.pt cannot be read as a file of tensors"
    ):
        maker.model()
