"""What a session asks for, as it stands in the page's address: a reload or a sent link shows the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Any

import streamlit as st

from crossmodal.search.filters import Filters, filters_on
from crossmodal.search.query import HEAVIEST, LIGHTEST_PHOTO

COUNTS = (10, 20, 50, 100)
BEST = -1  # the epoch that is shown unless another is asked for; 0 is the head start
ADDRESS = "address"  # in the session: what the page was last laid out for, or last changed to
QUESTION = frozenset({"words", "picture", "like", "gallery", "folder", "run"})  # photos are judged for one of these
FILTER = "filter-"  # begins the names of filters, since "folder" is a filter and a gallery's folder


@dataclass(frozen=True)
class Asked:
    """The whole state of a search; a field left at its default does not stand in the address."""

    gallery: str = ""  # val, all, sample, folder or milvus; "" is the default one
    folder: str = ""  # of photos
    run: str = ""
    epoch: int = BEST
    words: str = ""
    picture: str = ""  # the token of a picture that was dropped or pasted
    weight: float = 1.0  # of the picture beside the words
    like: str = ""  # the id of a photo
    more: str = ""  # the ids of photos to find more like, with commas between them
    less: str = ""  # and of those to find fewer like
    count: int = 20
    weaker: bool = False  # also photos that hardly look like the query
    by_date: bool = False
    tab: str = ""  # the name of any but the first
    photo: str = ""  # the id of the one that is open in the large view
    filters: Mapping[str, str] = field(default_factory=dict)

    @property
    def nothing(self) -> bool:
        """Whether nothing is looked for."""
        return not (self.words.strip() or self.picture or self.like)

    @property
    def judged(self) -> tuple[list[str], list[str]]:
        """The ids of photos to find more like, and of those to find fewer like."""
        more, less = ([one for one in ids.split(",") if one] for ids in (self.more, self.less))
        return more, less

    def as_filters(self) -> Filters:
        """Return the filters; a value that nobody can have chosen is left out."""
        kinds = {kind.name: kind.kind for kind in filters_on()}
        values: dict[str, Any] = {}
        for name, text in self.filters.items():
            try:
                if kinds[name] == "day":
                    values[name] = date.fromisoformat(text)
                else:
                    values[name] = float(text) if kinds[name] == "number" else text
            except (KeyError, ValueError):
                continue
        return Filters(**values)


PLAIN = [one for one in fields(Asked) if one.name != "filters"]


def asked() -> Asked:
    """Read the address, at the start of a run; what it says wrongly is left out."""
    st.session_state[ADDRESS] = st.query_params.to_dict()
    return current()


def current() -> Asked:
    """Return what is asked for now, as it was changed since the start of the run."""
    return _parsed(st.session_state[ADDRESS])


def _parsed(address: Mapping[str, str]) -> Asked:
    values: dict[str, Any] = {}
    for one in PLAIN:
        text = address.get(one.name, "")
        try:
            values[one.name] = _read(one.default, text) if text else one.default
        except ValueError:
            continue
    values["weight"] = max(LIGHTEST_PHOTO, min(values.get("weight", Asked.weight), HEAVIEST))
    values["count"] = max(1, min(values.get("count", Asked.count), COUNTS[-1]))
    filters = {name.removeprefix(FILTER): text for name, text in address.items() if name.startswith(FILTER)}
    return Asked(**values, filters=filters)


def _read(default: Any, text: str) -> Any:
    return text == "1" if isinstance(default, bool) else type(default)(text)


def change(**changes: Any) -> None:
    """Ask for something else: a new entry in the browser's history.

    What was open in the large view is closed by it, and judgements of photos are those of one question.
    """
    forgotten = {"more": "", "less": ""} if QUESTION & changes.keys() else {}
    now = replace(current(), **{"photo": "", **forgotten, **changes})
    said = {one.name: value for one in PLAIN if (value := getattr(now, one.name)) != one.default}
    texts = {name: "1" if value is True else str(value) for name, value in said.items()}
    st.session_state[ADDRESS] = texts | {f"{FILTER}{name}": text for name, text in now.filters.items()}
    st.query_params.from_dict(st.session_state[ADDRESS])


def judge(photo_id: str, side: str) -> None:
    """Ask for more, or less, like a photo; one that was judged before changes sides."""
    more, less = ([one for one in ids if one != photo_id] for ids in current().judged)
    (more if side == "more" else less).append(photo_id)
    change(more=",".join(more), less=",".join(less))


def run_again() -> None:
    """Lay the page out again from a part of it that runs by a timer.

    Such a run may have left the browser before the last change reached it, and come with the address before that.
    """
    if st.query_params.to_dict() != st.session_state[ADDRESS]:
        st.query_params.from_dict(st.session_state[ADDRESS])
    st.rerun()


def bound(name: str, value: Any, changes: Callable[[Any], dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return the arguments that keep a widget and the address at one.

    The widget shows `value`, which comes from the address; what is chosen in it is asked for, by default as `name`.
    """
    key = f"asked {name}"
    # Each time: a run that is overtaken by another may never reach the browser. What is being typed is not lost by it.
    st.session_state[key] = value

    def chosen() -> None:
        change(**(changes(st.session_state[key]) if changes else {name: st.session_state[key]}))

    return {"key": key, "on_change": chosen}
