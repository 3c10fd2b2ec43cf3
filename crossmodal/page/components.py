"""The page's own elements, where Streamlit has none: the grid of photos, the large photo, the picture of a search."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from crossmodal.page.photo_files import url_of
from crossmodal.search.hit import Hit

HERE = Path(__file__).parent
CSS = (HERE / "page.css").read_text(encoding="utf-8")


def _component(name: str, html: str) -> Callable[..., Any]:
    script = (HERE / f"{name}.js").read_text(encoding="utf-8")
    return st.components.v2.component(f"crossmodal_{name}", html=html, css=CSS, js=script, isolate_styles=False)


_GRID = _component("grid", '<ol class="cm-grid"></ol>')
_VIEW = _component(
    "view",
    '<figure class="cm-view"><img alt=""><span class="cm-absent">This photo cannot be shown</span><div class="cm-bar">'
    '<button type="button" aria-label="Previous photo">←</button><span class="cm-place"></span>'
    '<button type="button" aria-label="Next photo">→</button>'
    "<a>Download the original</a></div></figure>",
)
_PICTURE = _component(
    "picture",
    '<div class="cm-picture"><span class="cm-chip"><img alt="The picture that you search with">'
    '<button type="button" aria-label="Remove the picture">Remove</button></span>'
    '<label><input type="file" accept="image/*,.heic,.heif,.avif"><span class="cm-add"></span></label>'
    '<span class="cm-hint">or drop or paste one here</span><span role="alert"></span></div>',
)


def _plain(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return data as Streamlit sends it unseen: in a dictionary it looks for tables, and loads pandas for that."""
    return [data]


def label_of(hit: Hit) -> str:
    """Return what describes a photo in words: its first caption, else its file's name."""
    return hit.photo.captions[0] if hit.photo.captions else hit.name.rpartition("/")[2]


def grid(
    hits: Sequence[Hit],
    key: str,
    label: str,
    scores: bool = True,
    small: bool = False,
    absent: str = "The file is not there",
) -> str | None:
    """Show photos in rank order; return the id of the one that was opened now. `absent` stands where a file is missing."""
    tiles = [
        _tile(rank, hit, url_of(hit.id, hit.path, "tiny" if small else "small"), scores)
        for rank, hit in enumerate(hits, start=1)
    ]
    data = {"tiles": tiles, "small": small, "label": label, "absent": absent}
    opened: str | None = _GRID(key=key, data=_plain(data), on_open_change=lambda: None).open
    return opened


def _tile(rank: int, hit: Hit, url: str | None, scores: bool) -> dict[str, Any]:
    score = f"{hit.score:.2f}" if scores else None
    copies = f"{len(hit.copies) + 1} copies" if hit.copies else ""
    # What is read aloud has in it what is seen, in the same order.
    seen = ", ".join(filter(None, [f"similarity {score}" if score else "", copies, label_of(hit)]))
    name = f"{hit.name}: " if hit.photo.captions else ""
    return {
        "id": hit.id, "url": url, "alt": label_of(hit), "title": hit.name, "opens": f"Open photo {rank}, {name}{seen}",
        "score": score, "copies": copies, "text": label_of(hit), "name": not hit.photo.captions,
    }  # fmt: skip


def large_photo(hit: Hit, among: Sequence[str], url: str | None) -> None:
    """Show a photo large, from `url`; the browser asks for others of `among`, which are ids, by the address."""
    data = {
        "id": hit.id,
        "url": url,
        "alt": label_of(hit),
        "name": hit.name.rpartition("/")[2],
        "original": url_of(hit.id, hit.path, "original"),
        "among": list(among),
    }
    _VIEW(key="large photo", data=_plain(data))


def picture_input(url: str | None, added: Callable[[str], None], removed: Callable[[], None]) -> None:
    """Show the picture of the search, at `url`, if there is one; call `added` with the token of another, or `removed`."""

    def on_picture() -> None:
        added(st.session_state["picture input"].picture)

    _PICTURE(
        key="picture input", width="content", data={"url": url}, on_picture_change=on_picture, on_removed_change=removed
    )


def bars(rows: Sequence[tuple[str, float]], most: float = 1.0) -> None:
    """Show sentences or words with a bar each, whose whole length is `most`; what is below zero goes the other way."""
    import html

    items = "".join(
        f'<li><i class="{"cm-minus" if value < 0 else "cm-plus"}" style="width:{100 * min(1.0, abs(value) / most):.1f}%"></i>'
        f"<span>{html.escape(text)}</span><b>{value:.2f}</b></li>"
        for text, value in rows
    )
    st.html(f'{BARS}<ul class="cm-bars">{items}</ul>')


BARS = """<style>
.cm-bars {list-style: none; margin: 0 !important; padding: 0 !important; font-size: .9rem}
.cm-bars li {position: relative; display: flex; justify-content: space-between; gap: 1rem; padding: .4rem .7rem; margin: 0 0 .3rem !important; border-radius: .45rem; background: rgba(128,128,128,.11); overflow: hidden}
.cm-bars i {position: absolute; inset: 0 auto 0 0}
.cm-bars .cm-plus {background: rgba(46,125,210,.28)} .cm-bars .cm-minus {background: rgba(224,123,57,.32)}
.cm-bars span, .cm-bars b {position: relative; font-weight: 400} .cm-bars b {font-variant-numeric: tabular-nums}
</style>"""
