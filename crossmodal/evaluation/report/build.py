"""Writes a report: evaluates the models, chooses what to show, and writes an HTML file and PNG files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import torch

from crossmodal.encoding.embeddings import Embeddings, model_path
from crossmodal.evaluation import charts
from crossmodal.evaluation.compare import Comparison, against_the_best, compare
from crossmodal.evaluation.evaluate import ImageChoice, Say
from crossmodal.evaluation.maps import FEWEST_IMAGES, map_coordinates, sampled_rows
from crossmodal.evaluation.metrics import Ranks
from crossmodal.evaluation.report import findings, html
from crossmodal.evaluation.report.photo_strips import Strip, Thumbnails, Tile
from crossmodal.evaluation.result import NOTE
from crossmodal.files import whole_file, write_text
from crossmodal.progress import Bars, silent
from crossmodal.runs.folder import epochs_in, results_of
from crossmodal.runs.opening import checkpoint_of
from crossmodal.towers.published_names import is_published

QUERIES, FAILURES, CONFUSED, SIMILAR = 8, 10, 10, 30
TOOLTIP_SIDE = 112


@dataclass(frozen=True)
class Shown:
    """The system whose photos and maps a report shows: its embeddings, its ranks, the paths of its photos."""

    embeddings: Embeddings
    ranks: Ranks
    paths: Sequence[Path]

    def photo(self, row: int, label: str = "", right: bool = False) -> Tile:
        """Return an image as a tile."""
        return Tile(self.paths[row], label, right)


def write_report(
    models: Sequence[Path], output: Path, png: bool, choice: ImageChoice, bars: Bars = silent, say: Say = print
) -> list[Path]:
    """Write a report on the chosen images as one HTML file; return the files written.

    All models are in its tables and curves; photos and maps are of the first. With `png` the charts and grids
    are also written beside it as PNG files, named after it.
    """
    compared = compare(models, choice, bars, say)
    ranks = compared.systems[0].ranks
    assert ranks is not None  # every measured system has them
    shown = Shown(compared.embeddings[0], ranks, [image.path for image in compared.images.images])
    thumbnails = Thumbnails()
    first = compared.systems[0].name
    page = html.Page("What the model learned", [first, compared.of])
    drawn: dict[str, alt.TopLevelMixin] = {}
    sheets: dict[str, list[Strip]] = {}

    page.add("Figures", NOTE, html.figures([*compared.baselines, *compared.systems]), _differences(compared))
    for name, (title, says, chart) in _charts(compared, shown, thumbnails).items():
        drawn[name] = chart
        page.add(title, says, page.chart(_spec(chart)))
    if len(shown.paths) < FEWEST_IMAGES:
        page.add("Maps", f"There is no map of fewer than {FEWEST_IMAGES} images.")
    for name, (title, says, strips) in _grids(shown).items():
        sheets[name] = strips
        page.add(title, says, html.strips(strips, thumbnails))
    write_text(output, page.text())
    return [output, *(_pngs(output, drawn, sheets, thumbnails) if png else [])]


def _differences(compared: Comparison) -> str:
    return "".join(f'<p class="faint">{line}</p>' for line in map(html.html.escape, against_the_best(compared.systems)))


Charts = dict[str, tuple[str, str, alt.TopLevelMixin]]


def _charts(compared: Comparison, shown: Shown, thumbnails: Thumbnails) -> Charts:
    found: Charts = {}
    records, chosen = _epochs(compared.paths[0])
    if len(records) > 1:
        recalls = charts.recall_curves(records, chosen).properties(width=430, height=280)
        loss = charts.loss_curve(records, chosen).properties(width=330, height=280)
        both = (recalls | loss).resolve_scale(color="independent", strokeDash="independent")
        found["training"] = ("Training", "Recall on the validation images, and the loss, after each epoch.", both)
    curves = {
        result.name: {
            "text to image": findings.recall_over_k(result.ranks.texts),
            "image to text": findings.recall_over_k(result.ranks.images),
        }
        for result in compared.systems
        if result.ranks
    }
    found["recall"] = (
        "Recall over K", "How often the right one is among the first K results.", charts.recall_over_k(curves)
    )  # fmt: skip
    found["similarity"] = (
        "Similarity of photos and captions", "A light diagonal: each photo is closest to its own caption.",
        charts.similarity_chart(*_similarities(shown.embeddings)).properties(width=560),
    )  # fmt: skip
    places = map_coordinates(shown.embeddings)
    if places is not None:
        places["image"] = [thumbnails.url(shown.paths[row], TOOLTIP_SIDE) for row in places["row"]]
        both = alt.hconcat(*(charts.map_chart(part, str(name)) for name, part in places.groupby("map", sort=False)))
        says = "Images and captions in one plane, a line from each photo to its caption. Hover to see both; scroll to zoom."
        found["maps"] = ("Maps of both towers", says, both)
    return found


def _epochs(path: Path) -> tuple[list[dict[str, Any]], int | None]:
    """Return the records of a run's epochs, and the epoch of the checkpoint where its name tells it."""
    if is_published(path):
        return [], None
    checkpoint = checkpoint_of(path)
    named = (epoch for epoch in epochs_in(checkpoint.parent) if model_path(checkpoint.parent, epoch) == checkpoint)
    return results_of(checkpoint.parent), next(named, None)


