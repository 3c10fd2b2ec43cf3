"""What executes the towers: OpenVINO where that is faster, else torch.

The towers are exported once for each model, into the user's cache. A search that finds them there
imports neither torch nor transformers.
"""

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from crossmodal.data.preprocessing import Preprocessing
from crossmodal.encoding.openvino_core import compiled, openvino
from crossmodal.errors import CrossmodalError
from crossmodal.files import cache_folder, checked_fingerprint

TORCH = "torch"  # the name of the runtime that every model has
SENTENCES_AT_ONCE = 64
LAYOUT = 2  # version of what is exported; towers in another one are exported again
PARTS = ("about.json", "tokenizer.json", "image.xml", "image.bin", "text.xml", "text.bin")


class Runtime(Protocol):
    """Encodes images and sentences as unit vectors fp32 [N, D]; any number of threads may call it."""

    @property
    def name(self) -> str:
        """What executes the towers."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes the input of `encode_pixels`."""
        ...

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, size, size, 3] -> [N, D]."""
        ...

    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Return [len(sentences), D]."""
        ...


def exported_folder(fingerprint: str) -> Path:
    """Return where a model's exported towers lie, or would; raises CrossmodalError for what is no fingerprint."""
    return cache_folder() / f"{checked_fingerprint(fingerprint, 'What is to be searched')}-{LAYOUT}"


@dataclass(frozen=True)
class Exported:
    """The folder of a model's exported towers."""

    folder: Path

    @staticmethod
    def of(fingerprint: str) -> "Exported | None":
        """Return a model's, or None where they are not exported, or OpenVINO is not installed."""
        folder = exported_folder(fingerprint)
        if not all((folder / part).is_file() for part in PARTS):
            return None
        try:
            openvino()
        except ImportError:
            return None
        return Exported(folder)


class OpenVinoRuntime:
    """The exported towers, on the CPU in the precision that OpenVINO holds best for it."""

    name = "OpenVINO"

    def __init__(self, exported: Exported) -> None:
        import tokenizers

        self._folder = exported.folder
        try:
            about: dict[str, Any] = json.loads((self._folder / "about.json").read_text())
            self.preprocessing = Preprocessing.from_plain(about["preprocessing"])
            self._padding: int = about["padding"]
            self._tokenizer = tokenizers.Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        except Exception as error:  # damaged by another program
            raise CrossmodalError(
                f"{self._folder} is broken ({error}); delete it, and the towers are exported again."
            ) from error
        writable = os.access(self._folder, os.W_OK)  # where it is not, each start compiles again
        config = {"CACHE_DIR": str(self._folder / "compiled")} if writable else {}
        self._towers = {
            "image": _Tower(self._folder / "image.xml", {**config, "PERFORMANCE_HINT": "THROUGHPUT"}),
            "text": _Tower(self._folder / "text.xml", config),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the compiled towers; they are compiled again by the next call."""
        for tower in self._towers.values():
            tower.close()

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, size, size, 3] -> [N, D]."""
        return self._towers["image"](pixels)

    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Return [len(sentences), D]."""
        parts = [
            self._encode(sentences[start : start + SENTENCES_AT_ONCE])
            for start in range(0, len(sentences), SENTENCES_AT_ONCE)
        ]
        return np.concatenate(parts)

    def _encode(self, sentences: Sequence[str]) -> np.ndarray:
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(list(sentences))]
        ids = np.full((len(rows), max(map(len, rows))), self._padding, dtype=np.int64)
        mask = np.zeros_like(ids)
        for line, row in enumerate(rows):
            ids[line, : len(row)], mask[line, : len(row)] = row, 1
        return self._towers["text"](ids, mask)


# One call at a time in a process: it uses all cores by itself, and several at once, of one compiled model or of two,
# now and then never end where torch has threads in the same process.
_ONE_AT_A_TIME = threading.Lock()
# A core by itself takes so many images at a time best: more leave its cache.
ROWS_AT_ONCE = 8


class _Tower:
    """A compiled tower and its infer requests, which threads use in turn."""

    def __init__(self, path: Path, config: dict[str, str]) -> None:
        self._path, self._config = path, config
        self._requests: Any = None

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Return the tower's output [N, D], a copy; the rows of the inputs go to all requests in turn."""
        rows = len(inputs[0])
        parts: dict[int, np.ndarray] = {}
        with _ONE_AT_A_TIME:
            requests = self._opened(parts)
            share = -(-rows // len(requests))
            at_once = max(1, min(share, ROWS_AT_ONCE) if len(requests) > 1 else share)
            for start in range(0, rows, at_once):
                part = {place: whole[start : start + at_once] for place, whole in enumerate(inputs)}
                requests.start_async(part, start, share_inputs=True)
            requests.wait_all()
            return np.concatenate([parts[start] for start in sorted(parts)])

    def _opened(self, parts: dict[int, np.ndarray]) -> Any:
        """Return the requests, as many as OpenVINO runs best side by side, which put their outputs into `parts`."""
        if self._requests is None:
            self._requests = openvino().AsyncInferQueue(compiled(str(self._path), self._config))
        self._requests.set_callback(
            lambda request, start: parts.__setitem__(start, np.array(request.get_output_tensor(0).data))
        )
        return self._requests

    def close(self) -> None:
        with _ONE_AT_A_TIME:
            self._requests = None
