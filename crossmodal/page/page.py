"""The page laid out: the gallery and the search, what was found, what was learned, the large view."""

import contextlib
import gc
import html
import sys
import threading
import traceback

import streamlit as st

from crossmodal.errors import CrossmodalError
from crossmodal.page.address import Asked, asked, bound, current
from crossmodal.page.background import drawing, indexing, want, watch
from crossmodal.page.controls import choose_filters, choose_folder, choose_gallery, model_section, offer_others
from crossmodal.page.folder import index_button, index_section
from crossmodal.page.galleries import Chosen, Opened, chosen, opening, opening_of_run, own_run, own_runs
from crossmodal.page.large_view import Results, large_view
from crossmodal.page.learning import learning_section
from crossmodal.page.options import SHIPPED, Options, options
from crossmodal.page.results import ask, show
from crossmodal.page.voting import voting
from crossmodal.places import TRAIN
from crossmodal.runs.folder import epochs_in
from crossmodal.search.filters import filters_on

TABS = {"": "Search", "learned": "What was learned"}  # by their names in the address
PATIENCE = 0.4  # seconds to wait for a gallery before its bar is shown
STYLE = """<style>
.block-container {padding-top: 2.2rem; max-width: 1240px}
h1 {font-size: 1.75rem !important; padding: 0 0 .2rem !important}
.st-key-asked-words {min-width: min(100%, 20rem)}
.cm-note {margin: 0; padding: .5rem .9rem; border-radius: .6rem; background: rgba(240,160,40,.17); font-size: .9rem}
.cm-captions {margin: 0 !important; padding-left: 1.1rem; font-size: .92rem; line-height: 1.5}
.cm-data {padding: 0 !important; display: grid; grid-template-columns: max-content 1fr; gap: .2rem .9rem; margin: 0 !important; font-size: .9rem}
.cm-data dt {opacity: .75} .cm-data dd {margin: 0 !important; overflow-wrap: anywhere}
</style>"""

# Torch and what comes with it make hundreds of thousands of objects that stay: to look for garbage among them again and again
# takes a tenth of the time to the first answer.
gc.set_threshold(200_000, 50, 1000)


def page() -> None:
    """Lay out the page, whatever was asked for."""
    st.set_page_config("Photos and sentences", "🔎", layout="wide")
    st.html(STYLE)
    st.title("Photos and sentences", anchor=False)
    try:
        settings = options(sys.argv[1:])
    except CrossmodalError as error:
        settings = Options(unknown=str(error))
    if settings.unknown:
        st.warning(settings.unknown)
    if settings.votes and settings.photos:
        return voting(settings.photos, settings.votes)
    now = asked()
    try:
        choice = chosen(now, settings)
    except CrossmodalError as error:
        st.error(str(error))
        offer_others(now, "")
        return
    if settings.checkpoints != Options.checkpoints and not own_runs(settings):
        st.warning(
            f"There is no checkpoint in {settings.checkpoints}; train one with `{TRAIN}`. Until then you can "
            "use the shipped model on the drawn sample, or on a folder of yours."
        )
    search_tab, learned_tab = st.tabs(
        list(TABS.values()), **bound("tab", TABS.get(now.tab, TABS[""]), lambda title: {"tab": _tab_of(title)})
    )
    found = Results()
    with search_tab:
        opened = _search(now, choice, settings)
        if opened and search_tab.open:
            found = _results(now, choice, opened, settings)
    if learned_tab.open:
        with learned_tab:
            _learned(choice, settings)
    _large(choice, settings, opened, found)


def _tab_of(title: str) -> str:
    return next((name for name, one in TABS.items() if one == title), "")


def say_error(error: Exception) -> bool:
    """Show one sentence for an unexpected error; the traceback goes to the log."""
    traceback.print_exception(error)
    st.error(
        f"Something went wrong on this page ({type(error).__name__}); its log says more. Reload the page to try again."
    )
    return True


