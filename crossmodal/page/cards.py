"""What was found, as HTML: a card a photo, a bar a caption; and the style they share."""

import html
from collections.abc import Sequence

from crossmodal.search.service import CaptionHit, ImageHit

STYLE = """<style>
.block-container {padding-top: 2.6rem; max-width: 1180px}
.cm-note {padding: .55rem .9rem; border-radius: .6rem; background: rgba(240,160,40,.16); font-size: .9rem; margin-bottom: .4rem}
.cm-grid {display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: .9rem; margin: .4rem 0 1rem}
.cm-card {margin: 0; border-radius: .7rem; overflow: hidden; background: rgba(128,128,128,.11); display: flex; flex-direction: column}
.cm-card img {width: 100%; aspect-ratio: 4/3; object-fit: cover; display: block}
.cm-card figcaption {padding: .55rem .7rem .7rem; font-size: .82rem; line-height: 1.35}
.cm-score {float: right; margin-left: .5rem; font-variant-numeric: tabular-nums; opacity: .65; font-size: .78rem}
.cm-card details {margin-top: .3rem; opacity: .8} .cm-card summary {cursor: pointer}
.cm-card ul {margin: .25rem 0 0; padding-left: 1.1rem}
.cm-list {list-style: none; margin: .4rem 0 1rem; padding: 0}
.cm-list li {position: relative; padding: .5rem .8rem; margin: 0 0 .35rem; border-radius: .5rem; background: rgba(128,128,128,.09); overflow: hidden}
.cm-list i {position: absolute; inset: 0 auto 0 0; background: rgba(46,125,210,.20)} .cm-list span {position: relative}
@media (max-width: 640px) {.cm-grid {grid-template-columns: repeat(2, 1fr); gap: .55rem}}
</style>"""

# Streamlit's uploader takes dropped files only; a pasted photo is handed to it as if it had been chosen.
PASTE = """<script>
if (!window.cmPaste) {
  window.cmPaste = true;
  document.addEventListener("paste", (event) => {
    const photo = [...event.clipboardData.files].find((file) => file.type.startsWith("image/"));
    const input = document.querySelector(".st-key-photo input[type=file]");
    if (!photo || !input || input.closest("[hidden], [inert]")) return;
    const files = new DataTransfer();
    files.items.add(photo);
    input.files = files.files;
    input.dispatchEvent(new Event("change", {bubbles: true}));
  });
}
</script>"""


def note(text: str) -> str:
    """Return a remark about the whole page."""
    return f'<div class="cm-note">✏️ {html.escape(text)}</div>'


def photo_grid(hits: Sequence[ImageHit], urls: Sequence[str | None]) -> str:
    """Return photos as a grid of cards; a url of None is a photo that cannot be shown."""
    return f'<div class="cm-grid">{"".join(map(_card, hits, urls))}</div>'


def caption_bars(hits: Sequence[CaptionHit]) -> str:
    """Return captions as a list, each with a bar as long as its score beside the best one's."""
    best = max((hit.score for hit in hits), default=0.0)
    items = (
        f'<li><i style="width:{100 * max(0, hit.score) / max(0.01, best):.0f}%"></i>'
        f'<span class="cm-score">{hit.score:.2f}</span><span>{html.escape(hit.caption)}</span></li>'
        for hit in hits
    )
    return f'<ul class="cm-list">{"".join(items)}</ul>'


def _card(hit: ImageHit, url: str | None) -> str:
    first = html.escape(hit.captions[0] if hit.captions else hit.name)
    photo = f"<p>{html.escape(hit.name)} cannot be shown.</p>"
    if url:
        photo = f'<img src="{url}" alt="{first}" loading="lazy">'
    others = "".join(f"<li>{html.escape(caption)}</li>" for caption in hit.captions[1:])
    more = ""
    if others:
        more = f"<details><summary>{len(hit.captions) - 1} more captions</summary><ul>{others}</ul></details>"
    score = f'<span class="cm-score">{hit.score:.2f}</span>'
    return f'<figure class="cm-card">{photo}<figcaption>{score}{first}{more}</figcaption></figure>'
