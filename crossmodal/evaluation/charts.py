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
    return chart.interactive()


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
