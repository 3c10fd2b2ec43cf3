"""What the page's tabs share."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import streamlit as st

from crossmodal.errors import CrossmodalError
from crossmodal.search.thumbnails import data_url

P = ParamSpec("P")
PHOTO_FILES = "jpg jpeg png webp gif bmp tif tiff heic heif avif".split()


@st.cache_data(max_entries=5000, show_spinner=False)
def cached_thumbnail(path: Path) -> str | None:
    """Return a small photo, or None where the file cannot be shown."""
    return data_url(path)


def tab_content(content: Callable[P, None]) -> Callable[P, None]:
    """Run a tab alone when something in it changes, and say there what went wrong."""

    @st.fragment
    @wraps(content)
    def shown(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            content(*args, **kwargs)
        except CrossmodalError as error:
            st.error(str(error))

    return shown
