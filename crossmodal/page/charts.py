"""Charts that can be clicked: photos over time, and on a map."""

from collections.abc import Mapping, Sequence
from math import cos, radians
from typing import Any

import streamlit as st

from crossmodal.photos.place_names import large_towns
from crossmodal.search.facets import Spot

BARS, MAP = 190, 360  # heights, pixels, with what is written below the bars
LEAST, SPARE = 0.25, 1.3  # of a map: degrees from its middle to its north, and its size beside what the places span
WIDE = 2.8  # times its height
TOWNS = 1500  # on a map, which has no coasts: the towns show where there is land


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


def time_chart(times: Mapping[str, int]) -> Any:
    """Chart photos over months or years; a click anywhere above one selects it, as `when`."""
    import altair as alt  # which a search does without
    import pandas as pd

    base = alt.Chart(pd.DataFrame({"when": list(times), "photos": list(times.values())})).encode(
        x=alt.X("when:O", title=None, axis=alt.Axis(labelOverlap=True)), tooltip=["when:O", "photos:Q"]
    )
    background = base.mark_bar(opacity=0.06).encode(y=alt.value(0), y2=alt.value("height"))
    bars = base.mark_bar().encode(y=alt.Y("photos:Q", title="photos", axis=alt.Axis(tickMinStep=1, tickCount=3)))
    selection = alt.selection_point(name="when", fields=["when"])
    return (background.add_params(selection) + bars).properties(height=BARS)


def place_chart(spots: Sequence[Spot]) -> Any:
    """Chart places on a map that asks nothing of a network; a click selects one, as `place`."""
    import altair as alt
    import pandas as pd

    towns = pd.DataFrame(large_towns(*_frame(spots), TOWNS), columns=["latitude", "longitude"])
    land = alt.Chart(towns).mark_circle(size=6, color="#888888", opacity=0.35)
    places = alt.Chart(pd.DataFrame(spots).rename(columns={"name": "place"})).mark_circle(opacity=0.8, color="#2e7dd2")
    places = places.encode(
        size=alt.Size("photos:Q", scale=alt.Scale(range=[60, 900]), legend=None), tooltip=["place:N", "photos:Q"]
    )
    layers = [layer.encode(longitude="longitude:Q", latitude="latitude:Q") for layer in (land, places)]
    layers[1] = layers[1].add_params(alt.selection_point(name="place", fields=["place"]))
    return alt.layer(*layers).project("mercator").properties(height=MAP)


def _frame(spots: Sequence[Spot]) -> tuple[float, float, float, float]:
    """Return the south, west, north and east of a map around places, about as wide and high as it is shown."""
    latitudes, longitudes = [spot.latitude for spot in spots], [spot.longitude for spot in spots]
    south, north, west, east = min(latitudes), max(latitudes), min(longitudes), max(longitudes)
    middle, across = (south + north) / 2, cos(radians((south + north) / 2))  # of a degree, east to west
    half = max(LEAST, SPARE * (north - south) / 2, SPARE * (east - west) / 2 * across / WIDE)
    wide = half * WIDE / max(across, 0.1)
    sides = middle - half, (west + east) / 2 - wide, middle + half, (west + east) / 2 + wide
    return round(sides[0], 1), round(sides[1], 1), round(sides[2], 1), round(sides[3], 1)
