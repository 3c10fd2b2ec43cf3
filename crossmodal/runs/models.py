"""The model that made a gallery: found again by its fingerprint, and opened when the first query needs it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from crossmodal.data.preprocessing import Preprocessing
from crossmodal.encoding.runtime import TORCH, Exported, OpenVinoRuntime, Runtime
from crossmodal.errors import CrossmodalError
from crossmodal.files import checked_fingerprint
from crossmodal.places import SHIPPED_RUN
from crossmodal.towers.published_names import is_published, kept_name

if TYPE_CHECKING:
    from crossmodal.encoding.openvino_export import Model
    from crossmodal.text_side import TextAlone

Loaded = TypeVar("Loaded")


def kept_as(checkpoint: Path) -> Path:
    """Return how others keep where a model is: a checkpoint's whole path, the name of a published model."""
    return kept_name(checkpoint) if is_published(checkpoint) else checkpoint.resolve()


@dataclass(frozen=True)
class Maker:
    """The model that made something: its fingerprint, where its checkpoint was, what was made, how to make it again.

    A published model has its name in the place of a checkpoint, and its weights perhaps in a folder of the user's.
    """

    fingerprint: str
    checkpoint: Path
    made: str
    again: str
    weights: Path | None = None

    @property
    def published(self) -> bool:
        """Whether it is a published model."""
        return is_published(self.checkpoint)

    def model(self) -> "tuple[Path, Model]":
        """Load the model from where it was, or from a run here that has it; return its file, or its name, too.

        Raises CrossmodalError when it is not here.
        """
        if self.published:
            return self.checkpoint, self._published()
        from crossmodal.runs.opening import load_model

        return self._found(lambda path: ((made := load_model(path))[0], made[1]["fingerprint"]))

    def text_alone(self) -> "TextAlone":
        """Load the text side of a checkpoint's model alone; raises as `model` does."""
        from crossmodal.runs.opening import load_text

        return self._found(load_text)[1]

    def _found(self, load: "Callable[[Path], tuple[Loaded, str]]") -> "tuple[Path, Loaded]":
        """Return what `load` gives of the first checkpoint that has the fingerprint, which it gives too, and its path."""
        from crossmodal.runs.folder import runs_in
        from crossmodal.runs.opening import CHECKPOINTS, checkpoint_of

        said = f"is no longer at {self.checkpoint}"
        for path in (self.checkpoint, *(checkpoint_of(run) for run in (*runs_in(CHECKPOINTS), SHIPPED_RUN))):
            try:
                loaded, fingerprint = load(path)
            except CrossmodalError as error:  # absent, or what lies there now is no checkpoint
                if path == self.checkpoint and path.exists():
                    said = f"cannot be used ({str(error).rstrip('.')})"
                continue
            if fingerprint == self.fingerprint:
                return path, loaded
        raise CrossmodalError(
            f"The model that made {self.made} {said}; name a checkpoint and make it again: {self.again}"
        )

    def _published(self) -> "Model":
        from crossmodal.runs.opening import open_model

        model, content = open_model(self.checkpoint, self.weights)
        if content["fingerprint"] != self.fingerprint:
            raise CrossmodalError(
                f"The weights of {self.checkpoint} that are here are not those that made {self.made}; name the folder of those "
                f"with --weights, or make it again: {self.again}"
            )
        return model

    def runtime(self, to_stay: bool = False) -> Runtime:
        """Return what encodes queries: exported towers where they are, else torch.

        With `to_stay` towers are exported where that is faster, which takes seconds once. Raises as `model` does.
        """
        exported = Exported.of(checked_fingerprint(self.fingerprint, self.made[0].upper() + self.made[1:]))
        if exported:
            return OpenVinoRuntime(exported)
        # Only here, since it takes seconds to import.
        from crossmodal.encoding.openvino_export import TorchRuntime, fastest_runtime

        model = self.model()[1]
        return fastest_runtime(model, self.fingerprint) if to_stay else TorchRuntime(model)


class LazyRuntime:
    """A model's runtime, opened when it is first used, by whichever thread comes first.

    One that had to begin in torch goes over to the exported towers once another door has made them, so that all give
    the same vectors. Until an image is to be encoded it has the text side alone in torch.
    """

    def __init__(self, maker: Maker) -> None:
        self._maker, self._lock = maker, threading.Lock()
        self._opened: Runtime | None = None
        self._text: TextAlone | None = None

    def _runtime(self) -> Runtime:
        with self._lock:
            if self._opened is None or (self._opened.name == TORCH and Exported.of(self._maker.fingerprint)):
                self._opened, self._text = self._maker.runtime(), None
            return self._opened

    def _text_alone(self) -> "TextAlone | None":
        """Return the text side where there is no more yet, and no exported tower either; None of a published model."""
        with self._lock:
            if self._opened or self._maker.published or Exported.of(self._maker.fingerprint):
                return None
            self._text = self._text or self._maker.text_alone()
            return self._text

    @property
    def name(self) -> str:
        """As Runtime says."""
        return self._runtime().name

    @property
    def preprocessing(self) -> Preprocessing:
        """As Runtime says."""
        return self._runtime().preprocessing

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """As Runtime says."""
        return self._runtime().encode_pixels(pixels)

    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """As Runtime says."""
        return (self._text_alone() or self._runtime()).encode_sentences(sentences)
