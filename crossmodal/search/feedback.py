"""More like these, less like those: a query moved by photos that its user has judged (Rocchio, in the joint space)."""

from collections.abc import Sequence

import numpy as np

# As the Introduction to Information Retrieval (Manning, Raghavan and Schütze, section 9.1.1) has them beside a query's 1.0.
MORE, LESS = 0.75, 0.15


def feedback(more: Sequence[np.ndarray], less: Sequence[np.ndarray]) -> list[tuple[np.ndarray, float]]:
    """Return what unit vectors [D] of photos, wanted more of and less of, add to a query: their means, with weights."""
    judged = ((more, MORE), (less, -LESS))
    return [
        (np.asarray(np.mean(vectors, axis=0, dtype=np.float32)), weight) for vectors, weight in judged if len(vectors)
    ]
