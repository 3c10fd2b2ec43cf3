"""Words that a folder is taught on the page: judged photos get a name, and the words are listed, renamed and forgotten."""

from collections.abc import Callable

import streamlit as st

from crossmodal.errors import CrossmodalError
from crossmodal.page.address import Asked, change
from crossmodal.photos.summary import counted
from crossmodal.search.search import Search
from crossmodal.search.teaching import teach
from crossmodal.search.words import LONGEST_NAME

SAID = "said of words"  # in the session: what came of the last change of a word, and whether it was done


def name_judged(search: Search, asked: Asked) -> None:
    """Let the user name what the photos marked "More like this" show; those marked "Less like this" do not show it."""
    more, less = ([search.hit(one).name for one in ids] for ids in asked.judged)
    with st.popover("Give it a name", icon=":material/label:"), st.form("teach", border=False):
        name = st.text_input(
            'What do the photos that you marked "More like this" show?',
            placeholder="Rex",
            key="taught name",
            max_chars=LONGEST_NAME,
        )
        kind = st.text_input(
            "What is it, in a word that anybody knows?",
            placeholder="dog",
            key="taught kind",
            max_chars=LONGEST_NAME,
            help="Guessed from the photos if you leave it empty.",
        )
        st.caption(
            "The name can then be searched for with any other words: Rex on the beach. Three to ten photos are enough."
        )
        if st.form_submit_button("Teach this name", type="primary"):
            _do(lambda: teach(search, name, more, less, kind.strip() or None).summary)
            if st.session_state[SAID][1]:
                change(words=name, picture="", like="")
            st.rerun()


def words_section(search: Search) -> None:
    """List the words that the folder was taught, with what came of the last change, each to be searched for and changed."""
    said, done = st.session_state.pop(SAID, ("", True))
    if said:
        (st.success if done else st.error)(said)
    file, fingerprint = search.taught, search.gallery.about.fingerprint
    words = file.words()
    if not words:
        return
    with st.expander(f"{counted(len(words), 'word')} taught here"):
        for key, word in words.items():
            with st.container(horizontal=True, vertical_alignment="center"):
                other = "" if word.fingerprint == fingerprint else "; of another model: forget it, and teach it again"
                st.text(word.summary + other, width="stretch")
                st.button(
                    "Search",
                    key=f"search word {key}",
                    on_click=change,
                    kwargs={"words": word.name, "picture": "", "like": ""},
                )
                with st.popover("Rename"):
                    st.text_input(
                        "New name", word.name, key=f"new name {key}", max_chars=LONGEST_NAME, on_change=_rename,
                        args=(search, word.name, f"new name {key}"),
                    )  # fmt: skip
                st.button("Forget", key=f"forget word {key}", on_click=_forget, args=(search, word.name))


def _rename(search: Search, name: str, field: str) -> None:
    _do(lambda: f"{name} is {search.taught.rename(name, st.session_state[field]).name} from now on.")


def _forget(search: Search, name: str) -> None:
    def forget() -> str:
        search.taught.forget(name)
        return f"Forgot {name}."

    _do(forget)


def _do(act: Callable[[], str]) -> None:
    """Do it, and keep for the next run of the page what it returns or why it could not be done."""
    try:
        st.session_state[SAID] = (act(), True)
    except CrossmodalError as error:
        st.session_state[SAID] = (str(error), False)
