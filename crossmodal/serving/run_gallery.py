"""The gallery of a training run: its photos and captions, by the tensors that it wrote."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from crossmodal.encoding.runtime import Runtime
from crossmodal.errors import GalleryError
from crossmodal.progress import Bars, silent
from crossmodal.search.filters import NOT_OF_A_RUN, Filters
from crossmodal.search.service import SearchService
from crossmodal.serving.gallery import Found, FoundCaption, Gallery, Ids


class RunGallery(Gallery):
    """The gallery of a training run."""

    def __init__(
        self, service: SearchService, runtime: Runtime, fingerprint: str, metrics: Mapping[str, float]
    ) -> None:
        self._service, self.runtime, self.fingerprint, self.metrics = service, runtime, fingerprint, metrics
        self.label = service.model.recipe.name
        self._ids = Ids([service.folder / name for name in service.names])

    @property
    def kind(self) -> str:
        """As Gallery says."""
        return "exact"

    def photo_count(self) -> int:
        """As Gallery says."""
        return len(self._service.names)

    def caption_count(self) -> int:
        """As Gallery says."""
        return len(self._service.captions)

    def path(self, image_id: str) -> Path:
        """As Gallery says."""
        return self._service.folder / self._service.names[self._ids.row(image_id)]

    def vector(self, image_id: str) -> np.ndarray:
        """As Gallery says."""
        return self._service.image_vector(self._ids.row(image_id)).numpy()

    def search(
        self, vector: np.ndarray, top_k: int, filters: Filters, sentence: bool, cut_off: bool, by_date: bool
    ) -> list[Found]:
        """As Gallery says; raises GalleryError for filters and dates, which a run's photos do not have."""
        if filters != Filters() or by_date:
            raise GalleryError(NOT_OF_A_RUN)
        hits = self._service.find_images(torch.from_numpy(vector), top_k)
        return [Found(self._ids.of_row[hit.row], hit.score, hit.captions) for hit in hits]

    def find_captions(self, vector: np.ndarray, top_k: int) -> list[FoundCaption]:
        """As Gallery says."""
        hits = self._service.find_captions(torch.from_numpy(vector), top_k)
        return [
            FoundCaption(hit.caption, hit.score, None if hit.row is None else self._ids.of_row[hit.row]) for hit in hits
        ]


def open_run(checkpoint: Path | None, bars: Bars = silent) -> RunGallery:
    """Open a run's gallery, by default that of the page."""
    from crossmodal.encoding.openvino_export import fastest_runtime
    from crossmodal.runs.opening import checkpoint_of, default_run, load_model, open_embeddings

    path = checkpoint_of(checkpoint or default_run())
    model, content = load_model(path)
    service = SearchService(model, open_embeddings(path, content["fingerprint"], model, bars=bars))
    runtime = fastest_runtime(model, content["fingerprint"])
    return RunGallery(service, runtime, content["fingerprint"], content["metrics"])
