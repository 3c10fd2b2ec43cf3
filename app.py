"""The page: type a sentence and see photos, drop a photo and read captions.

streamlit run app.py
streamlit run app.py -- --checkpoints DIR --images DIR
"""

import argparse
import hashlib
import html
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from crossmodal.data.everyday import everyday_scenes
from crossmodal.data.pictures import load_picture
from crossmodal.dual_encoder import DualEncoder
from crossmodal.errors import CrossmodalError
from crossmodal.progress import Advance
from crossmodal.search.runs import default_run, load_model, open_embeddings
from crossmodal.search.service import CaptionList, ImageHit, SearchService
from crossmodal.search.tensors import Embeddings, model_path
from crossmodal.search.thumbnails import data_url
from crossmodal.training.run_folder import best_epoch, epochs_in, results_of, runs_in

ROOT = Path(__file__).resolve().parent
EXAMPLES = ("two dogs in the snow", "a red car on a street", "a boat on a lake at sunset", "children playing in a park")
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


def options() -> argparse.Namespace:
    """Read what stands after `--` on the command line."""
    parser = argparse.ArgumentParser(prog="streamlit run app.py --")
    parser.add_argument("--checkpoints", type=Path, default=ROOT / "model-checkpoints", help="folder of runs")
    parser.add_argument("--images", type=Path, help="folder of the pictures, if they were moved")
    return parser.parse_args(sys.argv[1:])