def _similarities(embeddings: Embeddings) -> tuple[torch.Tensor, list[str], list[str]]:
    rows = sampled_rows(len(embeddings.images), SIMILAR)
    owner = embeddings.caption_to_image.tolist()
    columns = [owner.index(row) for row in rows]
    matrix = embeddings.images[rows].float() @ embeddings.texts[columns].float().T
    return matrix, [embeddings.image_names[row] for row in rows], [embeddings.captions[column] for column in columns]


def _grids(shown: Shown) -> dict[str, tuple[str, str, list[Strip]]]:
    embeddings, ranks = shown.embeddings, shown.ranks
    texts, images = len(embeddings.texts), len(embeddings.images)
    by_text = findings.text_queries(embeddings, ranks, sampled_rows(texts, QUERIES))
    by_image = findings.image_queries(embeddings, ranks, sampled_rows(images, QUERIES))
    bad_texts = findings.text_queries(embeddings, ranks, findings.worst(ranks.texts, FAILURES))
    bad_images = findings.image_queries(embeddings, ranks, findings.worst(ranks.images, FAILURES))
    drawn = "Drawn at random, not chosen."
    return {
        "text-to-image": ("Text to image", f"{drawn} The right photo is framed.", _by_text(shown, by_text)),
        "image-to-text": ("Image to text", f"{drawn} The photo's own captions are framed.", _by_image(shown, by_image)),
        "failures-text-to-image": (
            "Worst failures, text to image", "The captions whose photo ranks worst; that photo is framed, at the end.",
            _by_text(shown, bad_texts, right_last=True),
        ),
        "failures-image-to-text": (
            "Worst failures, image to text", "The photos whose best own caption ranks worst.", _by_image(shown, bad_images),
        ),
        "confused": (
            "Most confused pairs", "Captions of the framed photo find the other one first.", _confused(shown),
        ),
    }  # fmt: skip


def _by_text(shown: Shown, queries: Sequence[findings.Matches], right_last: bool = False) -> list[Strip]:
    strips = []
    for query in queries:
        tiles = [
            shown.photo(row, f"{score:.2f}", right)
            for row, score, right in zip(query.found, query.scores, query.right, strict=True)
        ]
        if right_last and not any(query.right):
            own = int(shown.embeddings.caption_to_image[query.query])
            tiles = [*tiles[:-1], shown.photo(own, f"rank {query.rank:,}", right=True)]
        strips.append(Strip(f"{shown.embeddings.captions[query.query]} (rank {query.rank:,})", tiles))
    return strips


def _by_image(shown: Shown, queries: Sequence[findings.Matches]) -> list[Strip]:
    return [
        Strip(
            f"{shown.embeddings.image_names[query.query]} (best own caption at rank {query.rank:,})",
            [
                shown.photo(query.query),
                *(
                    Tile(None, f"{score:.2f} {shown.embeddings.captions[row]}", right)
                    for row, score, right in zip(query.found, query.scores, query.right, strict=True)
                ),
            ],
        )
        for query in queries
    ]


def _confused(shown: Shown) -> list[Strip]:
    return [
        Strip(
            f"{pair.times} of {pair.captions} captions, such as: {shown.embeddings.captions[pair.example]}",
            [
                shown.photo(pair.image, shown.embeddings.image_names[pair.image], right=True),
                shown.photo(pair.taken_for, shown.embeddings.image_names[pair.taken_for]),
            ],
        )
        for pair in findings.most_confused(shown.embeddings, CONFUSED)
    ]


def _spec(chart: alt.TopLevelMixin) -> Mapping[str, Any]:
    with alt.data_transformers.enable("default", max_rows=None):
        return chart.to_dict()


def _pngs(
    output: Path, drawn: Mapping[str, alt.TopLevelMixin], sheets: Mapping[str, list[Strip]], thumbnails: Thumbnails
) -> list[Path]:
    paths = []
    for name, chart in drawn.items():
        paths.append(output.with_name(f"{output.stem}-{name}.png"))
        with whole_file(paths[-1]) as temporary, alt.data_transformers.enable("default", max_rows=None):
            chart.save(str(temporary), format="png", scale_factor=2)
    for name, strips in sheets.items():
        paths.append(output.with_name(f"{output.stem}-{name}.png"))
        with whole_file(paths[-1]) as temporary:
            thumbnails.sheet(strips).save(temporary, "PNG")
    return paths
