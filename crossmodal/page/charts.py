"""Charts that can be clicked."""

from typing import Any

import streamlit as st


def clicked(chart: Any, key: str, selection: str) -> dict[str, Any] | None:
    """Show a chart of Altair; return what was clicked in it just now, by the fields of its selection, else None."""
    # Another chart once something was clicked, since a selection stays, and would not be clicked again.
    state: Any = st.altair_chart(
        chart, width="stretch", on_select="rerun", selection_mode=selection,
        key=f"{key} {st.session_state.setdefault(key, 0)}",
    )  # fmt: skip
    points = state["selection"].get(selection)
    if not points:
        return None
    st.session_state[key] += 1
    first: dict[str, Any] = points[0]
    return first
