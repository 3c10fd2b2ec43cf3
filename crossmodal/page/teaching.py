"""Words that a folder is taught on the page: judged photos get a name, and the words are listed, renamed and forgotten."""

import streamlit as st

from crossmodal.page.address import Asked, change
from crossmodal.page.kept import do, row
from crossmodal.photos.summary import counted
from crossmodal.search.named_file import LONGEST_NAME
from crossmodal.search.search import Search
from crossmodal.search.teaching import teach


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
            if do(lambda: teach(search, name, more, less, kind.strip() or None).summary):
                change(words=name, picture="", like="")
            st.rerun()


def words_section(search: Search) -> None:
    """List the words that the folder was taught, each to be searched for and changed."""
    file, fingerprint = search.taught, search.gallery.about.fingerprint
    words = file.entries()
    if not words:
        return
    with st.expander(f"{counted(len(words), 'word')} taught here"):
        for key, word in words.items():
            other = "" if word.fingerprint == fingerprint else "; of another model: forget it, and teach it again"
            row(file, key, word.summary + other, "Search", word.name)
