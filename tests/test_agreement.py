"""Human judgements: the published formats, and tau-c by hand."""

from pathlib import Path

import pytest

from crossmodal.data.captions import captions_by_number
from crossmodal.errors import CaptionsError, CrossmodalError
from crossmodal.evaluation.agreement import (
    Judgement,
    agreement_figures,
    kendall_tau_c,
    read_judgements,
    unknown_message,
)

CAPTIONS = {"a.jpg": ("a0", "a1"), "b.jpg": ("b0",)}


def test_the_three_formats(tmp_path: Path) -> None:
    file = tmp_path / "ratings"
    file.write_text(
        "a.jpg\tb.jpg#0\t1\t1\t2\nb.jpg\ta.jpg#1\t3\t4\t4\nc.jpg\ta.jpg#0\t1\t1\t1\na.jpg\tb.jpg#7\t1\t1\t1\n"
    )
    found, unknown = read_judgements(file, CAPTIONS, CAPTIONS)
    assert [(j.image, j.caption, j.rating) for j in found[2:5]] == [
        ("a.jpg", "b0", 2),
        ("b.jpg", "a1", 3),
        ("b.jpg", "a1", 4),
    ]
    assert unknown == ["c.jpg", "b.jpg#7"]
    assert unknown_message(unknown).startswith("2 judgements")
    file.write_text("a.jpg\tb.jpg#0\t0.25\t1\t3\nb.jpg\ta.jpg#1\t1\t3\t0\n")
    assert [j.rating for j in read_judgements(file, CAPTIONS, CAPTIONS)[0]] == [0.25, 1]
    file.write_text('image, caption, rating\na.jpg, "a dog, here", 3\nz.jpg, x, 1\n')
    found, unknown = read_judgements(file, CAPTIONS, CAPTIONS)
    assert [(j.image, j.caption, j.rating) for j in found] == [("a.jpg", "a dog, here", 3)]
    assert unknown == ["z.jpg"]


def test_numbers_count_repeated_captions(tmp_path: Path) -> None:
    file = tmp_path / "token.txt"
    file.write_text("a.jpg#0\tA dog .\na.jpg#1\tA dog .\na.jpg#2\tA cat .\nb.jpg#0\tA boat .\n")
    assert captions_by_number(file) == {"a.jpg": ["A dog .", "A dog .", "A cat ."], "b.jpg": ["A boat ."]}


def test_what_is_no_rating_is_said(tmp_path: Path) -> None:
    file = tmp_path / "ratings"
    file.write_text("image,caption,rating\na.jpg,x,good\n")
    with pytest.raises(CaptionsError, match="line 2: 'good' is no rating"):
        read_judgements(file, CAPTIONS, CAPTIONS)
    file.write_text("a.jpg\tb.jpg#0\t1\t1\t2\na.jpg\n")
    with pytest.raises(CaptionsError, match="'a.jpg' is no line of ratings"):
        read_judgements(file, CAPTIONS, CAPTIONS)
    file.write_text("something else\n")
    with pytest.raises(CaptionsError, match="no known format"):
        read_judgements(file, CAPTIONS, CAPTIONS)
    with pytest.raises(CrossmodalError, match="All ratings are equal"):
        kendall_tau_c([1, 2], [3, 3])


def test_the_published_protocol_leaves_out_an_images_own_captions(tmp_path: Path) -> None:
    file = tmp_path / "ratings"
    file.write_text("a.jpg\tb.jpg#0\t1\t1\t2\na.jpg\ta.jpg#1\t4\t4\t4\nb.jpg\ta.jpg#0\t3\t3\t3\n")
    found, _ = read_judgements(file, CAPTIONS, CAPTIONS)
    assert [j.own for j in found] == [False] * 3 + [True] * 3 + [False] * 3
    file.write_text("image,caption,rating\na.jpg,a1,3\na.jpg,b0,1\n")
    assert [j.own for j in read_judgements(file, CAPTIONS, CAPTIONS)[0]] == [True, False]
    judgements = [Judgement("a", "x", 1), Judgement("a", "y", 2), Judgement("a", "own", 1, own=True)]
    figures = agreement_figures([0.1, 0.2, 0.3], judgements)
    assert (figures["judgements"], figures["published_judgements"]) == (3, 2)
    assert figures["published_tau_c"] == pytest.approx(100)
    assert figures["tau_c"] == pytest.approx(0)
    assert "published_tau_c" not in agreement_figures([0.1, 0.2], judgements[:2])


def test_tau_c_by_hand() -> None:
    # Four items, two distinct ratings: 3 pairs agree, 1 disagrees, 2 are tied in the ratings.
    # tau-c = (3 - 1) * 2 * m / (n^2 * (m - 1)) = 2 * 2 * 2 / (16 * 1) = 0.5, with m = 2 levels.
    assert kendall_tau_c([0.1, 0.3, 0.2, 0.4], [1, 1, 2, 2]) == pytest.approx(50)
    assert kendall_tau_c([0.1, 0.2, 0.3, 0.4], [1, 1, 2, 2]) == pytest.approx(100)
