"""Interactive charts of what was learned."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd
from torch import Tensor

RECALLS = {
    f"{way}_r{k}": f"{name} R@{k}"
    for way, name in (("t2i", "text → photo"), ("i2t", "photo → text"))
    for k in (1, 5, 10)
}


def recall_curves(records: Sequence[Mapping[str, Any]]) -> alt.Chart:
    """Chart the six recalls over epochs, from the lines of results.jsonl."""
    frame = pd.DataFrame(records).rename(columns=RECALLS)
    curves = frame.melt("epoch", list(RECALLS.values()), "figure", "per cent")
    return _over_epochs(curves, "per cent").encode(color=alt.Color("figure:N", sort=list(RECALLS.values())))


def loss_curve(records: Sequence[Mapping[str, Any]]) -> alt.Chart:
    """Chart the training loss over epochs; the head start has none."""
    return _over_epochs(pd.DataFrame(records).dropna(subset=["loss"]), "loss")


def _over_epochs(frame: pd.DataFrame, figure: str) -> alt.Chart:
    chart = (
        alt.Chart(frame)
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y(f"{figure}:Q", scale=alt.Scale(zero=False)),
            tooltip=[column for column in ("figure", "epoch", figure) if column in frame],
        )
    )
    return chart.interactive(name=f"zoom_{figure.replace(' ', '_')}")


def heat_map(matrix: Tensor, names: Sequence[str], captions: Sequence[str]) -> alt.Chart:
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
        for system, ways in curves.items()
        for direction, values in ways.items()
        for k, value in enumerate(values, start=1)
    ]
    chart = alt.Chart(pd.DataFrame(rows)).mark_line()
    return chart.encode(
        x=alt.X("K:Q", scale=alt.Scale(type="log")),
        y=alt.Y("recall:Q", title="recall@K, per cent"),
        color=alt.Color("system:N", legend=alt.Legend(orient="bottom", columns=1, labelLimit=600)),
        strokeDash="direction:N",
        tooltip=["system", "direction", "K", alt.Tooltip("recall:Q", format=".1f")],
    ).properties(width=620, height=320)


def map_chart(places: pd.DataFrame, name: str) -> alt.LayerChart:
    """Chart images and captions in one plane, each pair joined; hovering shows the photo and the caption.

    `places` has the columns x, y, kind, pair, caption and image (a data URL).
    """
    plain = alt.Axis(labels=False, ticks=False, title=None, grid=False)
    x, y = alt.X("x:Q", axis=plain), alt.Y("y:Q", axis=plain)
    base = alt.Chart(places)
    pairs = base.mark_line(opacity=0.25, strokeWidth=0.7, color="#888888").encode(x=x, y=y, detail="pair:N")
    points = base.mark_point(filled=True, size=45, opacity=0.85).encode(
        x=x,
        y=y,
        color=alt.Color("kind:N", scale=alt.Scale(domain=["image", "caption"], range=["#2e7dd2", "#e07b39"])),
        shape=alt.Shape("kind:N", scale=alt.Scale(domain=["image", "caption"], range=["square", "circle"])),
        tooltip=["image:N", "caption:N", "kind:N"],
    )
    return (pairs + points.interactive(name=f"zoom_{name.replace('-', '_')}")).properties(
        width=460, height=420, title=name
    )
