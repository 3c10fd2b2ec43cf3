"""Several checkpoints on the same images, beside the baselines, in one table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from crossmodal.data.captions import read_captions
from crossmodal.data.dataset import Dataset
from crossmodal.errors import CrossmodalError
from crossmodal.evaluation.baselines import bag_of_words, random_ranking
from crossmodal.evaluation.encode import encode_dataset
from crossmodal.evaluation.evaluate import Asked, Say, choose_images
from crossmodal.evaluation.metrics import alignment, ranks_of, retrieval_metrics, uniformity
from crossmodal.evaluation.resampling import Ranks, intervals, paired_p, resample
from crossmodal.progress import Bars, silent
from crossmodal.search.runs import open_encoder
from crossmodal.training.devices import worker_count

SHOWN = ("t2i_r1", "t2i_r5", "t2i_r10", "i2t_r1", "i2t_r5", "i2t_r10", "rsum")


@dataclass(frozen=True)
class Row:
    """One system of the table: its figures, their intervals, and the draws behind them."""

    name: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    resampled: Mapping[str, Tensor] = field(default_factory=dict)


def compare(checkpoints: Sequence[Path], asked: Asked, bars: Bars = silent, say: Say = print) -> tuple[list[Row], str]:
    """Return a row for random ranking, bags of words and each checkpoint, and what they are of.

    Raises CrossmodalError when the checkpoints would rank different images, since a drawn split
    depends on the seed: an image that one was validated on, another may have been trained on.
    """
    rows: list[Row] = []
    chosen, of = Dataset(()), ""
    for path in checkpoints:
        model, content, name = open_encoder(path, asked.weights)
        images, of = choose_images(content, asked, bars, say)
        if not rows:
            chosen = images
            rows = baselines(chosen, _others(Path(asked.captions or content["data"]["captions"]), chosen))
        elif [image.name for image in images.images] != [image.name for image in chosen.images]:
            raise CrossmodalError(
                f"{path} drew another split than {checkpoints[0]}, so it may have been trained on these images; "
                "name images that neither has seen with --split-file."
            )
        embeddings = encode_dataset(model, chosen, {}, worker_count(), bars)
        owner = embeddings.caption_to_image
        ranks = Ranks(*ranks_of(embeddings.images, embeddings.texts, owner.tolist()), owner)
        metrics = retrieval_metrics(embeddings.images, embeddings.texts, owner.tolist()) | {
            "alignment": alignment(embeddings.images, embeddings.texts, owner),
            "image_uniformity": uniformity(embeddings.images),
            "text_uniformity": uniformity(embeddings.texts),
        }
        resampled = resample(ranks)
        rows.append(Row(name, metrics, intervals(resampled), resampled))
    return rows, of


def baselines(chosen: Dataset, fitted_on: Sequence[str]) -> list[Row]:
    """Return the rows of random ranking and of bags of words."""
    rows = [Row("random ranking (closed form)", random_ranking([len(image.captions) for image in chosen.images]))]
    if any(len(image.captions) > 1 for image in chosen.images):
        rows.append(Row("bags of words (TF-IDF)", retrieval_metrics(*bag_of_words(chosen, fitted_on))))
    return rows


def _others(captions: Path, chosen: Dataset) -> list[str]:
    """Return the captions of a file's other images, or those of the chosen ones where there is no other."""
    asked_about = {image.name for image in chosen.images}
    others = [row.caption for row in read_captions(captions).rows if row.image not in asked_about]
    return others or chosen.captions


def table(rows: Sequence[Row], of: str) -> str:
    """Return the rows as text: each figure with half of its 95 % interval, and how each differs from the best."""
    width = max(len(row.name) for row in rows)
    lines = [
        of,
        f"{'':{width}}"
        + "".join(f"{title:>14}" for title in ("t2i R@1", "R@5", "R@10", "i2t R@1", "R@5", "R@10", "rsum")),
    ]
    for row in rows:
        cells = (_cell(row, key) for key in SHOWN)
        lines.append(f"{row.name:{width}}" + "".join(f"{cell:>14}" for cell in cells))
    rated = [row for row in rows if row.resampled]
    best = max(rated, key=lambda row: row.metrics["rsum"], default=None)
    for row in rated:
        if best and row is not best:
            p = paired_p(best.resampled["rsum"], row.resampled["rsum"])
            lines.append(
                f"{best.name} against {row.name}: rsum {best.metrics['rsum'] - row.metrics['rsum']:+.1f}, p {'<=' if p <= 0.001 else '='} {p:.3f}"
            )
    lines.append(
        "± is half of the 95 % bootstrap interval over images; p is the paired bootstrap's, over the same draws."
    )
    return "\n".join(lines)


def _cell(row: Row, key: str) -> str:
    if key not in row.intervals:
        return f"{row.metrics[key]:.1f}"
    low, high = row.intervals[key]
    return f"{row.metrics[key]:.1f} ±{(high - low) / 2:.1f}"


def as_json(rows: Sequence[Row], of: str) -> str:
    """Return the rows with all their figures as JSON."""
    plain = [
        {
            "name": row.name,
            "metrics": dict(row.metrics),
            "intervals": {key: list(edges) for key, edges in row.intervals.items()},
        }
        for row in rows
    ]
    return json.dumps({"of": of, "systems": plain}, indent=2) + "\n"
