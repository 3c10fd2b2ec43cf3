"""Interactive charts of what was learned, for the report and the page."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd
from torch import Tensor

DIRECTIONS = {"t2i": "text → photo", "i2t": "photo → text"}
BLUE, ORANGE, GREY = "#2e7dd2", "#e07b39", "#888888"
BY_DIRECTION = alt.Scale(domain=list(DIRECTIONS.values()), range=[BLUE, ORANGE])
PER_CENT = alt.Axis(labelExpr="datum.label + ' %'")
DASHES = alt.Legend(symbolType="stroke", symbolStrokeColor=GREY, symbolFillColor="transparent", symbolSize=400)


def recall_curves(records: Sequence[Mapping[str, Any]], chosen_epoch: int | None) -> alt.LayerChart:
    """Chart recall@1, 5 and 10 in both directions over epochs, from the lines of results.jsonl.

    Colour is the direction, the dash is K, and a rule marks the chosen epoch.
    """
    rows = [
        {"epoch": record["epoch"], "direction": name, "K": f"R@{k}", "recall": record[f"{direction}_r{k}"]}
        for record in records
        for direction, name in DIRECTIONS.items()
        for k in (1, 5, 10)
        if f"{direction}_r{k}" in record
    ]
    dashes = alt.Scale(domain=["R@1", "R@5", "R@10"], range=[[1, 0], [6, 3], [2, 2]])
    lines = alt.Chart(pd.DataFrame(rows)).encode(
        x=_epochs(),
        y=alt.Y("recall:Q", axis=PER_CENT, title="recall", scale=alt.Scale(zero=False)),
        color=alt.Color("direction:N", scale=BY_DIRECTION, title="direction"),
        strokeDash=alt.StrokeDash("K:N", scale=dashes, sort=dashes["domain"], title="recall", legend=DASHES),
        tooltip=["epoch", "direction", "K", alt.Tooltip("recall:Q", format=".1f")],
    )
    return _with_chosen_epoch(lines, chosen_epoch, "recall")


def loss_curve(records: Sequence[Mapping[str, Any]], chosen_epoch: int | None) -> alt.LayerChart:
    """Chart the training loss over epochs; a rule marks the chosen one. The head start has no loss and is left out."""
    rows = [{"epoch": record["epoch"], "loss": record["loss"]} for record in records if record.get("loss") is not None]
    line = alt.Chart(pd.DataFrame(rows, columns=["epoch", "loss"])).encode(
        x=_epochs(),
        y=alt.Y("loss:Q", title="training loss", scale=alt.Scale(zero=False)),
        tooltip=["epoch", alt.Tooltip("loss:Q", format=".3f")],
    )
    return _with_chosen_epoch(line, chosen_epoch, "loss")


def _epochs() -> alt.X:
    return alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(nice=False, padding=8))


def _with_chosen_epoch(curves: alt.Chart, chosen_epoch: int | None, name: str) -> alt.LayerChart:
    """Draw curves as lines with points; mark the chosen epoch with a rule and its number."""
    lines = curves.mark_line(strokeWidth=2).interactive(name=f"zoom_{name}")
    layers: list[alt.Chart] = [lines, curves.mark_point(filled=True, size=30, opacity=1)]
    if chosen_epoch is not None:
        chosen = alt.Chart(pd.DataFrame({"epoch": [chosen_epoch], "label": [f"epoch {chosen_epoch}, chosen"]}))
        label = chosen.mark_text(color=GREY, baseline="bottom", dy=-3)  # above the curves, where none runs
        layers.append(chosen.mark_rule(color=GREY, strokeWidth=1.5).encode(x="epoch:Q"))
        layers.append(label.encode(x="epoch:Q", y=alt.value(0), text="label"))
    return alt.layer(*layers)


def similarity_chart(matrix: Tensor, names: Sequence[str], captions: Sequence[str]) -> alt.Chart:
    """Chart the similarities [images, captions] of pairs; hovering names both."""
    cells = [
        {"photo": row, "caption": column, "similarity": round(value, 3), "name": name, "text": caption}
        for row, (name, line) in enumerate(zip(names, matrix.tolist(), strict=True))
        for column, (caption, value) in enumerate(zip(captions, line, strict=True))
    ]
    chart = (
        alt.Chart(pd.DataFrame(cells))
        .mark_rect()
        .encode(
            x=alt.X("caption:O", axis=alt.Axis(labels=False, ticks=False)),
            y=alt.Y("photo:O", axis=alt.Axis(labels=False, ticks=False)),
            color=alt.Color("similarity:Q", scale=alt.Scale(scheme="viridis")),
            tooltip=["similarity", "name", "text"],
        )
    )
    return chart.properties(height=520)


def recall_over_k(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> alt.Chart:
    """Chart recall@1, 2, 3 ... of each system, by direction: curves[system][direction]."""
    rows = [
        {"system": system, "direction": direction, "K": k, "recall": value}
        for system, directions in curves.items()
        for direction, values in directions.items()
        for k, value in enumerate(values, start=1)
    ]
    chart = alt.Chart(pd.DataFrame(rows)).mark_line()
    return chart.encode(
        x=alt.X("K:Q", scale=alt.Scale(type="log")),
        y=alt.Y("recall:Q", title="recall@K", axis=PER_CENT),
        color=alt.Color("system:N", legend=alt.Legend(orient="bottom", columns=1, labelLimit=600)),
        strokeDash="direction:N",
        tooltip=["system", "direction", "K", alt.Tooltip("recall:Q", format=".1f")],
    ).properties(width=620, height=320)


def map_chart(places: pd.DataFrame, name: str, selection: str | None = None) -> alt.LayerChart:
    """Chart images and captions in one plane, each pair joined; hovering shows the photo and its caption.

    `places` are rows of `maps.map_coordinates` of one map, with a column `image`: a URL or data URL, which
    Vega's tooltips show as a picture. With `selection`, a click selects a pair, and Streamlit's
    `st.altair_chart(on_select=...)` returns the pair's `row` under that name.
    """
    no_labels = alt.Axis(labels=False, ticks=False, title=None, grid=False)
    x, y = alt.X("x:Q", axis=no_labels), alt.Y("y:Q", axis=no_labels)
    base = alt.Chart(places)
    pairs = base.mark_line(opacity=0.25, strokeWidth=0.7, color=GREY).encode(x=x, y=y, detail="pair:N")
    kinds = ["photo", "caption"]
    points = base.mark_point(filled=True, size=45, opacity=0.85).encode(
        x=x,
        y=y,
        color=alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=[BLUE, ORANGE])),
        shape=alt.Shape("kind:N", title=None, scale=alt.Scale(domain=kinds, range=["square", "circle"])),
        tooltip=["image:N", "caption:N", "kind:N"],
    )
    if selection:
        clicked = alt.selection_point(name=selection, fields=["row"])
        size = alt.condition(clicked, alt.value(140), alt.value(45), empty=False)
        points = points.add_params(clicked).encode(size=size)
    return (pairs + points.interactive(name=f"zoom_{name.replace('-', '_')}")).properties(
        width=460, height=420, title=name
    )
