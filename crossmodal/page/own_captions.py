"""Captions of the user's own: written under a photo in the large view, or in a table of the photos that are shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from crossmodal.errors import CrossmodalError
from crossmodal.files import shown
from crossmodal.page.photo_files import url_of
from crossmodal.photos.own_captions import LONGEST_CAPTION, Edit, OwnCaptions
from crossmodal.search.hit import Hit
from crossmodal.search.search import Search

WRITTEN = "caption written"  # the key of the text field of the large view
REFUSED = "caption refused"  # in the session: why the last change could not be made
TABLE = "own captions"
HEIGHT = 64  # of a row of the table, pixels


def write_captions(file: Path, hit: Hit) -> None:
    """Let the user write captions under a photo, and take them away."""
    st.markdown("**Your captions**")
    try:
        captions = OwnCaptions(file).captions().get(hit.photo.path, [])
    except CrossmodalError as error:
        st.error(str(error))
        return
    for number, caption in enumerate(captions):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(caption, width="stretch")
            st.button(
                "Take away", key=f"take away {number}", icon=":material/close:", type="tertiary",
                on_click=_take_away, args=(file, Edit(hit.photo.path, caption, "")),
            )  # fmt: skip
    key = f"{WRITTEN} {hit.id}"

    def write() -> None:
        if _edit(file, [Edit(hit.photo.path, "", st.session_state[key])]):
            st.session_state[key] = ""

    st.text_input(
        "What does it show?", placeholder="Rex asleep on the blue sofa", key=key, max_chars=LONGEST_CAPTION,
        on_change=write, help="In a sentence, as you would search for it. Kept beside the index; a model can learn from it.",
    )  # fmt: skip
    say_refused()


def say_refused() -> None:
    """Show why the last change could not be made, once."""
    if reason := st.session_state.pop(REFUSED, ""):
        st.error(reason)


def _edit(file: Path, edits: Sequence[Edit]) -> bool:
    try:
        OwnCaptions(file).edit(edits)
    except CrossmodalError as error:
        st.session_state[REFUSED] = str(error)
        return False
    return True


def _take_away(file: Path, edit: Edit) -> None:
    _edit(file, [edit])


def captions_table(search: Search, file: Path, hits: Sequence[Hit]) -> None:
    """Let the user write under the photos that are shown, and change all captions that there are.

    Raises CrossmodalError for a broken file.
    """
    captions = OwnCaptions(file).captions()
    rows = [(photo, caption) for photo, ones in captions.items() for caption in ones]
    rows = [*((hit.photo.path, "") for hit in hits if hit.photo.path not in captions), *rows]
    if not rows:
        st.caption("There are no photos here to caption.")
        return
    # Another table once something was changed, since the changes of one are of its rows as they were.
    key = f"{TABLE} {st.session_state.setdefault(TABLE, 0)}"

    def changed() -> None:
        _edit(file, _edits(rows, st.session_state[key]["edited_rows"]))
        st.session_state[TABLE] += 1

    st.data_editor(
        {
            "photo": [_picture(search, photo) for photo, _ in rows],
            "name": [shown(photo.rpartition("/")[2]) for photo, _ in rows],
            "caption": [caption for _, caption in rows],
        },
        column_config={
            "photo": st.column_config.ImageColumn("Photo", width="small"),
            "name": st.column_config.TextColumn("File", width="small"),
            "caption": st.column_config.TextColumn("Your caption", width="large", max_chars=LONGEST_CAPTION),
        },
        disabled=["photo", "name"], hide_index=True, width="stretch", row_height=HEIGHT, key=key, on_change=changed,
    )  # fmt: skip
    say_refused()


def _edits(rows: Sequence[tuple[str, str]], changes: Mapping[int, Mapping[str, Any]]) -> list[Edit]:
    """Return what was changed in the table; a caption that was cleared is taken away."""
    return [Edit(*rows[row], change["caption"] or "") for row, change in changes.items() if "caption" in change]


def _picture(search: Search, photo: str) -> str | None:
    """Return where a photo is found in a small form; None for one that is gone."""
    if not (search.gallery.about.root / photo).is_file():
        return None
    try:
        hit = search.hit(search.gallery.id_at(photo))
    except CrossmodalError:
        return None
    return url_of(hit.id, hit.path, "tiny")
