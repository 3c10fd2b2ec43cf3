"""Several views of a photo as one vector: their mean ranks better than the vector of the photo as it is."""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

MIDDLE = 7 / 8  # of the width and the height, which the closer views keep


def encode_views(encode: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray, views: int) -> np.ndarray:
    """Encode uint8 [N, S, S, 3] as unit vectors [N, D]: of each photo the mean of its first `views` views."""
    if views == 1:
        return encode(pixels)
    total = sum(encode(view) for view in _views(pixels, views))
    assert isinstance(total, np.ndarray)
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def _views(pixels: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Yield the photos as they are, closer and mirrored, mirrored, and closer: the most different ones first."""
    yield pixels
    closer = _closer(pixels)
    yield from (_mirrored(closer), _mirrored(pixels), closer)[: count - 1]


def _mirrored(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _closer(pixels: np.ndarray) -> np.ndarray:
    """Return the middle of each photo, enlarged."""
    side = pixels.shape[1]
    edge = side * (1 - MIDDLE) / 2
    box = (edge, edge, side - edge, side - edge)
    enlarged = [Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC, box=box) for one in pixels]
    return np.stack([np.asarray(one) for one in enlarged])
