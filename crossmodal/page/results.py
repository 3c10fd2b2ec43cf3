"""The search and what it found, for any gallery."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import streamlit as st

from crossmodal.errors import CrossmodalError
from crossmodal.page.address import COUNTS, Asked, bound, change
from crossmodal.page.albums import albums_section
from crossmodal.page.components import bars, grid, picture_input
from crossmodal.page.downloads import downloads
from crossmodal.page.galleries import Opened
from crossmodal.page.kept import say_what_was_done
from crossmodal.page.large_view import Results, as_text, open_photo
from crossmodal.page.narrowing import narrowing
from crossmodal.page.photo_files import PICTURES, Known
from crossmodal.page.teaching import name_judged, words_section
from crossmodal.search.captions import CaptionList
from crossmodal.search.filters import NO_FILTERS
from crossmodal.search.hit import Answer, Hit
from crossmodal.search.query import Query
from crossmodal.search.search import Search
from crossmodal.search.typed import UNWANTED, Piece, Understood, without

QUESTION = "What should be in the photo?"
SCORES = "The number on each photo is its cosine similarity to your query: higher is more alike, and 1 is the most. Compare it within one search."
HUBS = (
    "Photos that are near to almost anything are ranked lower, so the numbers need not fall from one photo to the next."
)
CAPTIONS = 5
WEIGHTS = (0.1, 3.0)  # of the picture that are offered
VECTORS: Known[np.ndarray] = Known(200)
LISTS: Known[CaptionList] = Known(8)


def ask(asked: Asked) -> None:
    """Let the user say what is looked for: words, a picture, or both."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _words(asked)
        known = _picture(asked)
    if asked.picture and not known:
        st.caption("The picture of this search is no longer here; add it again.")
    elif asked.picture and asked.words.strip():
        lightest, heaviest = min(WEIGHTS[0], asked.weight), max(WEIGHTS[1], asked.weight)  # as the address may say
        title = "Weight of the picture beside the words"
        st.slider(title, lightest, heaviest, step=0.1, **bound("weight", asked.weight))


def _words(asked: Asked) -> None:
    st.text_input(
        QUESTION, placeholder="two dogs in the snow", type="search",
        help="Terms can be added and taken away: dog + beach - people. A number before a colon weighs a term: 2:dog + cat. "
        "Filters can stand in the words: beach 2023 in:lisbon camera:nikon -people.",
        **bound("words", asked.words, lambda words: {"words": words, "like": "", "weaker": False}),
    )  # fmt: skip


def _picture(asked: Asked) -> bool:
    """Let the user add a picture, or take it away; return whether the one that is asked for is here."""
    known = PICTURES.get(asked.picture) is not None
    picture_input(
        f"pictures/{asked.picture}" if known else None,
        lambda token: change(picture=token, like="", weaker=False),
        lambda: change(picture="", weight=1.0),
    )
    return known


def show(opened: Opened, search: Search, asked: Asked, absent: str) -> Results:
    """Show what is found; before anything is asked, some photos and examples. `absent` stands where a file is missing."""
    if asked.picture and PICTURES.get(asked.picture):
        _captions(opened, search, asked)
    try:
        narrowing(search, asked)
        found = _found(opened, search, asked, absent)
    except CrossmodalError as error:  # what is kept with the gallery can be opened and mended still
        st.error(as_text(str(error)))
        found = Results()
    hits = found.hits
    chosen = grid(
        hits,
        "results",
        "Photos that were found" if found.query else "Photos of this gallery",
        bool(found.query),
        absent=absent,
    )
    if chosen:
        open_photo(chosen, [hit.id for hit in hits])
    if search.gallery.about.words:
        say_what_was_done()
        words_section(search)
    if search.gallery.about.albums:
        albums_section(search, asked)
    if found.query and hits:
        corrected = not asked.by_date and any(one.score < other.score for one, other in pairwise(hits))
        st.caption(f"{SCORES} {HUBS}" if corrected else SCORES)
        _more(asked, hits)
    return found


def _found(opened: Opened, search: Search, asked: Asked, absent: str) -> Results:
    if asked.nothing or (asked.picture and not (asked.words or asked.like or PICTURES.get(asked.picture))):
        hits = search.newest(asked.count, asked.as_filters())
        _before_asking(opened, search, asked, hits)
        return Results(hits)
    understood = search.understood(asked.words) if asked.words.strip() else Understood()
    _chips(asked, understood)
    query = _with_photos(opened, search, asked, understood)
    answer = search.answer(understood, query, asked.count, asked.as_filters(), asked.by_date, not asked.weaker)
    if asked.like:
        _like(search, asked)
    if any(asked.judged):
        _judged(search, asked)
    _summary(search, asked, answer)
    for said in answer.notes:
        st.info(said, icon=":material/info:")
    return Results(answer.hits, answer.query)


def _chips(asked: Asked, understood: Understood) -> None:
    """Show each filter that stood in the words, to be taken away."""
    with st.container(horizontal=True, gap="small"):
        for number, piece in enumerate(understood.pieces):
            st.button(
                as_text(piece.text), key=f"piece {number}", icon=":material/close:", help=f"{as_text(piece.meaning)}. Press to take it away.",
                on_click=change, kwargs={"words": without(asked.words, [piece])},
            )  # fmt: skip


