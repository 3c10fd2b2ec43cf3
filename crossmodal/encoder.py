"""What every model here can do: images and sentences in, unit vectors of one space out."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from crossmodal.recipe import HIGH


class Prepare(Protocol):
    """Turns an RGB image into a model's input; `size` is the side that it needs, in pixels."""

    @property
    def size(self) -> int:
        """The side of the model's input."""
        ...

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the input [3, size, size]."""
        ...


class Encoder(nn.Module, ABC):
    """A model with the two methods that evaluation and search need."""

    label: str  # how tables name it
    temperature: float  # by which the model's similarities are divided
    photo_views: int = 1  # of a photo whose mean is its vector, where quality is worth the time
    prefixes: tuple[
        int, ...
    ] = ()  # sizes at which its vectors can be cut, as `first_dimensions` does; the last is the whole

    @property
    @abstractmethod
    def preparation(self) -> Prepare:
        """How an image becomes the input of `encode_image`."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device

    def views(self, quality: str) -> int:
        """Return how many views of a photo its vector is the mean of, in NORMAL or HIGH quality."""
        return self.photo_views if quality == HIGH else 1

    @abstractmethod
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Inputs [N, 3, size, size] as `preparation` gives them -> unit vectors [N, D]."""

    @abstractmethod
    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit vectors [len(sentences), D]."""

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """Return what beside its weights decides what the model gives, as plain values."""

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image.Image]) -> Tensor:
        """Return unit vectors [len(images), D] of RGB images, fp32 on the CPU."""
        pixels = torch.stack([self.preparation(image) for image in images])
        return self.encode_image(pixels.to(self.device)).cpu()

    @torch.inference_mode()
    def encode_sentences(self, sentences: Sequence[str], at_once: int = 512) -> Iterator[Tensor]:
        """Yield unit vectors [at most at_once, D], fp32 on the CPU, in the order given."""
        for start in range(0, len(sentences), at_once):
            yield self.encode_text(sentences[start : start + at_once]).cpu()


def first_dimensions(vectors: Tensor, size: int) -> Tensor:
    """Return the first `size` dimensions of vectors [N, D], as unit vectors [N, size] in fp32."""
    return F.normalize(vectors[:, :size].float(), dim=1)
