"""The page: type a sentence and see photos, drop a photo and read captions.

streamlit run app.py
streamlit run app.py -- --checkpoints DIR --images DIR
streamlit run app.py -- --photos DIR
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from crossmodal.data.decoding import load_photo
from crossmodal.data.everyday import everyday_scenes
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.embeddings import Embeddings, model_path
from crossmodal.errors import CrossmodalError
from crossmodal.evaluation.charts import loss_curve, recall_curves, similarity_chart
from crossmodal.page.cards import PASTE, STYLE, caption_bars, note, photo_grid
from crossmodal.page.parts import PHOTO_FILES, cached_thumbnail, tab_content
from crossmodal.page.your_photos import open_library, photo_filters, your_photos_tab
from crossmodal.progress import Advance
from crossmodal.runs.folder import best_epoch, epochs_in, results_of, runs_in
from crossmodal.runs.opening import default_run, load_model, open_embeddings
from crossmodal.search.filters import Filters
from crossmodal.search.service import CaptionList, ImageHit, SearchService

ROOT = Path(__file__).resolve().parent
NO_FILTERS = (Filters(), False, True)
EXAMPLES = ("two dogs in the snow", "a red car on a street", "a boat on a lake at sunset", "children playing in a park")


def options() -> argparse.Namespace:
    """Read what stands after `--` on the command line."""
    parser = argparse.ArgumentParser(prog="streamlit run app.py --")
    parser.add_argument("--checkpoints", type=Path, default=ROOT / "model-checkpoints", help="folder of runs")
    parser.add_argument("--images", type=Path, help="folder of the photos, if they were moved")
    parser.add_argument("--photos", type=Path, help="folder of photos of one's own, to index and search")
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


def show_images(hits: list[ImageHit]) -> None:
    """Show photos as a grid, with score and captions."""
    if hits and not any(hit.path.is_file() for hit in hits):
        st.warning(
            f"The photos are not in {hits[0].path.parent}; say where they are with: streamlit run app.py -- --images DIR"
        )
    st.markdown(photo_grid(hits, [cached_thumbnail(hit.path) for hit in hits]), unsafe_allow_html=True)


@tab_content
def text_tab(service: SearchService) -> None:
    """Look up photos for a sentence."""
    query = st.text_input("What should be in the photo?", key="query", placeholder=EXAMPLES[0])
    with st.container(horizontal=True):
        for example in EXAMPLES:
            st.button(
                example,
                key=f"example {example}",
                on_click=lambda text=example: st.session_state.update(query=text),
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


@tab_content
def photo_tab(service: SearchService, path: Path, changed: float) -> None:
    """Look up captions and similar photos for a photo."""
    upload = st.file_uploader("Drop or paste a photo", type=PHOTO_FILES, key="photo")
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
    photo = load_photo(upload.getvalue(), at_least=448, name=upload.name)
    query = service.query(photo=photo)
    left, right = st.columns([2, 3], gap="large")
    left.image(photo, caption=upload.name, width="stretch")
    right.markdown(caption_bars(service.find_captions(query, 10, among)), unsafe_allow_html=True)
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


@tab_content
def learned_tab(service: SearchService, run: Path) -> None:
    """Show curves over epochs, and the similarities of a sample of pairs."""
    records = results_of(run)
    if len(records) > 1:
        left, right = st.columns(2)
        left.markdown("**Recall on the validation photos**")
        left.altair_chart(recall_curves(records, best_epoch(run)), width="stretch")
        right.markdown("**Training loss**")
        right.altair_chart(loss_curve(records, best_epoch(run)), width="stretch")
    else:
        st.caption("This run has no results.jsonl with several epochs, so there are no curves to show.")
    st.markdown(
        "**Similarity of photos and captions**: a light diagonal means that each photo is closest to its own caption."
    )
    st.altair_chart(similarity_chart(*service.similarities(30)), width="stretch")


def page() -> None:
    """Lay out the page."""
    st.set_page_config("Photos and sentences", "🔎", layout="wide")
    st.markdown(STYLE, unsafe_allow_html=True)
    st.html(PASTE, unsafe_allow_javascript=True)
    st.title("Photos and sentences")
    path, changed, split = side_bar(SETTINGS)
    drawn = cached_embeddings(path, changed).data.get("note")
    if drawn:
        st.markdown(note(f"{drawn} Train on photos of yours to search those."), unsafe_allow_html=True)
    service = cached_service(path, changed, split, SETTINGS.images)
    names = ["Text → photos", "Photo → captions", "What was learned", "Your photos"]
    texts, photos, learned, own = st.tabs(names, default=names[3] if SETTINGS.photos else names[0])
    with texts:
        text_tab(service)
    with photos:
        photo_tab(service, path, changed)
    with learned:
        learned_tab(service, path.parent)
    chosen = st.session_state.get("photos folder", str(SETTINGS.photos or "")).strip()
    library = open_library(Path(chosen).expanduser()) if chosen else None
    st.session_state["filters of"] = chosen if library else None
    st.session_state["photo filters"] = photo_filters(library) if library else NO_FILTERS
    with own:
        your_photos_tab(SETTINGS.photos, path)


SETTINGS = options()
try:
    page()
except CrossmodalError as error:
    st.error(str(error))