@contextmanager
def page_bars(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Show progress on the page."""
    bar, done = st.progress(0.0, title), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        bar.progress(min(1.0, done / max(1, total)), f"{title}: {done:,} of {total:,}")

    yield advance
    bar.empty()


# Loaded once, shared by all sessions; `changed` lets a checkpoint that was written anew in.


@st.cache_resource(max_entries=3, show_spinner="Loading the model ...")
def cached_model(path: Path, changed: float) -> tuple[DualEncoder, dict[str, Any]]:
    """Load a checkpoint."""
    return load_model(path)


@st.cache_resource(max_entries=3, show_spinner=False)
def cached_embeddings(path: Path, changed: float) -> Embeddings:
    """Read a checkpoint's tensors, or make the sample's."""
    model, content = cached_model(path, changed)
    return open_embeddings(path, content["fingerprint"], model, ROOT / "drawn-sample", page_bars)


@st.cache_resource(max_entries=4, show_spinner="Preparing the gallery ...")
def cached_service(path: Path, changed: float, split: str, images: Path | None) -> SearchService:
    """Open one split for searching."""
    return SearchService(cached_model(path, changed)[0], cached_embeddings(path, changed), split, images)


@st.cache_resource(max_entries=8, show_spinner="Encoding the captions, once ...")
def cached_list(path: Path, changed: float, digest: str, _service: SearchService, _captions: list[str]) -> CaptionList:
    """Encode a list of captions; `digest` stands for its text."""
    return _service.encode_list(_captions)


@st.cache_data(max_entries=5000, show_spinner=False)
def cached_thumbnail(path: Path) -> str | None:
    """Return a small picture for an <img>, or None where the file cannot be shown."""
    return data_url(path)


def side_bar(settings: argparse.Namespace) -> tuple[Path, float, str]:
    """Let the user choose run, epoch and split; return the checkpoint, when it changed, and the split."""
    st.sidebar.title("Model")
    default_run(settings.checkpoints)  # says what to do where there is none
    runs = runs_in(settings.checkpoints)
    names = {run: "this folder's run" if run == settings.checkpoints else run.name for run in runs}
    own = [run for run in runs if run.name != "shipped"]
    run = st.sidebar.selectbox("Run", runs, index=runs.index((own or runs)[0]), format_func=lambda run: names[run])
    epochs = epochs_in(run)
    best = best_epoch(run)
    epoch = epochs[0]
    if len(epochs) > 1:
        epoch = st.sidebar.select_slider(
            "Epoch", epochs, value=best, help="Earlier epochs show what the model knew then."
        )
    path = model_path(run, epoch)
    changed = path.stat().st_mtime
    embeddings = cached_embeddings(path, changed)
    there = [split for split in ("val", "test", "train") if split in embeddings.splits]
    split = st.sidebar.selectbox(
        "Split",
        [*there, "all"],
        index=len(there) if run.name == "shipped" else 0,
        help="Validation and test photos were not trained on.",
    )
    content = cached_model(path, changed)[1]
    service = cached_service(path, changed, split, settings.images)
    left, right = st.sidebar.columns(2)
    left.metric("Photos", f"{len(service.names):,}")
    right.metric("Captions", f"{len(service.captions):,}")
    metrics = content["metrics"]
    if metrics:
        kind = "best epoch" if epoch == best else "epoch"
        st.sidebar.markdown(f"**Recall of this {kind}** on {int(metrics['images']):,} validation photos (per cent)")
        ways = (("Text → photos", "t2i"), ("Photo → captions", "i2t"))
        rows = {name: [f"{metrics[f'{way}_r{k}']:.1f}" for k in (1, 5, 10)] for name, way in ways}
        st.sidebar.table(pd.DataFrame(rows, index=["R@1", "R@5", "R@10"]))
    st.sidebar.caption(f"Recipe `{content['recipe']['name']}`, epoch {content['epoch']}")
    return path, changed, split


def card(hit: ImageHit) -> str:
    """Return one photo that was found, as HTML."""
    url = cached_thumbnail(hit.path)
    first = html.escape(hit.captions[0] if hit.captions else hit.name)
    picture = (
        f'<img src="{url}" alt="{first}" loading="lazy">' if url else f"<p>{html.escape(hit.name)} cannot be shown.</p>"
    )
    others = "".join(f"<li>{html.escape(caption)}</li>" for caption in hit.captions[1:])
    more = (
        f"<details><summary>{len(hit.captions) - 1} more captions</summary><ul>{others}</ul></details>"
        if others
        else ""
    )
    return f'<figure class="cm-card">{picture}<figcaption><span class="cm-score">{hit.score:.2f}</span>{first}{more}</figcaption></figure>'


def show_images(hits: list[ImageHit]) -> None:
    """Show photos as a grid, with score and captions."""
    if hits and not any(hit.path.is_file() for hit in hits):
        st.warning(
            f"The pictures are not in {hits[0].path.parent}; say where they are with: streamlit run app.py -- --images DIR"
        )
    st.markdown(f'<div class="cm-grid">{"".join(map(card, hits))}</div>', unsafe_allow_html=True)


def text_tab(service: SearchService) -> None:
    """Look up photos for a sentence."""
    query = st.text_input("What should be in the photo?", key="query", placeholder=EXAMPLES[0])
    columns = st.columns(len(EXAMPLES))
    for column, example in zip(columns, EXAMPLES, strict=True):
        column.button(
            example,
            key=f"example {example}",
            on_click=lambda text=example: st.session_state.update(query=text),
            width="stretch",
        )
    top_k = st.slider("How many photos", 1, 50, 10, key="how many photos")
    if "query" in st.session_state and query and not query.strip():
        st.warning("The query is empty; type a few words about the photo you are looking for.")
    elif query.strip():
        show_images(service.find_images(service.query(query), top_k))
    else:
        st.caption(
            "Type a sentence, or press one of the examples. The number on a photo is its similarity with the sentence."
        )


def photo_tab(service: SearchService, path: Path, changed: float) -> None:
    """Look up captions and similar photos for a photo."""
    upload = st.file_uploader("Drop or paste a photo", type=["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"])
    choices = ["Everyday scenes", "The gallery's own captions", "A text file of mine"]
    source = (
        st.segmented_control("Match with", choices, default=choices[0], help="A text file holds one caption a line.")
        or choices[0]
    )
    sentences: list[str] | None = None
    if source != choices[1]:
        sentences = everyday_scenes() if source == choices[0] else own_captions()
        if sentences is None:
            return
    if upload is None:
        st.caption(
            "You get the captions that fit best, and the most similar photos of the gallery. Your photo stays on this machine."
        )
        return
    among = None
    if sentences is not None:
        digest = hashlib.sha256("\n".join(sentences).encode()).hexdigest()
        among = cached_list(path, changed, digest, service, sentences)
    picture = load_picture(upload.getvalue(), at_least=448, name=upload.name)
    query = service.query(picture=picture)
    left, right = st.columns([2, 3], gap="large")
    left.image(picture, caption=upload.name, width="stretch")
    hits = service.find_captions(query, 10, among)
    best = max(0.01, max(hit.score for hit in hits))
    items = "".join(
        f'<li><i style="width:{100 * max(0, hit.score) / best:.0f}%"></i><span class="cm-score">{hit.score:.2f}</span><span>{html.escape(hit.caption)}</span></li>'
        for hit in hits
    )
    right.markdown(f'<ul class="cm-list">{items}</ul>', unsafe_allow_html=True)
    st.subheader("Similar photos")
    show_images(service.find_images(query, 10))


def own_captions() -> list[str] | None:
    """Return the lines of a text file that the user gives, or None before that."""
    file = st.file_uploader("Your captions, one a line", type=["txt"], key="captions")
    if file is None:
        return None
    try:
        return file.getvalue().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CrossmodalError(f"{file.name} is not UTF-8 text; save it as UTF-8 and try again.") from error


def learned_tab(service: SearchService, run: Path) -> None:
    """Show curves over epochs, and the similarities of a sample of pairs."""
    records = pd.DataFrame(results_of(run))
    if len(records) > 1:
        left, right = st.columns(2)
        recalls = {
            f"{way}_r{k}": f"{name} R@{k}"
            for way, name in (("t2i", "text → photo"), ("i2t", "photo → text"))
            for k in (1, 5, 10)
        }
        curves = records.rename(columns=recalls).melt("epoch", list(recalls.values()), "figure", "per cent")
        line = (
            alt.Chart(curves)
            .mark_line(point=True)
            .encode(
                x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
                y=alt.Y("per cent:Q", scale=alt.Scale(zero=False)),
                color="figure:N",
                tooltip=["figure", "epoch", "per cent"],
            )
        )
        left.markdown("**Recall on the validation photos**")
        left.altair_chart(line.interactive(), width="stretch")
        right.markdown("**Training loss**")
        losses = (
            alt.Chart(records.dropna(subset=["loss"]))
            .mark_line(point=True)
            .encode(
                x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
                y=alt.Y("loss:Q", scale=alt.Scale(zero=False)),
                tooltip=["epoch", "loss"],
            )
        )
        right.altair_chart(losses.interactive(), width="stretch")
    else:
        st.caption("This run has no results.jsonl with several epochs, so there are no curves to show.")
    st.markdown(
        "**Similarity of photos and captions**: a light diagonal means that each photo is closest to its own caption."
    )
    matrix, names, captions = service.similarities(30)
    cells = [
        {"photo": row, "caption": column, "similarity": round(matrix[row, column].item(), 3), "name": names[row], "text": captions[column]}
        for row in range(len(names)) for column in range(len(captions))
    ]  # fmt: skip
    heat = (
        alt.Chart(pd.DataFrame(cells))
        .mark_rect()
        .encode(
            x=alt.X("caption:O", axis=alt.Axis(labels=False, ticks=False)),
            y=alt.Y("photo:O", axis=alt.Axis(labels=False, ticks=False)),
            color=alt.Color("similarity:Q", scale=alt.Scale(scheme="viridis")),
            tooltip=["similarity", "name", "text"],
        )
    )
    st.altair_chart(heat.properties(height=520), width="stretch")


def page() -> None:
    """Lay out the page."""
    st.set_page_config("Photos and sentences", "🔎", layout="wide")
    st.markdown(STYLE, unsafe_allow_html=True)
    st.title("Photos and sentences")
    path, changed, split = side_bar(SETTINGS)
    note = cached_embeddings(path, changed).data.get("note")
    if note:
        st.markdown(
            f'<div class="cm-note">✏️ {html.escape(note)} Train on photos of yours to search those.</div>',
            unsafe_allow_html=True,
        )
    service = cached_service(path, changed, split, SETTINGS.images)
    tabs = st.tabs(["Text → photos", "Photo → captions", "What was learned"])
    contents = (
        partial(text_tab, service),
        partial(photo_tab, service, path, changed),
        partial(learned_tab, service, path.parent),
    )
    for tab, content in zip(tabs, contents, strict=True):
        with tab:
            try:
                content()
            except CrossmodalError as error:
                st.error(str(error))


SETTINGS = options()
try:
    page()
except CrossmodalError as error:
    st.error(str(error))
