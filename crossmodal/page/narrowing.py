"""Narrowing a search by when and where: the photos of each month and place, counted, to be chosen from."""

from collections.abc import Collection, Mapping

import streamlit as st

from crossmodal.page.address import Asked, bound, change
from crossmodal.page.charts import clicked, place_chart, time_chart
from crossmodal.page.large_view import as_text
from crossmodal.search.facets import Facet
from crossmodal.search.search import Search
from crossmodal.search.typed import DATE_KIND, Understood, facet_typed, without

MOST_MONTHS = 36  # from the first to the last; more are shown as years
MOST_PLACES = 30
KINDS: Mapping[Facet, Collection[str]] = {"month": (DATE_KIND, "after", "before"), "place": ("place",)}


def narrowing(search: Search, asked: Asked) -> None:
    """Show how many of the photos that pass are of each month and place; a choice becomes a filter in the words."""
    if not (search.facet("month") or search.facet("place")):
        return
    section = st.expander("When and where", key="when and where", on_change="rerun")
    if not section.open:
        return
    understood = search.understood(asked.words) if asked.words.strip() else Understood()
    filters = understood.within(asked.as_filters())
    times = spans(search.facet("month", filters))
    passing = search.count(None, filters)
    places = {name: many for name, many in search.facet("place", filters).items() if many < passing}
    spots = search.spots(filters)

    def narrow(facet: Facet, value: str) -> None:
        change(words=_narrowed(asked, understood, facet, value), weaker=False)
        st.rerun()

    with section:
        if len(times) > 1 and (month := clicked(time_chart(times), "months", "when")) and times.get(month["when"]):
            narrow("month", month["when"])
        if len(spots) > 1 and (spot := clicked(place_chart(spots), "map of places", "place")):
            narrow("place", spot["place"])
        if places:
            st.pills(
                "Where", list(places)[:MOST_PLACES], format_func=lambda name: f"{as_text(name)} ({places[name]:,})",
                **bound("where", None, lambda name: {"words": _narrowed(asked, understood, "place", name)}),
            )  # fmt: skip
        if len(times) <= 1 and not places:
            st.caption("There is nothing to narrow these photos by.")


def spans(months: Mapping[str, int]) -> dict[str, int]:
    """Return the photos of each month from the first to the last, or of each year where these are many."""
    if not months:
        return {}
    first, last = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (min(months), max(months)))
    if last - first < MOST_MONTHS:
        names = [f"{month // 12}-{month % 12 + 1:02}" for month in range(first, last + 1)]
        return {name: months.get(name, 0) for name in names}
    years = dict.fromkeys((str(year) for year in range(first // 12, last // 12 + 1)), 0)
    for month, many in months.items():
        years[month[:4]] += many
    return years


def _narrowed(asked: Asked, understood: Understood, facet: Facet, value: str | None) -> str:
    """Return the words with a month or a place in place of those that stand there."""
    if value is None:
        return asked.words
    replaced = [piece for piece in understood.pieces if piece.kind in KINDS[facet]]
    return f"{without(asked.words, replaced)} {facet_typed(facet, value)}".strip()
