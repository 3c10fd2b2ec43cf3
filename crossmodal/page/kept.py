"""What is kept with an index under names, taught words and albums: each can be searched for, renamed and forgotten."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from crossmodal.errors import CrossmodalError
from crossmodal.page.address import change
from crossmodal.page.large_view import as_text
from crossmodal.search.named_file import LONGEST_NAME, NamedThings

SAID = "said of names"  # in the session: what came of the last change, and whether it was done


def do(act: Callable[[], str]) -> bool:
    """Do it, and keep for the next run of the page what it returns or why it could not be done; return whether it was."""
    try:
        st.session_state[SAID] = (act(), True)
    except CrossmodalError as error:
        st.session_state[SAID] = (str(error), False)
    return bool(st.session_state[SAID][1])


def say_what_was_done() -> None:
    """Show what came of the last change, once."""
    said, done = st.session_state.pop(SAID, ("", True))
    if said:
        (st.success if done else st.error)(as_text(said))  # names may come with another's index


def row(kept: NamedThings[Any], key: str, text: str, opens: str, words: str) -> None:
    """Show a thing that is kept, by its key: a text, a button that searches for some words, and what changes the thing."""
    of, name = f"{kept.form.noun} {key}", kept.entries()[key].name
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(text, width="stretch")
        st.button(
            opens,
            key=f"open {of}",
            on_click=change,
            kwargs={"words": words, "picture": "", "like": "", "weaker": False},
        )
        with st.popover("Rename"):
            st.text_input(
                "New name", name, key=f"new name {of}", max_chars=LONGEST_NAME, on_change=_rename, args=(kept, name, of)
            )
        st.button("Forget", key=f"forget {of}", on_click=_forget, args=(kept, name))


def _rename(kept: NamedThings[Any], name: str, of: str) -> None:
    do(lambda: f"{name} is {kept.rename(name, st.session_state[f'new name {of}']).name} from now on.")


def _forget(kept: NamedThings[Any], name: str) -> None:
    def forget() -> str:
        kept.forget(name)
        return f"Forgot {name}."

    do(forget)
