"""When to say that nothing looks like a query: scores calibrated on validation pairs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.search.query import Calibration, combined

FILE = "cutoff.json"
WRONGLY_NOTHING = 5.0  # per cent of queries about photos that are there, which may be told that nothing is
LEFT_OUT = 10.0  # per cent of true pairs that may be left out of what is shown
GALLERIES = (25, 50, 100, 250, 500, 1000, 2500, 5000)  # of more photos the best one scores higher by chance
DRAWN = 2000  # photos, at the least, that galleries of each size are drawn of
ROWS_AT_ONCE = 512
KINDS: tuple[Calibration, ...] = ("sentence", "sum", "difference")


@dataclass(frozen=True)
class Thresholds:
    """Cosine similarities for one kind of query.

    `nothing_below` has sizes of galleries with the score below which the best of so many photos means that
    nothing there looks like the query; photos below `left_out_below` are left out where something does.
    """

    nothing_below: tuple[tuple[int, float], ...]
    left_out_below: float

    def nothing(self, photos: int) -> float:
        """Return what the best of so many photos has to score; beyond the sizes measured, that of the nearest."""
        sizes, values = zip(*self.nothing_below, strict=True)
        return float(np.interp(np.log(max(photos, 1)), np.log(sizes), values))


@dataclass(frozen=True)
class Cutoff:
    """The thresholds of each kind of query that could be calibrated, and what they were calibrated on."""

    kinds: Mapping[Calibration, Thresholds]
    calibrated_on: str

    def worth_showing(self, scores: Sequence[float], photos: int, kind: Calibration | None) -> int:
        """Return how many of the scores of the best photos, best first, are of photos that look like the query.

        All of them where this kind of query has no thresholds; `photos` is how many were searched.
        """
        limits = self.kinds.get(kind) if kind else None
        if limits is None:
            return len(scores)
        if not scores or scores[0] < limits.nothing(photos):
            return 0
        return sum(score >= limits.left_out_below for score in scores)

    def plain(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @staticmethod
    def from_plain(values: Mapping[str, Any] | None) -> "Cutoff | None":
        """Rebuild from plain values; raises ValueError for anything else."""
        if not values:
            return None
        try:
            kinds = {
                kind: Thresholds(
                    tuple((int(size), float(value)) for size, value in limits["nothing_below"]),
                    float(limits["left_out_below"]),
                )
                for kind, limits in values["kinds"].items()
                if kind in KINDS
            }
            if not all(limits.nothing_below for limits in kinds.values()):
                raise ValueError("no threshold")
            return Cutoff(kinds, str(values["calibrated_on"]))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    @staticmethod
    def read(folder: Path) -> "Cutoff | None":
        """Return what lies beside a run's checkpoints, or None; raises CrossmodalError where it is broken."""
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        try:
            return Cutoff.from_plain(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise CrossmodalError(f"{path} is broken ({error}); delete it, or calibrate it again.") from error


@dataclass(frozen=True)
class Pairs:
    """Queries about images: unit vectors of images [N, D] and of queries [M, D], and the image of each query [M]."""

    images: np.ndarray
    queries: np.ndarray
    image_of_query: np.ndarray

    def of_images(self, rows: np.ndarray) -> "Pairs":
        """Return the pairs of some images, counted anew."""
        new_row = np.full(len(self.images), -1)
        new_row[rows] = np.arange(len(rows))
        kept = new_row[self.image_of_query] >= 0
        return Pairs(self.images[rows], self.queries[kept], new_row[self.image_of_query[kept]])

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Return for each query the score of the image that scores best [M], and that of its own image [M]."""
        images, queries = self.images.astype(np.float32), self.queries.astype(np.float32)
        best, own = [], []
        for start in range(0, len(queries), ROWS_AT_ONCE):
            scores = queries[start : start + ROWS_AT_ONCE] @ images.T
            best.append(scores.max(1))
            own.append(scores[np.arange(len(scores)), self.image_of_query[start : start + ROWS_AT_ONCE]])
        return np.concatenate(best), np.concatenate(own)

    def of_kind(self, kind: Calibration) -> "Pairs":
        """Return queries of another kind, made of these sentences.

        A sum is two sentences about one image; a difference is a sentence about an image less one about another.
        """
        if kind == "sentence":
            return self
        rng = np.random.default_rng(0)
        order = np.argsort(self.image_of_query, kind="stable")
        owner = self.image_of_query[order]
        if kind == "sum":
            first = np.flatnonzero(owner[:-1] == owner[1:])
            pairs, sign = [(order[at], order[at + 1]) for at in first], 1.0
        else:
            others = rng.permutation(len(owner))
            pairs = [
                (one, other)
                for one, other in enumerate(others)
                if self.image_of_query[one] != self.image_of_query[other]
            ]
            sign = -1.0
        vectors = [combined([(self.queries[one], 1.0), (self.queries[other], sign)]) for one, other in pairs]
        return Pairs(self.images, np.array(vectors), self.image_of_query[[one for one, _ in pairs]])


def calibrate(pairs: Pairs, of: str) -> Cutoff:
    """Return the thresholds by validation pairs of images and sentences; `of` says in words what they are."""
    kinds: dict[Calibration, Thresholds] = {}
    for kind in KINDS:
        queries = pairs.of_kind(kind)
        if len(queries.queries):
            kinds[kind] = _thresholds(queries)
    return Cutoff(kinds, of)


def _thresholds(pairs: Pairs) -> Thresholds:
    rng, count = np.random.default_rng(0), len(pairs.images)
    nothing = []
    for size in (*(size for size in GALLERIES if size < count), count):
        draws = -(-DRAWN // size) if size < count else 1
        best = np.concatenate([pairs.of_images(rng.permutation(count)[:size]).scores()[0] for _ in range(draws)])
        if len(best):
            nothing.append((size, round(float(np.percentile(best, WRONGLY_NOTHING)), 4)))
    return Thresholds(tuple(nothing), round(float(np.percentile(pairs.scores()[1], LEFT_OUT)), 4))


def cutoff_of(checkpoint: Path, fingerprint: str) -> Cutoff | None:
    """Return the cut-off that lies beside a checkpoint, else the one that its run's validation pairs give, else None."""
    # Here, since torch takes seconds to import, and a search in an index does without.
    from crossmodal.encoding.embeddings import load_embeddings
    from crossmodal.runs.opening import epoch_of, rebuild_command

    found = Cutoff.read(checkpoint.parent)
    if found:
        return found
    try:
        run = load_embeddings(checkpoint.parent, epoch_of(checkpoint), fingerprint, rebuild_command(checkpoint))
    except CheckpointError:  # a checkpoint without its embeddings can be searched with all the same
        return None
    val = run.only("val")
    if not len(val.images):
        return None
    pairs = Pairs(val.images.numpy(), val.texts.numpy(), val.caption_to_image.numpy())
    return calibrate(pairs, f"{len(val.images)} validation photos of its run")
