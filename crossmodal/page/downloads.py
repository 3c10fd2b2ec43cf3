"""What was found, to take away: the photos as a ZIP file, what is known of them as CSV."""

import io
import zipfile
from collections.abc import Sequence

import streamlit as st

from crossmodal.data.names import safe_names
from crossmodal.search.hit import Hit, as_csv


def downloads(hits: Sequence[Hit]) -> None:
    """Offer both; they are made when they are asked for."""
    st.download_button("Photos (ZIP)", lambda: zipped(hits), "photos.zip", on_click="ignore", key="zip")
    st.download_button(
        "List (CSV)", lambda: as_csv([hit.plain() for hit in hits]), "photos.csv", on_click="ignore", key="csv"
    )


def zipped(hits: Sequence[Hit]) -> bytes:
    """Return the photos in one archive, each under its path from the root in a form that Windows can store; what vanished is left out."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # photos are compressed already
        there = [hit for hit in hits if hit.path.is_file()]
        for hit, name in zip(there, safe_names(hit.name for hit in there), strict=True):
            archive.writestr(name, hit.path.read_bytes())
    return file.getvalue()
