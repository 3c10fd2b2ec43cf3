"""What vectors that a file holds must be: embeddings may come from a stranger, or from a disk that fails."""

import numpy as np

LOOKED_AT = 1000  # vectors, evenly spaced, of a gallery that is opened
TOLERANCE = 0.02  # half precision is nearer to 1


def have_unit_length(vectors: np.ndarray) -> bool:
    """Say whether vectors [N, D], of which some are looked at, have a length of 1."""
    some = np.asarray(vectors[:: max(1, len(vectors) // LOOKED_AT)], dtype=np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        return bool((np.abs(np.linalg.norm(some, axis=1) - 1) < TOLERANCE).all())
