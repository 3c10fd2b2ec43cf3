"""The large view of a photo, the same for all galleries."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import streamlit as st

from crossmodal.data.decoding import load_photo, opened_photo
from crossmodal.data.thumbnails import as_jpeg
from crossmodal.errors import CrossmodalError
from crossmodal.page.address import change, current, judge
from crossmodal.page.components import bars, grid, large_photo
from crossmodal.page.own_captions import write_captions
from crossmodal.page.photo_files import keep_image, url_of
from crossmodal.page.shared import Kept
from crossmodal.runs.models import Maker
from crossmodal.search.hit import Hit
from crossmodal.search.query import Query
from crossmodal.search.search import Search

LARGE = 1000  # pixels
SIMILAR = 8
SCENES = 4
MODELS = Kept(lambda model: sum(weight.nbytes for weight in model.parameters()), 300_000_000)
AMONG = "photos beside"  # the state: the ids of the photos that were shown with the one that is open


@dataclass(frozen=True)
class Results:
    """What the page shows: photos, and the query that they answer; None before anything is asked."""

    hits: Sequence[Hit] = ()
    query: Query | None = None


def open_photo(photo_id: str, among: Sequence[str]) -> None:
    """Open a photo in the large view, which is in the address; `among` are the ids beside it."""
    st.session_state[AMONG] = tuple(among)
    change(photo=photo_id)


def as_text(text: str) -> str:
    """Return Markdown that shows a text as it is."""
    return "".join(f"\\{c}" if not c.isalnum() and c.isascii() and c != " " else c for c in text)


def _close() -> None:
    change(photo="")


def large_view(search: Search, maker: Maker, gallery: str, found: Results) -> None:
    """Show the photo that is open; `gallery` is what its gallery is called in the address, `found` is what else is shown."""
    photo_id = current().photo
    hits = {hit.id: hit for hit in found.hits}
    try:
        hit = hits.get(photo_id) or search.hit(photo_id)
    except CrossmodalError as error:  # the photo went with its gallery, or the link is of another machine
        st.caption(f"The photo of this address is not shown: {error}")
        return
    beside = next((ids for ids in (st.session_state.get(AMONG, ()), tuple(hits)) if photo_id in ids), ())
    title = as_text(hit.name.rpartition("/")[2])
    show = st.dialog(title, width="large", on_dismiss=_close)(_content)
    show(search, maker, gallery, hit, beside, found.query if photo_id in hits else None)


def _content(search: Search, maker: Maker, gallery: str, hit: Hit, among: tuple[str, ...], query: Query | None) -> None:
    try:
        _shown(search, maker, gallery, hit, among, query)
    except CrossmodalError as error:
        st.error(str(error))


def _shown(search: Search, maker: Maker, gallery: str, hit: Hit, among: tuple[str, ...], query: Query | None) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with right:
        st.html(_data(hit))
        why = query is not None and st.toggle(
            "Why it matched", key="why", help="Warm places of the photo, and words with long bars, made it match."
        )
        url = url_of(hit.id, hit.path, "large")
        if why and query is not None:
            url = _heat(maker, hit, query) or url
            if hit.words:
                st.markdown(f"**Words that match:** {as_text(', '.join(hit.words))}")
            _word_weights(search, hit, query)
        if st.button("Search like this", key="search like this", width="stretch", icon=":material/image_search:"):
            change(like=hit.id, words="", picture="", weaker=False, gallery=gallery, tab="")
            st.rerun()
        if query is not None:
            _judge(hit)
        _captions(search, hit)
    with left:
        large_photo(hit, among, url)
    similar = search.photos(search.query(like=hit.id), SIMILAR, cut_off=False, without=hit.id).hits
    st.markdown("**Similar photos**")
    other = grid(similar, "similar photos", "Similar photos", scores=False, small=True)
    if other:
        open_photo(other, among if other in among else [one.id for one in similar])
        st.rerun()


def _judge(hit: Hit) -> None:
    """Let the user move the search towards a photo, or away from it."""
    with st.container(horizontal=True):
        for side in ("more", "less"):
            if st.button(
                f"{side.capitalize()} like this", key=f"{side} like this", help=f"The same search, with {side} of this."
            ):
                judge(hit.id, side)
                st.rerun()


def _data(hit: Hit) -> str:
    """Return what is known of a photo; of one whose gallery knows nothing, what its file says."""
    facts = dict(hit.facts)
    if "width" not in facts and hit.path.is_file():
        try:
            with opened_photo(hit.path, hit.name) as photo:
                facts |= {"width": photo.width, "height": photo.height, "bytes": hit.path.stat().st_size}
        except CrossmodalError as error:
            facts["problem"] = str(error)
    rows = {"path": hit.name}
    if "width" in facts:
        rows["size"] = f"{facts.pop('width'):,} × {facts.pop('height'):,} pixels"
    # As the record declares them, so that a new field is shown too.
    for name, value in facts.items():
        label, written = FORMS.get(name, (name, lambda _, value: str(value)))
        rows[label] = written(hit, value) if value else ""
    rows["similarity"] = f"{hit.score:.3f}" if hit.score else ""
    rows["same file"] = ", ".join(copy.photo.name for copy in hit.copies if copy.exact)
    rows["copies"] = ", ".join(copy.photo.name for copy in hit.copies if not copy.exact)
    items = "".join(
        f"<dt>{name.capitalize()}</dt><dd>{html.escape(value)}</dd>" for name, value in rows.items() if value
    )
    return f'<dl class="cm-data">{items}</dl>'


def _date(hit: Hit, iso: str) -> str:
    taken = hit.photo.described.taken is not None
    return datetime.fromisoformat(iso).strftime("%d %B %Y, %H:%M") + ("" if taken else " (of the file)")


# Labels and forms of the facts that are not shown as they are.
FORMS: Mapping[str, tuple[str, Callable[[Hit, Any], str]]] = {
    "date": ("date", _date),
    "text": ("text in the photo", lambda _, value: value),
    "keywords": ("keywords", lambda _, value: ", ".join(value)),
    "bytes": ("file", lambda _, value: f"{value / 1e6:.2f} MB"),
}


def _captions(search: Search, hit: Hit) -> None:
    if search.gallery.about.own_captions:
        write_captions(search.gallery.about.own_captions, hit)
    if hit.photo.captions:
        st.markdown("**Its captions**")
        st.html(
            '<ul class="cm-captions">'
            + "".join(f"<li>{html.escape(caption)}</li>" for caption in hit.photo.captions)
            + "</ul>"
        )
    else:
        st.markdown("**Everyday scenes that fit**")
        with st.spinner("Encoding everyday scenes, once for this model ..."):
            scenes = search.captions(search.query(like=hit.id), SCENES)
        bars([(scene.caption, scene.score) for scene in scenes])


def _word_weights(search: Search, hit: Hit, query: Query) -> None:
    """Show how much each word of the query counts."""
    (weights,) = search.word_weights(query, [hit.id])
    if weights:
        st.markdown("**How much the similarity falls without each word**")
        bars(weights, most=max(0.05, *(abs(weight) for _, weight in weights)))


def _heat(maker: Maker, hit: Hit, query: Query) -> str | None:
    """Return where the photo lies with the heat map of a query over it; None where there is no heat map."""
    known: dict[tuple[str, bytes], str] = st.session_state.setdefault("heat maps", {})
    key = hit.id, query.vector.tobytes()
    try:
        if key not in known:
            with st.spinner("Looking where the photo is like the query ..."):
                from crossmodal.search.heat_map import (  # brings the towers, which take seconds to import
                    heat_map,
                    overlaid,
                )

                work = MODELS.get(maker.fingerprint, None, "Loading the model", lambda work: maker.model()[1])
                # Decoded in a process of its own, and in this one only as what that gave.
                model, photo = work.result(), load_photo(as_jpeg(Path(hit.path), LARGE))
                assert model is not None  # it was waited for
                prepare = model.preparation
                heat = heat_map(model, photo, query.vector)
            known.clear()  # one for each session; the others are quick to make again
            known[key] = keep_image(overlaid(photo, heat, prepare.resize, prepare.crop_share))
    except CrossmodalError as error:
        st.caption(f"There is no heat map: {error}")
        return None
    return f"pictures/{known[key]}"
