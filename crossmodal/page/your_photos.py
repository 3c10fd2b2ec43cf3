"""The page's 'Your photos': choose a folder, watch it being indexed, search it, look closer."""

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import streamlit as st
from PIL import Image

from crossmodal.commands.photos import as_record, summary
from crossmodal.data.decoding import load_photo
from crossmodal.dual_encoder import DualEncoder
from crossmodal.errors import CrossmodalError
from crossmodal.files import shown
from crossmodal.page import indexing_job
from crossmodal.page.parts import PHOTO_FILES, cached_thumbnail, tab_content
from crossmodal.photos.gallery import PhotoLibrary
from crossmodal.photos.store import DATABASE, index_folder
from crossmodal.runs.opening import load_model
from crossmodal.search.explain import heat_map, overlaid, word_weights
from crossmodal.search.filters import ORIENTATIONS, Filters, date_of
from crossmodal.search.search import PhotoHit, PhotoQuery

COLUMNS = 5
LARGE = 1000
EVERY = 1.0  # seconds between looks at a run that is at work


@st.cache_resource(max_entries=2, show_spinner="Opening the index ...")
def _library(folder: Path, changed: tuple[float, ...]) -> PhotoLibrary:
    library = PhotoLibrary(folder)
    library.speed_up()
    return library


@st.cache_resource(max_entries=1, show_spinner="Loading the model ...")
def _model(checkpoint: Path, fingerprint: str) -> DualEncoder:
    model, content = load_model(checkpoint)
    if content["fingerprint"] != fingerprint:
        raise CrossmodalError(f"{checkpoint} is no longer the model that made this index.")
    return model


def open_library(photos: Path) -> PhotoLibrary | None:
    """Return the index of a folder as it is now, or None where there is none."""
    folder = index_folder(photos)
    files = [folder / f"{DATABASE}{end}" for end in ("", "-wal")]
    if not files[0].is_file():
        return None
    return _library(folder, tuple(file.stat().st_mtime for file in files if file.exists()))


def photo_filters(library: PhotoLibrary) -> tuple[Filters, bool, bool]:
    """Let the user narrow the search, in the side bar; return filters, whether by date, whether cut off."""
    with st.sidebar.expander("Your photos", expanded=True):
        folders = [folder for folder in library.folders() if folder]
        folder = st.selectbox("Folder", ["", *folders], format_func=lambda name: name or "all folders")
        days = [date.fromtimestamp(date_of(photo)) for photo in library.photos] or [date.today()]
        first, last = min(days), max(days)
        left, right = st.columns(2)
        after = left.date_input("Taken from", first, min_value=first, max_value=last)
        before = right.date_input("to", last, min_value=first, max_value=last)
        orientation = st.selectbox("Orientation", ["", *ORIENTATIONS], format_func=lambda name: name or "any")
        camera = st.selectbox("Camera", ["", *library.cameras()], format_func=lambda name: name or "any")
        megapixels = st.number_input("At least so many megapixels", 0.0, 100.0, 0.0, 1.0)
        by_date = st.segmented_control("Order", ["by score", "by date"], default="by score") == "by date"
        cut_off = st.toggle("Leave out what does not look like the sentence", value=True)
    filters = Filters(
        folder or None,
        after if after > first else None,
        before if before < last else None,
        megapixels or None,
        orientation or None,
        camera or None,
    )
    return filters, by_date, cut_off


@tab_content
def your_photos_tab(given: Path | None, checkpoint: Path) -> None:
    """Choose and index a folder; what can be searched already is searched below."""
    place = st.text_input(
        "Folder of your photos", str(given or ""), placeholder="/home/me/Photos", key="photos folder"
    ).strip()
    if not place:
        st.caption(
            "Type the path of a folder on this machine. Its photos stay there, and nothing leaves the machine; the index "
            "is written into a hidden folder beside them."
        )
        return
    photos = Path(place).expanduser()
    if not photos.is_dir():
        raise CrossmodalError(f"The folder of photos {place} is not there.")
    library = open_library(photos)
    if st.button("Index this folder" if library is None else "Bring the index up to date", key="index photos"):
        indexing_job.start(photos, checkpoint)
    _show_job(photos)
    if library is not None and library.photos:
        if st.session_state.get("filters of") != place:
            st.rerun()  # the side bar does not show this folder's filters yet
        _search(library)


@st.fragment(run_every=EVERY)
def _show_job(photos: Path) -> None:
    job = indexing_job.jobs().get(photos)
    if job is None:
        return
    if job.running:
        st.session_state["watched"] = True
        step = job.step
        if step is None:
            st.progress(0.0, "Looking through the folder ...")
        elif st.session_state.get("filters of") is None:
            st.rerun()  # the first photos can be searched
        else:
            left = step.seconds_left
            st.progress(
                step.photos / max(1, step.photos_in_all),
                f"{step.photos:,} of {step.photos_in_all:,} photos, {step.photos_per_second:.0f} a second, "
                f"{step.bytes / 1e9:.2f} of {step.bytes_in_all / 1e9:.2f} GB, {left:.0f} s left. What is done can be searched.",
            )
    elif job.error:
        st.error(job.error)
    elif job.changes is not None:
        library = open_library(photos)
        st.success(summary(job.changes, len(library.photos) if library else 0, Counter(job.changes.skipped.values())))
        if st.session_state.pop("watched", False):
            st.rerun()  # the rest of the page shows what is new


