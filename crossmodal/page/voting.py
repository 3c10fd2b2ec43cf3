"""The blind vote that `compare --photos` prepares: two models' first photos for a query, side by side without names."""

from pathlib import Path

import streamlit as st

from crossmodal.errors import CrossmodalError
from crossmodal.evaluation.votes import NEITHER, SIDES, Ballot, cast, read_ballot
from crossmodal.page.large_view import as_text
from crossmodal.page.photo_files import url_of
from crossmodal.search.ids import opaque_id, secret_key

STYLE = """<style>
.cm-vote {display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .5rem; list-style: none; margin: 0 !important; padding: 0 !important}
.cm-vote li {margin: 0 !important; font-size: .8rem}
.cm-vote img {width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: .45rem; display: block}
</style>"""


def voting(photos: Path, file: Path) -> None:
    """Ask the next question of the ballot in `file`, whose photos lie below `photos`; after the last show the count."""
    try:
        ballot = read_ballot(file)
        number = ballot.next
        if number < len(ballot.questions):
            _ask(ballot, number, photos, file)
        else:
            _count(ballot, file)
        if number and st.button("Take the last vote back", type="tertiary"):
            cast(file, number - 1, "")
            st.rerun()
    except CrossmodalError as error:
        st.error(as_text(str(error)))


def _ask(ballot: Ballot, number: int, photos: Path, file: Path) -> None:
    question = ballot.questions[number]
    many = len(ballot.questions)
    st.caption(f"Query {number + 1} of {many}. Which model is on which side is drawn at random for each query.")
    st.subheader(as_text(question.query), anchor=False)
    st.html(STYLE)
    votes: dict[str, bool] = {}
    for column, side in zip(st.columns(2, gap="large"), SIDES, strict=True):
        with column:
            _show(photos, question.side(side), side)
            votes[side] = st.button(f"The {side} photos fit better", key=f"{side} {number}", width="stretch")
    votes[NEITHER] = st.button("Neither fits better", key=f"{NEITHER} {number}", width="stretch")
    for vote, pressed in votes.items():
        if pressed:
            cast(file, number, vote)
            st.rerun()


def _show(photos: Path, paths: tuple[str, ...], side: str) -> None:
    key, tiles = secret_key(), []
    for rank, path in enumerate(paths, start=1):
        url = url_of(opaque_id(photos / path, key), photos / path)
        alt = f"Photo {rank} of the {side} ones"
        tiles.append(f'<img src="{url}" alt="{alt}">' if url else f"{alt} is not there any more.")
    st.html(f'<ol class="cm-vote">{"".join(f"<li>{tile}</li>" for tile in tiles)}</ol>')


def _count(ballot: Ballot, file: Path) -> None:
    st.subheader("The count", anchor=False)
    st.markdown("  \n".join(map(as_text, ballot.summary())))
    st.table(
        [
            {
                "Query": as_text(one.query),
                "Vote": as_text("Neither" if one.winner is None else ballot.models[one.winner]),
            }
            for one in ballot.questions
        ]
    )
    st.caption(as_text(f"The votes are kept in {file}; remove it to vote again."))