def _with_photos(opened: Opened, search: Search, asked: Asked, understood: Understood) -> Query | None:
    """Return the query that is asked with photos beside the words, None where words are all of it."""
    picture = _picture_vector(opened, search, asked.picture) if PICTURES.get(asked.picture) else None
    if not (picture is not None or asked.like or any(asked.judged)):
        return None
    return search.query(understood.terms, picture, asked.weight, asked.like or None, *asked.judged)


def _picture_vector(opened: Opened, search: Search, token: str) -> np.ndarray:
    key = f"{opened.about.fingerprint} {token}"
    vector = VECTORS.get(key)
    if vector is None:
        content = PICTURES.get(token)
        assert content is not None
        VECTORS.add(key, vector := search.encode_photo(content, "The picture"))
    return vector


def _before_asking(opened: Opened, search: Search, asked: Asked, hits: Sequence[Hit]) -> None:
    with st.container(horizontal=True, gap="small"):
        for number, example in enumerate(opened.examples):
            st.button(
                example,
                key=f"example {number}",
                on_click=change,
                kwargs={"words": example, "like": "", "weaker": False},
            )
    if hits:
        newest = "date" in search.gallery.about.fields
        many = search.gallery.count()
        st.caption(
            f"{'The newest' if newest else 'Some'} of the {many:,} photos; type words, press an example, or add a picture."
        )
    else:
        _nothing_passes(search, asked)


def _nothing_passes(search: Search, asked: Asked, pieces: Sequence[Piece] = ()) -> None:
    if not search.gallery.count(NO_FILTERS):
        st.info("There is no photo in this gallery yet.")
        return
    st.info("No photo passes these filters.")
    words = without(asked.words, [piece for piece in pieces if piece.kind != UNWANTED])
    st.button("Reset the filters", key="reset filters", on_click=change, kwargs={"filters": {}, "words": words})


def _summary(search: Search, asked: Asked, answer: Answer) -> None:
    """Say how many photos look like the query, of how many and in which order, and let the user see the others."""
    shown, many = len(answer.hits), f"{answer.passing:,}"
    newest = "date" in search.gallery.about.fields and (asked.by_date or not answer.query)
    order = ", newest first" if newest else ", most similar first" if answer.query else ""
    if not answer.passing:
        _nothing_passes(search, asked, answer.understood)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if answer.cut_off and not shown:
            st.markdown(f"None of the {many} photos looks like that.", width="content")
            st.button("Show the most similar ones anyway", type="tertiary", on_click=change, kwargs={"weaker": True})
        elif answer.cut_off:
            alike = answer.alike or 0
            first = f"; the first {shown:,} are shown" if shown < alike and shown == asked.count else ""
            first += order if asked.by_date else ""
            st.markdown(f"**{alike:,} of {many}** {'look' if alike > 1 else 'looks'} like that{first}", width="content")
            st.button("Show weaker ones", type="tertiary", on_click=change, kwargs={"weaker": True})
        else:
            st.markdown(f"The first **{shown:,} of {many}**{order}", width="content")
            if asked.weaker and search.gallery.about.cutoff:
                st.button("Leave out weaker ones", type="tertiary", on_click=change, kwargs={"weaker": False})


def _like(search: Search, asked: Asked) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Photos like", width="content")
        st.code(search.hit(asked.like).name, language=None, width="content")
        st.button("Stop searching like this", key="leave like", on_click=change, kwargs={"like": ""})


def _judged(search: Search, asked: Asked) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        for side, ids in zip(("More like", "Less like"), asked.judged, strict=True):
            if ids:
                st.markdown(side, width="content")
                st.code(", ".join(search.hit(one).name for one in ids), language=None, width="content")
        st.button("Forget these", key="forget judged", on_click=change, kwargs={"more": "", "less": ""})
        if asked.more and search.gallery.about.words:
            name_judged(search, asked)


def _more(asked: Asked, hits: Sequence[Hit]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        counts = sorted({*COUNTS, asked.count})
        st.selectbox("How many", counts, width=120, **bound("count", asked.count))
        downloads(hits)


@st.fragment
def _captions(opened: Opened, search: Search, asked: Asked) -> None:
    """Show the captions that fit the picture best, on an absolute scale."""
    st.markdown("**Captions for your picture**")
    everyday, own, mine = "Everyday scenes", "The gallery's own captions", "A text file of mine"
    choices = [everyday, *([own] if search.gallery.about.has_captions else []), mine]
    source = st.segmented_control("Match with", choices, default=everyday, key="captions of") or everyday
    try:
        among = search.everyday if source == everyday else _own_captions(opened, search) if source == mine else None
        if source == mine and among is None:
            return
        query = search.query(image=_picture_vector(opened, search, asked.picture))
        bars([(hit.caption, hit.score) for hit in search.captions(query, CAPTIONS, among)])
        st.caption("The bars are cosine similarities; a whole bar would be 1. Near-copies of one sentence count once.")
    except CrossmodalError as error:
        st.error(str(error))


def _own_captions(opened: Opened, search: Search) -> CaptionList | None:
    """Return the lines of a text file that the user gives, or None before that."""
    file = st.file_uploader("Your captions, one a line", type=["txt"], key="captions")
    if file is None:
        return None
    content = file.getvalue()
    key = f"{opened.about.fingerprint} {hashlib.sha256(content).hexdigest()}"
    captions = LISTS.get(key)
    if captions is None:
        try:
            lines = content.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise CrossmodalError(f"{file.name} is not UTF-8 text; save it as UTF-8 and try again.") from error
        with st.spinner("Encoding the captions ..."):
            LISTS.add(key, captions := CaptionList.encoded(lines, search.runtime.encode_sentences))
    return captions