def _search(library: PhotoLibrary) -> None:
    filters, by_date, cut_off = st.session_state["photo filters"]
    text = st.text_input("What should be in the photo?", key="photo query", placeholder="two dogs + snow - people")
    with st.expander("Search by a photo too"):
        upload = st.file_uploader("Drop or paste a photo", type=PHOTO_FILES, key="photo to look like")
        weight = st.slider("Weight of the photo beside the words", 0.1, 3.0, 1.0, 0.1, key="photo weight")
    top_k = st.slider("How many photos", 5, 100, 20, 5, key="how many of mine")
    like = st.session_state.get("like")
    if like is not None:
        st.info(f"Photos like {shown(like)}.")
        if st.button("Back to the words", key="no longer like"):
            del st.session_state["like"]
            st.rerun(scope="fragment")
    if not text.strip() and upload is None and like is None:
        st.caption(
            f"{len(library.photos):,} photos can be searched; the search is {library.kind}. Terms may be added and taken away (dog + beach - people) "
            "and weighted (2:dog + cat)."
        )
        return
    photo = library.encode_photo(upload.getvalue(), upload.name) if upload else None
    query = library.query("" if like else text, photo, weight, like)
    hits = library.search(query, top_k, filters, by_date, cut_off)
    if not hits:
        st.info("Nothing here looks like that. Other words, fewer filters, or the switch in the side bar may help.")
        return
    _downloads(hits)
    _grid(library, hits, query, text)


def _grid(library: PhotoLibrary, hits: Sequence[PhotoHit], query: PhotoQuery, text: str) -> None:
    columns = st.columns(COLUMNS)
    for number, hit in enumerate(hits):
        with columns[number % COLUMNS]:
            url = cached_thumbnail(hit.path)
            if url:
                st.image(url, width="stretch")
            else:
                st.caption(f"{hit.name} cannot be shown.")
            copies = len(hit.exact_copies) + len(hit.similar_copies)
            label = f"{hit.score:.2f}{f' · {copies} copies' if copies else ''}"
            if st.button(label, key=f"open {hit.photo.slot}", help=hit.name, width="stretch"):
                _look_closer(library, hit, query, text)


@st.dialog("Photo", width="large")
def _look_closer(library: PhotoLibrary, hit: PhotoHit, query: PhotoQuery, text: str) -> None:
    try:
        photo = load_photo(hit.path, at_least=LARGE)
    except CrossmodalError as error:
        st.error(str(error))
        return
    left, right = st.columns([3, 2], gap="medium")
    with right:
        why = st.toggle("Why it matched", help="Brighter and warmer is where the photo is more like the query.")
        _data(hit)
        if why and query.sentence and text.strip():
            _words(library, hit, text.strip())
        if st.button("Search for photos like this one", key="like this one"):
            st.session_state["like"] = hit.photo.found.path
            st.rerun()
    with left:
        st.image(_looked_at(library, photo, query) if why else photo, width="stretch")
    similar = library.search(library.query(like=hit.photo.found.path), COLUMNS + 1)
    urls = [cached_thumbnail(other.path) for other in similar if other.photo != hit.photo][:COLUMNS]
    st.caption("Similar photos")
    for column, url in zip(st.columns(COLUMNS), urls, strict=False):
        if url:
            column.image(url, width="stretch")


def _data(hit: PhotoHit) -> None:
    record = as_record(hit)
    said = datetime.fromisoformat(record["date"]).strftime("%d %B %Y, %H:%M")
    lines = [
        hit.name,
        f"{said}{'' if hit.photo.described.taken else ' (the file)'}",
        f"{record['width']} x {record['height']} pixels, {record['bytes'] / 1e6:.1f} MB",
        record["camera"],
        f"similarity {hit.score:.3f}",
    ]
    st.text("\n".join(line for line in lines if line))
    for title, copies in (("The same file", hit.exact_copies), ("Copies of it", hit.similar_copies)):
        if copies:
            st.text(f"{title}: {', '.join(copies)}")


def _looked_at(library: PhotoLibrary, photo: Image.Image, query: PhotoQuery) -> Image.Image:
    """Return a photo with the heat map of a query over it, or as it is where there is none."""
    try:
        model = _model(Path(library.meta["checkpoint"]), library.meta["fingerprint"])
        prepare = model.preparation
        return overlaid(photo, heat_map(model, photo, query.vector), prepare.resize, prepare.crop_share)
    except CrossmodalError as error:
        st.caption(f"There is no heat map: {error}")
        return photo


def _words(library: PhotoLibrary, hit: PhotoHit, sentence: str) -> None:
    weights = word_weights(library.runtime.encode_sentences, sentence, library.vector(hit.photo.found.path))
    frame = pd.DataFrame(
        {"word": [f"{n} {word}" for n, (word, _) in enumerate(weights, start=1)], "weight": [w for _, w in weights]}
    )
    st.caption("How much the similarity falls without each word")
    st.bar_chart(frame, x="word", y="weight", horizontal=True, sort=False, height=40 + 30 * len(weights))


def _downloads(hits: Sequence[PhotoHit]) -> None:
    left, right, _ = st.columns([1, 1, 3])
    left.download_button("Download as ZIP", lambda: zipped(hits), "photos.zip", on_click="ignore", key="zip")
    right.download_button("Download as CSV", lambda: as_csv(hits), "photos.csv", on_click="ignore", key="csv")


def zipped(hits: Sequence[PhotoHit]) -> bytes:
    """Return the photos in one archive, each under its path from the root; what vanished is left out."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # photos are compressed already
        for hit in hits:
            if hit.path.is_file():
                archive.writestr(hit.name, hit.path.read_bytes())
    return file.getvalue()


def as_csv(hits: Sequence[PhotoHit]) -> str:
    """Return what is known of the photos, one a row."""
    file = io.StringIO()
    records = [{**as_record(hit), "exact_copies": "; ".join(hit.exact_copies),
                "similar_copies": "; ".join(hit.similar_copies)} for hit in hits]  # fmt: skip
    writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()
