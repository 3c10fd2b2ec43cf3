"""Query-bank normalisation: what is close to everything is ranked lower (Bogolin et al., CVPR 2022).

In spaces of many dimensions some items are near to most queries; such a hub is found for queries that it does not
answer. How close an item is to a bank of training queries is one number, its bias, which is taken from its similarity
to any query. Photos are measured by a bank of captions, captions by a bank of photos. As one more dimension (item and
-bias, query and 1) every index ranks by it. The similarities that are shown stay plain cosines.
"""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crossmodal.errors import CheckpointError, CrossmodalError

QUERIES = 4000  # of the training split, of which a bank is made
CENTRES = 256  # that stand for them
ROWS_AT_ONCE = 4096
LEAST_BETA, MOST_BIAS = 0.01, 10.0  # of what a file says; temperatures of models are between 0.01 and 100


@dataclass(frozen=True)
class Bank:
    """Training queries by which hubs are known; it travels with a checkpoint."""

    vectors: np.ndarray  # fp32 [M, D], centres of unit vectors
    weights: np.ndarray  # fp32 [M], the share of the queries that each stands for
    beta: float  # the inverse temperature of the mean
    share: float = 1.0  # of the bias that is taken from a similarity
    usual: float = 0.0  # the bias of a usual item, so that corrected similarities stay near to plain ones

    @staticmethod
    def of(queries: np.ndarray, items: np.ndarray, beta: float) -> "Bank":
        """Make a bank of unit vectors of queries [M, D]; `items` [N, D] say what is usual."""
        chosen = queries[_evenly(len(queries))].astype(np.float32)
        vectors, counts = chosen, np.ones(len(chosen), dtype=np.int64)
        if len(chosen) > CENTRES:
            from sklearn.cluster import KMeans  # takes a second to import

            found = KMeans(CENTRES, n_init=1, max_iter=50, random_state=0).fit(chosen)
            vectors, counts = found.cluster_centers_, np.bincount(found.labels_, minlength=CENTRES)
        kept = counts > 0
        vectors = vectors[kept].astype(np.float16).astype(np.float32)  # as it is stored
        bank = Bank(vectors, (counts[kept] / counts.sum()).astype(np.float32), beta)
        usual = float(bank.bias(items[_evenly(len(items))]).mean())
        return Bank(bank.vectors, bank.weights, beta, 1.0, usual)

    def plain(self) -> dict[str, Any]:
        """Return plain values: the vectors in fp16 as base64."""
        vectors = base64.b64encode(self.vectors.astype(np.float16).tobytes()).decode()
        return {**asdict(self), "vectors": vectors, "weights": self.weights.tolist()}

    @staticmethod
    def from_plain(values: Any) -> "Bank":
        """Rebuild from plain values; raises CrossmodalError for anything else."""
        try:
            weights = np.array(values["weights"], np.float32)
            vectors = np.frombuffer(base64.b64decode(values["vectors"]), np.float16).reshape(len(weights), -1)
            numbers = [float(values[name]) for name in ("beta", "share", "usual")]
            sound = vectors.size and weights.ndim == 1 and weights.min() > 0 and weights.max() <= 1
            sound = sound and LEAST_BETA <= numbers[0] <= 1 / LEAST_BETA and max(map(abs, numbers[1:])) <= MOST_BIAS
            if not sound or not all(np.isfinite(part).all() for part in (weights, vectors, numbers)):
                raise ValueError("its numbers are impossible")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CrossmodalError(f"This is not a valid query bank ({type(error).__name__}: {error}).") from error
        return Bank(vectors.astype(np.float32), weights, *numbers)

    def with_share(self, share: float) -> "Bank":
        """Return the bank with another share of the bias."""
        return Bank(self.vectors, self.weights, self.beta, share, self.usual)

    def bias(self, items: np.ndarray) -> np.ndarray:
        """Return what is taken from the similarities of items [N, D], fp32 [N].

        It is the share of (1/beta) log of the mean of exp(beta * similarity) to the bank, less what is usual.
        """
        parts = [np.empty(0, np.float32)]
        for start in range(0, len(items), ROWS_AT_ONCE):
            scores = self.beta * (items[start : start + ROWS_AT_ONCE].astype(np.float32) @ self.vectors.T)
            highest = scores.max(1, keepdims=True)
            mean = np.exp(scores - highest) @ self.weights
            parts.append((highest[:, 0] + np.log(mean)) / self.beta - self.usual)
        return (self.share * np.concatenate(parts)).astype(np.float32)


@dataclass(frozen=True)
class Banks:
    """The bank of captions, which measures photos, and the bank of photos, which measures captions."""

    captions: Bank
    photos: Bank

    def biases(self, images: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the biases of images [N, D] and of texts [M, D], fp32 [N] and [M]."""
        return self.captions.bias(images), self.photos.bias(texts)

    def plain(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        return {"captions": self.captions.plain(), "photos": self.photos.plain()}

    @staticmethod
    def of(content: Mapping[str, Any]) -> "Banks | None":
        """Return the banks of a checkpoint's content, None where it has none; raises CheckpointError for broken ones."""
        kept = content.get("banks")
        try:
            return None if kept is None else Banks(Bank.from_plain(kept["captions"]), Bank.from_plain(kept["photos"]))
        except (KeyError, TypeError, CrossmodalError) as error:
            raise CheckpointError(f"The banks of this checkpoint are broken ({error}); train it again.") from error


def with_bias(vectors: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return vectors [N, D] with their bias as one more dimension, [N, D + 1] of the same type: see `as_query`."""
    return np.concatenate([vectors, -bias[:, None].astype(vectors.dtype)], axis=1)


def as_query(vector: np.ndarray, corrected: bool) -> np.ndarray:
    """Return a unit vector [D] as what asks vectors with a bias, [D + 1]: for corrected similarities, or plain ones."""
    return np.append(vector, np.float32(corrected)).astype(np.float32)


def _evenly(count: int) -> np.ndarray:
    """Return rows of at most QUERIES of `count` items, evenly spaced."""
    return np.linspace(0, count - 1, min(count, QUERIES)).round().astype(int)
