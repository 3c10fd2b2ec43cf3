"""Albums on the page: a search is saved under a name, and the albums are listed with what they hold now."""

import streamlit as st

from crossmodal.errors import CrossmodalError
from crossmodal.page.address import Asked
from crossmodal.page.kept import do, row
from crossmodal.photos.summary import counted
from crossmodal.search.albums import Album, save_album
from crossmodal.search.named_file import LONGEST_NAME
from crossmodal.search.search import Search

UNSAVED = "An album is made of words and filters; pictures, and photos that you search like, are left out."


def albums_section(search: Search, asked: Asked) -> None:
    """Let the user save the search, where there are words or filters, and list the albums."""
    if asked.words.strip() or asked.as_filters().given():
        _save(search, asked)
    albums = search.albums.entries()
    if albums:
        with st.expander(counted(len(albums), "album")):
            for key, album in albums.items():
                row(search.albums, key, f"{album.name}: {album.query} ({_holds(search, album)})", "Open", album.query)


def _save(search: Search, asked: Asked) -> None:
    with st.popover("Save as an album", icon=":material/bookmark_add:"), st.form("album", border=False):
        name = st.text_input("Name of the album", placeholder="Summer", key="album name", max_chars=LONGEST_NAME)
        st.caption("It fills itself: whenever you open it, it holds the photos that are found then.")
        if asked.picture or asked.like or any(asked.judged):
            st.caption(UNSAVED)
        if st.form_submit_button("Save this search", type="primary"):
            do(lambda: f"Saved {save_album(search, name, asked.words, asked.as_filters()).name}.")
            st.rerun()


def _holds(search: Search, album: Album) -> str:
    try:
        return counted(search.albums.count(album, search), "photo")
    except CrossmodalError as error:
        return str(error)