def warm_up() -> None:
    """Begin to open the default gallery when the server starts, before the first visitor comes."""

    def begin() -> None:
        with contextlib.suppress(CrossmodalError):  # the page says what is wrong
            settings = options(sys.argv[1:])
            if settings.votes:
                return
            choice = chosen(Asked(), settings)
            work = opening(choice, settings)
            if work and work.result() and choice.name == "sample":
                drawing()

    # The server comes first: imports in another thread would hold it up.
    threading.Timer(0.5, begin).start()


def _search(now: Asked, choice: Chosen, settings: Options) -> Opened | None:
    """Lay out the controls; return the gallery once it is open."""
    choose_gallery(choice.name, own_run(now, settings), settings)
    if choice.name == "folder":
        with st.container(horizontal=True, vertical_alignment="bottom"):
            choose_folder(now, settings)
            if choice.folder and choice.folder.is_dir():
                place, model = settings.index_of(choice.folder), settings.model or choice.checkpoint
                instead = SHIPPED if not settings.model and epochs_in(SHIPPED) else None
                index_button(choice.folder, place, model, settings.weights, instead)
    ask(now)
    try:
        work = opening(choice, settings)
        busy = bool(choice.folder and (run := indexing(choice.folder)) and not run.finished)
        opened = work.result(5.0 if busy else PATIENCE) if work else None
    except CrossmodalError as error:
        st.error(str(error))
        offer_others(now, choice.name)
        return None
    left, right = st.columns(2) if opened and filters_on(opened.about.fields) else (st.empty(), st.container())
    if opened:
        with left:
            choose_filters(now, opened.gallery)
    with right:
        model_section(choice, opened, settings)
    if choice.folder:
        index_section(choice.folder, settings.index_of(choice.folder), work.seconds if work else 0.0)
    elif choice.name == "folder":
        st.caption("Type the path of a folder of photos. It needs no captions and no training.")
    if work and not opened:
        watch(work)
    return opened


def _results(now: Asked, choice: Chosen, opened: Opened, settings: Options) -> Results:
    absent = "The file is not there"
    if opened.about.note:
        own = "To search photos of your own, choose “A folder of yours” above: that needs no training."
        st.html(f'<p class="cm-note">✏️ {html.escape(opened.about.note)} {own}</p>')
    sample = drawing() if choice.name == "sample" else None
    if sample:
        absent = "Not drawn yet"
        watch(sample, 1.5)
        if sample.error:
            st.error(str(sample.error))
    try:
        search = opened.search("val" if choice.name == "val" else "all")
        found = show(opened, search, now, absent)
        if sample:
            want(found.hits)
        if choice.folder and search.gallery.about.own_captions:
            learning_section(search, opened.maker, choice.folder, settings, found.hits)
        return found
    except CrossmodalError as error:
        st.error(str(error))
        return Results()


def _learned(choice: Chosen, settings: Options) -> None:
    from crossmodal.page.learned import learned  # brings charts, which a search does without

    try:
        work = opening_of_run(choice, settings)
        if work is None:
            st.caption("No run has been trained here yet.")
            return
        opened = work.result(PATIENCE)
        if opened is None:
            watch(work)
            return
        learned(opened)
    except CrossmodalError as error:
        st.error(str(error))


def _large(choice: Chosen, settings: Options, opened: Opened | None, found: Results) -> None:
    """Show the photo that is open, if one is, in the gallery that it is of."""
    now = current()
    if not now.photo:
        return
    if now.tab:  # of the run's photos, whatever is searched
        run = None
        with contextlib.suppress(CrossmodalError):  # which the tab says
            work = opening_of_run(choice, settings)
            run = work.result(PATIENCE) if work else None
        if run:
            large_view(
                run.search(), run.maker, "all" if choice.run and choice.name != "sample" else "sample", Results()
            )
    elif opened:
        large_view(opened.search("val" if choice.name == "val" else "all"), opened.maker, choice.name, found)
