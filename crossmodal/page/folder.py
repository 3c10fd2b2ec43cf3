"""A folder of one's own: indexing it, and the files of it that cannot be used."""

from pathlib import Path

import streamlit as st

from crossmodal.page.background import REFRESH, index, indexing, watch
from crossmodal.photos.ocr import has_rapidocr
from crossmodal.photos.store import DATABASE, Store
from crossmodal.photos.summary import counted, summary

OCR = "read the text in photos"
SEEN = "indexing seen"  # the folder whose indexing this session has watched


def index_button(
    photos: Path, place: Path, checkpoint: Path | None, weights: Path | None = None, instead: Path | None = None
) -> None:
    """Let the user index a folder, or bring its index, which lies in `place`, up to date; the models are as for `index`."""
    work = indexing(photos)
    there = (place / DATABASE).is_file()
    st.button(
        "Look for new photos" if there else "Index this folder", key="index photos", type="secondary" if there else "primary",
        on_click=index, args=(photos, place, checkpoint, weights, False, st.session_state.get(OCR), instead), disabled=bool(work and not work.finished),
    )  # fmt: skip


def index_section(photos: Path, place: Path, slow: float) -> None:
    """Show how far the indexing of a folder is, or what came of it; its index in `place` takes `slow` seconds to open."""
    work = indexing(photos)
    if work and not work.finished:
        st.session_state[SEEN] = photos
        watch(work, max(REFRESH, 10 * slow))
        return
    there = (place / DATABASE).is_file()
    if work and work.error:
        st.error(str(work.error))
    elif work and (changes := work.result()) and st.session_state.pop(SEEN, None) == photos:
        with Store(place, writable=False) as store:
            many = sum(1 for _ in store.photos())
        if work.note:
            st.info(work.note)
        st.success(summary(changes, many, (), options=False))
    if has_rapidocr():
        st.checkbox(
            "Read the text in photos", value=there and _reads_text(place), key=OCR,
            help="So that it is found too (OCR). It takes about a second a photo, and begins when the folder is indexed.",
        )  # fmt: skip
    if there:
        unusable(place)
    else:
        st.markdown("This folder is not indexed yet. You can start searching as soon as the first photos are indexed.")


def _reads_text(place: Path) -> bool:
    with Store(place, writable=False) as store:
        return bool(store.meta["ocr"])


def unusable(place: Path) -> None:
    """List the files of an index that cannot be used, with the reasons, where there are some."""
    with Store(place, writable=False) as store:
        skipped = store.skipped()
    if skipped:
        with st.expander(f"{counted(len(skipped), 'file')} cannot be used"):
            st.dataframe(
                {"File": list(skipped), "Reason": [reason for _, reason in skipped.values()]},
                hide_index=True,
                width="stretch",
            )
