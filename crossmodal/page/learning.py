"""Learn from me: captions under one's own photos, a model that is trained further on them, and what it learned."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from crossmodal.errors import CrossmodalError
from crossmodal.page.background import index, indexing, watch
from crossmodal.page.large_view import as_text
from crossmodal.page.options import Options
from crossmodal.page.own_captions import captions_table
from crossmodal.page.shared import Work
from crossmodal.page.training import Learned, busy, learned, train, training
from crossmodal.photos.own_captions import NEEDED, Counted, OwnCaptions
from crossmodal.photos.summary import counted
from crossmodal.runs.models import Maker
from crossmodal.search.hit import Hit
from crossmodal.search.search import Search

WHY = (
    f"Write what you see in a sentence, as you would search for it, under {NEEDED} photos or more: about a third of them are "
    "held out, to choose the best epoch by and to measure on. With fewer, the figures would say nothing."
)
PATIENCE = 0.4  # seconds


def learning_section(search: Search, maker: Maker, photos: Path, options: Options, hits: Sequence[Hit]) -> None:
    """Lay out the captions of a folder, the training on them, and what was learned."""
    about = search.gallery.about
    assert about.own_captions
    try:
        file = OwnCaptions(about.own_captions)
        count = file.counted(about.root)
    except CrossmodalError as error:
        st.error(str(error))
        return
    work = training(photos)
    if work and not work.finished:
        watch(work)
    elif work and work.error:
        st.error(as_text(str(work.error)))
    with st.expander(_title(count)):
        st.caption(WHY)
        captions_table(search, file.path, hits)
        if count.gone:
            st.caption(f"{counted(count.gone, 'caption')} of photos that are gone are kept, and not trained on.")
        _train_button(count, work, maker, photos, options)
        _results(file.path, photos, options, about.fingerprint)


def _title(count: Counted) -> str:
    if not count.captions:
        return "Learn from me: write captions of your own"
    return f"Learn from me: {counted(count.captions, 'caption')} of {counted(count.photos, 'photo')}, {NEEDED} photos are needed"


def _train_button(count: Counted, work: Work[Path] | None, maker: Maker, photos: Path, options: Options) -> None:
    place = options.index_of(photos)
    wanting = count.wanting
    if maker.published:
        wanting = f"{maker.checkpoint} is a published model, which is not trained here."
    elif busy() and (work is None or work.finished):
        wanting = "This server trains on the captions of another folder; wait until that is done."
    st.button(
        "Train on these", key="train on these", type="primary", on_click=train, args=(photos, place, options.checkpoints),
        disabled=bool(wanting) or busy(),
        help="The model that made the index is trained further on this machine, in the background.",
    )  # fmt: skip
    if wanting:
        st.caption(as_text(wanting))


def _results(captions: Path, photos: Path, options: Options, fingerprint: str) -> None:
    """Show what each run on these captions learned."""
    if not options.checkpoints.is_dir():
        return
    work = learned(captions, options.checkpoints)
    runs = work.result(PATIENCE)
    if runs is None:
        watch(work)
        return
    for one in runs:
        _result(one, photos, options)


def _result(one: Learned, photos: Path, options: Options) -> None:
    st.markdown(f"**{as_text(one.run.name)}**: {_in_words(one)}")
    rows = {"before": one.before, f"after epoch {one.epoch}": one.after}
    st.table(
        {
            f"{name} R@{k}": {row: f"{figures[f'{way}_r{k}']:.1f}" for row, figures in rows.items()}
            for way, name in (("t2i", "text to photo"), ("i2t", "photo to text"))
            for k in (1, 5, 10)
        }
    )
    st.button(
        "Use this model for the index", key=f"use {one.run.name}", on_click=index,
        args=(photos, options.index_of(photos), one.checkpoint), kwargs={"rebuild": True},
        disabled=bool((work := indexing(photos)) and not work.finished),
        help="All photos are encoded again by it. Words that were taught to the other model have to be taught again.",
    )  # fmt: skip


def _in_words(one: Learned) -> str:
    """Return what a run learned in counts, which say how little a small number of captions can tell."""
    captions = int(one.after["captions"])
    before, after = (round(figures["t2i_r1"] * captions / 100) for figures in (one.before, one.after))
    held_out = f"{counted(captions, 'caption')} of {counted(int(one.after['images']), 'photo')}"
    return f"of {held_out} that it never saw, the right photo came first for {before} before and for {after} after." + (
        "" if one.epoch else " Training made nothing better, so the best is the model as it was."
    )
