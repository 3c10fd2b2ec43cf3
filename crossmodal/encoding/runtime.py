"""What runs the towers over a folder: OpenVINO where that is the faster one, else torch.

The towers are exported once for each model, into the user's cache. A search that finds them there
imports neither torch nor transformers.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from crossmodal.data.preprocessing import Preprocessing
from crossmodal.errors import CrossmodalError
from crossmodal.files import cache_folder

SENTENCES_AT_ONCE = 64
LAYOUT = 2  # of what is exported; what lies in the cache in another one is made anew
PARTS = ("about.json", "tokenizer.json", "image.xml", "image.bin", "text.xml", "text.bin")


class Runtime(Protocol):
    """Encodes images and sentences as unit vectors fp32 [N, D]."""

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
    """Return where a model's exported towers lie, or would."""
    return cache_folder() / f"{fingerprint}-{LAYOUT}"


@dataclass(frozen=True)
class Exported:
    """The folder of a model's exported towers."""

    folder: Path

    @staticmethod
    def of(fingerprint: str) -> "Exported | None":
        """Return a model's, or None where it was not exported whole, or OpenVINO is not installed."""
        folder = exported_folder(fingerprint)
        if not all((folder / part).is_file() for part in PARTS):
            return None
        try:
            import openvino  # noqa: F401
        except ImportError:
            return None
        return Exported(folder)


class OpenVinoRuntime:
    """The exported towers, on the CPU in the precision that OpenVINO holds best for it."""

    def __init__(self, exported: Exported) -> None:
        import openvino as ov
        import tokenizers

        self._folder = exported.folder
        try:
            about: dict[str, Any] = json.loads((self._folder / "about.json").read_text())
            self.preprocessing = Preprocessing.from_plain(about["preprocessing"])
            self._padding: int = about["padding"]
            self._tokenizer = tokenizers.Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        except Exception as error:  # torn by another program
            raise CrossmodalError(f"{self._folder} is broken ({error}); delete it, and it is made anew.") from error
        self._core = ov.Core()
        if os.access(self._folder, os.W_OK):  # where it cannot be written, each start compiles anew
            self._core.set_property({"CACHE_DIR": str(self._folder / "compiled")})
        self._compiled: dict[str, Callable[..., Any]] = {}
        self.name = "OpenVINO"

    def _model(self, tower: str) -> Callable[..., Any]:
        if tower not in self._compiled:
            self._compiled[tower] = self._core.compile_model(str(self._folder / f"{tower}.xml"), "CPU")
        return self._compiled[tower]

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, size, size, 3] -> [N, D]."""
        return np.array(self._model("image")(pixels)[0])

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
        return np.array(self._model("text")((ids, mask))[0])
