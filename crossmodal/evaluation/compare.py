"""Compares several models and the baselines on the same images, in one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossmodal.data.dataset import Dataset, read_dataset
from crossmodal.encoding.collection import encode_dataset
from crossmodal.encoding.devices import worker_count
from crossmodal.encoding.embeddings import Embeddings
from crossmodal.errors import CrossmodalError
from crossmodal.evaluation.baselines import bag_of_words, random_ranking
from crossmodal.evaluation.evaluate import ImageChoice, Say, choose_images, data_paths, measure_embeddings
from crossmodal.evaluation.resampling import paired_p
from crossmodal.evaluation.result import NOTE, Result, measure
from crossmodal.progress import Bars, silent
from crossmodal.runs.folder import runs_in
from crossmodal.runs.opening import open_encoder

BLOCKS = (
    (*((f"{way} R@{k}", f"{way}_r{k}", 1) for way in ("t2i", "i2t") for k in (1, 5, 10)), ("rsum", "rsum", 1)),
    (
        *((f"{way} P@10", f"{way}_p10", 1) for way in ("t2i", "i2t")),
        *((f"{way} median", f"{way}_medr", 1) for way in ("t2i", "i2t")),
        *((f"{way} mean", f"{way}_meanr", 1) for way in ("t2i", "i2t")),
        *((f"{way} MRR", f"{way}_mrr", 3) for way in ("t2i", "i2t")),
    ),
    (("alignment", "alignment", 3), ("unif. images", "image_uniformity", 3), ("unif. texts", "text_uniformity", 3)),
)


@dataclass(frozen=True)
class Comparison:
    """The figures of several systems on the same images; `of` describes the images."""

    of: str
    images: Dataset
    baselines: tuple[Result, ...]
    systems: tuple[Result, ...]
    embeddings: tuple[Embeddings, ...]  # of the systems
    paths: tuple[Path, ...]  # of the systems, as the user named them


def compare(models: Sequence[Path], choice: ImageChoice, bars: Bars = silent, say: Say = print) -> Comparison:
    """Rank the same images with every model: checkpoints, runs, folders of runs (all of them), published models.

    Raises CrossmodalError when the models would rank different images: a drawn split depends on the seed, so
    one model may have been trained on images that another is evaluated on.
    """
    paths = [run for model in models for run in runs_in(model) or [model]]
    chosen, of, data = Dataset(()), "", (Path(), Path())
    systems: list[Result] = []
    found: list[Embeddings] = []
    for path in paths:
        model, content, name = open_encoder(path, choice.weights)
        images, of = choose_images(content, choice, bars, say if not systems else lambda text: None)
        if not systems:
            chosen, data = images, data_paths(choice.captions, choice.images, content["data"])
        elif [image.name for image in images.images] != [image.name for image in chosen.images]:
            raise CrossmodalError(
                f"{path} drew another split than {paths[0]}, so it may have been trained on these images; "
                "name images that neither has seen with --split-file."
            )
        views = model.views(choice.quality)
        embeddings = encode_dataset(model, chosen, {}, worker_count(), bars, views)
        found.append(embeddings)
        systems.append(measure_embeddings(name, embeddings))
    rows = baselines(chosen, _other_captions(*data, chosen))
    return Comparison(of, chosen, tuple(rows), tuple(systems), tuple(found), tuple(paths))


def baselines(chosen: Dataset, fitted_on: Sequence[str]) -> list[Result]:
    """Return the rows of random ranking and of bags of words."""
    rows = [Result("random ranking (closed form)", random_ranking([len(image.captions) for image in chosen.images]))]
    if any(len(image.captions) > 1 for image in chosen.images):
        images, texts, owner = bag_of_words(chosen, fitted_on)
        rows.append(measure("bags of words (TF-IDF; one caption stands for the image)", images, texts, owner))
    return rows


def _other_captions(captions: Path, images: Path, chosen: Dataset) -> list[str]:
    """Return the captions of the other images, or those of the chosen ones where there are no others."""
    names = {image.name for image in chosen.images}
    others = [image for image in read_dataset(captions, images, check=False).dataset.images if image.name not in names]
    return Dataset(tuple(others)).captions or chosen.captions


def table(compared: Comparison) -> str:
    """Return all rows as text, and the difference of each system from the best."""
    rows = (*compared.baselines, *compared.systems)
    width = max(len(row.name) for row in rows)
    lines = [f"{compared.of}; t2i: text to image, i2t: image to text"]
    for block in BLOCKS:
        lines.append(f"{'':{width}}" + "".join(f"{title:>15}" for title, _, _ in block))
        for row in rows:
            cells = (row.cell(key, digits) if key in row.metrics else "" for _, key, digits in block)
            lines.append(f"{row.name:{width}}" + "".join(f"{cell:>15}" for cell in cells))
    return "\n".join(
        [*lines, *against_the_best(compared.systems), f"{NOTE} p is the paired bootstrap's, over the same draws."]
    )


def against_the_best(systems: Sequence[Result]) -> list[str]:
    """Return a line for each system but the best by rsum, with the difference in rsum and its p-value."""
    best = max(systems, key=lambda row: row.metrics["rsum"])
    lines = []
    for row in systems:
        if row is not best:
            p = paired_p(best.resampled["rsum"], row.resampled["rsum"])
            sign, behind = "<=" if p <= 0.001 else "=", best.metrics["rsum"] - row.metrics["rsum"]
            lines.append(f"{best.name} against {row.name}: rsum {behind:+.1f}, p {sign} {p:.3f}")
    return lines
