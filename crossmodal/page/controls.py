"""The controls of a search: which gallery, which folder, which model, which photos."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import streamlit as st

from crossmodal.page.address import BEST, Asked, bound, change
from crossmodal.page.galleries import Chosen, Opened, labels, own_runs
from crossmodal.page.options import SHIPPED, Options
from crossmodal.runs.folder import best_epoch, epochs_in
from crossmodal.search.filters import FilterKind, filters_on
from crossmodal.search.gallery import Gallery

DIRECTIONS = {"t2i": "Text → photos", "i2t": "Photo → captions"}


def choose_gallery(name: str, run: Path | None, options: Options) -> None:
    """Let the user choose a gallery; what is of one gallery alone does not follow into another."""
    known = labels(options, run)
    st.segmented_control(
        "Gallery", list(known), format_func=lambda one: known[one],
        **bound("gallery", name, lambda one: {"gallery": one or name, "like": "", "filters": {}, "weaker": False}),
    )  # fmt: skip


def choose_folder(asked: Asked, options: Options) -> None:
    """Let the user name a folder."""
    st.text_input(
        "Folder of your photos, on the machine that runs this page", placeholder="/home/me/Photos",
        help="The photos stay where they are, and nothing leaves the machine. The index is written into a hidden folder beside them.",
        **bound(
            "folder", asked.folder or str(options.photos or ""), lambda text: {"folder": text.strip(), "like": "", "filters": {}}
        ),
    )  # fmt: skip


def choose_filters(asked: Asked, gallery: Gallery) -> None:
    """Let the user narrow the search by what the gallery knows of its photos; nothing where it knows nothing."""
    kinds = filters_on(gallery.about.fields)
    if not kinds:
        return
    on = len(asked.as_filters().only(gallery.about.fields)[0].given())
    with (
        st.expander("Filters", expanded=on > 0),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        for kind in kinds:
            _filter(kind, asked, gallery)
        if "date" in gallery.about.fields:
            st.toggle("Newest first", help="The newest of the best photos first.", **bound("by_date", asked.by_date))
        if on:
            st.button("Reset the filters", on_click=change, kwargs={"filters": {}})


def _filter(kind: FilterKind, asked: Asked, gallery: Gallery) -> None:
    text = asked.filters.get(kind.name)
    value: Any = getattr(asked.as_filters(), kind.name)

    def changes(chosen: Any) -> dict[str, Any]:
        others = {name: given for name, given in asked.filters.items() if name != kind.name}
        given = (
            chosen.isoformat() if isinstance(chosen, date) else f"{chosen:g}" if isinstance(chosen, float) else chosen
        )
        return {"filters": others | ({kind.name: given} if given else {})}

    key = f"filter {kind.name}"
    shown: dict[str, Any] = {"help": kind.help.capitalize() + ".", "width": 200}
    if kind.kind == "day":
        st.date_input(kind.label, None, min_value=date(1900, 1, 1), **shown, **bound(key, value, changes))
    elif kind.kind == "number":
        st.number_input(kind.label, min_value=0.0, value=None, step=1.0, **shown, **bound(key, value, changes))
    else:
        choices = list(kind.choices or gallery.values(kind.chosen_from or ""))
        if text and text not in choices:
            choices.append(text)
        if not choices:  # no photo has any
            return
        st.selectbox(kind.label, choices, None, placeholder="Any", **shown, **bound(key, text or None, changes))


def model_section(choice: Chosen, opened: Opened | None, options: Options) -> None:
    """Say in a collapsed section which model is used and how good it is; for a run's gallery let the user choose another."""
    about = opened.about if opened else None
    of_a_run = choice.name not in ("folder", "milvus")
    title = f"Model: {about.title if of_a_run else about.recipe}" if about else "Model"
    words = in_words(about.metrics) if about else ""
    with st.expander(f"{title}{f' · {words}' if words else ''}"):
        if choice.name in ("val", "all") and choice.run:
            _choose_epoch(choice, options)
        if about is None:
            return
        if not of_a_run:
            made = "The index of this folder was" if choice.name == "folder" else "The vectors in Milvus were"
            st.markdown(f"{made} made by the model **{about.recipe}** (`{about.checkpoint}`).")
        else:
            st.markdown(f"Recipe **{about.recipe}**, `{about.checkpoint.name}` in `{about.checkpoint.parent}`.")
        if words:
            st.markdown(f"{words.capitalize()}. Recall in per cent:")
            st.table(
                {
                    name: {f"R@{k}": f"{about.metrics[f'{way}_r{k}']:.1f}" for k in (1, 5, 10)}
                    for way, name in DIRECTIONS.items()
                }
            )


def in_words(metrics: Any) -> str:
    """Return how good a model is in words that need no glossary; "" where it was not measured."""
    if "t2i_r10" not in metrics or "images" not in metrics:
        return ""
    photos = f"{int(metrics['images']):,} validation photos"
    return f"for {metrics['t2i_r10']:.0f} of 100 sentences the right one of {photos} is among the first ten"


def _choose_epoch(choice: Chosen, options: Options) -> None:
    assert choice.run
    runs = [run.name for run in own_runs(options)]
    st.selectbox("Run", runs, **bound("run", choice.run.name, lambda name: {"run": name, "epoch": BEST, "like": ""}))
    epochs = epochs_in(choice.run)
    if len(epochs) > 1:
        best = best_epoch(choice.run)
        st.select_slider(
            "Epoch", epochs, format_func=lambda epoch: f"{epoch} (best)" if epoch == best else str(epoch),
            help="Earlier epochs show what the model knew then.",
            **bound("epoch", choice.epoch, lambda epoch: {"epoch": epoch}),
        )  # fmt: skip


def offer_others(asked: Asked, name: str) -> None:
    """Offer what can be searched where the gallery that was asked for cannot."""
    with st.container(horizontal=True):
        other = {**replace(Asked(), words=asked.words).__dict__}
        if name != "sample" and epochs_in(SHIPPED):
            st.button("Use the shipped model", on_click=change, kwargs=other | {"gallery": "sample"})
        if name != "folder":
            st.button("Search a folder of mine", on_click=change, kwargs=other | {"gallery": "folder"})
