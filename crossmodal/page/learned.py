"""What a run learned: curves over epochs, similarities of pairs, and the map of both towers."""

from pathlib import Path
from typing import Any

import streamlit as st

from crossmodal.evaluation.charts import loss_curve, map_chart, recall_curves, similarity_chart
from crossmodal.evaluation.maps import map_coordinates
from crossmodal.page.background import watch
from crossmodal.page.charts import clicked
from crossmodal.page.galleries import Opened
from crossmodal.page.large_view import open_photo
from crossmodal.page.photo_files import url_of
from crossmodal.page.shared import Kept, Work, stamp
from crossmodal.runs.folder import results_of
from crossmodal.search.run_gallery import RunGallery

PAIRS = 30
MAPS = Kept(lambda places: 0 if places is None else int(places.memory_usage(deep=True).sum()), 50_000_000)


def learned(opened: Opened) -> None:
    """Lay the tab out."""
    run = opened.run
    assert run
    st.markdown(f"What **{run.about.title}** learned (`{run.about.checkpoint.parent}`).")
    _curves(run.about.checkpoint.parent, _epoch(run.about.checkpoint))
    _map(run)
    st.markdown(
        "**Similarity of photos and captions**: a light diagonal means that each photo is closest to its own caption."
    )
    matrix, photos = run.similarities(PAIRS)
    st.altair_chart(
        similarity_chart(matrix, [photo.name for photo in photos], [photo.captions[0] for photo in photos]),
        width="stretch",
    )


def _epoch(checkpoint: Path) -> int:
    return int(checkpoint.stem.rpartition("_")[2])


def _curves(run: Path, epoch: int) -> None:
    records = results_of(run)
    if len(records) < 2:
        st.caption("This run has no results.jsonl with several epochs, so there are no curves to show.")
        return
    left, right = st.columns(2)
    left.markdown("**Recall on the validation photos**")
    left.altair_chart(recall_curves(records, epoch), width="stretch")
    right.markdown("**Training loss**")
    right.altair_chart(loss_curve(records, epoch), width="stretch")


def _map(run: RunGallery) -> None:
    st.markdown(
        "**Both towers in one plane**: squares are photos, circles their captions, each joined to its own. Point at one to "
        "see the photo; click it to open the photo."
    )
    checkpoint = run.about.checkpoint
    work: Work[Any] = MAPS.get(
        str(checkpoint), stamp(checkpoint), "Computing the map", lambda work: map_coordinates(run.embeddings, work.bars)
    )
    if not work.finished:
        watch(work)
        return
    places = work.result()
    if places is None:
        st.caption("This run has too few photos for a map.")
        return
    ids = {row: run.id_of(run.photos[row]) for row in set(places["row"])}
    urls = {row: url_of(ids[row], run.about.root / run.photos[row].path, "tiny") for row in ids}
    for column, (name, part) in zip(
        st.columns(2), places.assign(image=places["row"].map(urls)).groupby("map"), strict=True
    ):
        with column:
            if point := clicked(map_chart(part, str(name), "photo"), f"map {name}", "photo"):
                open_photo(ids[int(point["row"])], [])
