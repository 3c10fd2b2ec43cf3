"""What is asked: terms, weights, what a command line's words mean, and their vectors."""

import numpy as np
import pytest

from crossmodal.errors import CrossmodalError
from crossmodal.search.query import Query, Term, combined, parse_terms, texts_of


def test_terms_by_hand() -> None:
    assert parse_terms("dog + beach - people") == [Term("dog"), Term("beach"), Term("people", -1)]
    assert parse_terms("2:dog + 0.5:cat") == [Term("dog", 2), Term("cat", 0.5)]
    assert parse_terms("- people") == [Term("people", -1)]
    assert parse_terms("a t-shirt, a+b") == [Term("a t-shirt, a+b")]
    for unfinished in ("dog +", "+", "dog + - cat", "- "):
        assert parse_terms(unfinished) == [Term(unfinished.strip())]


@pytest.mark.parametrize(
    "text",
    [
        "3:15 on a clock",
        "16:9 photo",
        "2001: a space odyssey poster",
        "2001:odyssey",
        "2: dog",
        "http://a.b",
        "a 2:dog",
        "7:am at the station",
        "12:noon",
        "24:hour clock",
    ],
)
def test_times_ratios_and_titles_are_no_weights(text: str) -> None:
    assert parse_terms(text) == [Term(text)]


@pytest.mark.parametrize("text", ["  ", "0:dog", "0:dog + 0:cat", "1e400:dog", "1e3:dog", "dog " * 251])
def test_queries_that_ask_for_nothing_and_weights_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(CrossmodalError):
        parse_terms(text)


def test_halves_of_characters_are_replaced() -> None:
    (term,) = parse_terms("a dog \ud83d")
    term.text.encode()  # a tokenizer could not


@pytest.mark.parametrize(
    ("arguments", "terms"),
    [
        (["two", "dogs", "in", "the", "snow"], [Term("two dogs in the snow")]),
        (["dog", "+", "beach", "-", "people"], [Term("dog"), Term("beach"), Term("people", -1)]),
        (["dog", "- people"], [Term("dog"), Term("people", -1)]),
        (["a red car", "2:tree"], [Term("a red car"), Term("tree", 2)]),
        (["a red car + snow"], [Term("a red car"), Term("snow")]),
        (["dog", "-", "red car"], [Term("dog"), Term("red car", -1)]),
        (["two", "dogs", "in the snow"], [Term("two dogs"), Term("in the snow")]),
        (["red car", "+", "two", "trees"], [Term("red car"), Term("two trees")]),
        (["", " "], []),
        ([], []),
    ],
)
def test_words_of_a_command_line(arguments: list[str], terms: list[Term]) -> None:
    assert [term for text in texts_of(arguments) for term in parse_terms(text)] == terms


def test_combined_by_hand() -> None:
    one, two = np.eye(2, dtype=np.float32)
    np.testing.assert_allclose(combined([(one, 3.0), (two, -4.0)]), [0.6, -0.8], atol=1e-6)
    with pytest.raises(CrossmodalError, match="cancel each other out"):
        combined([(one, 1.0), (one, -1.0)])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("two dogs in the snow", "sentence"), ("dog", "words"), ("- people", None), ("2:dog + cat", "sum of words"),
        ("two dogs running + a snowy field", "sum"), ("two dogs running - a snowy field", "difference"),
        ("two dogs running - people", "difference of words"),
    ],
)  # fmt: skip
def test_which_calibration_applies(text: str, kind: str | None) -> None:
    terms = parse_terms(text)
    vectors = np.eye(4, dtype=np.float32)[: len(terms)]
    assert Query.of(terms, vectors).calibration == kind
    assert Query.of(terms, vectors, [(np.eye(4, dtype=np.float32)[3], 1.0)]).calibration is None


@pytest.mark.parametrize("text", ['"red car"', "\u201cred car\u201d", '"red" car', '  "red  car" '])
def test_quotation_marks_are_not_read_by_the_tower(text: str) -> None:
    assert parse_terms(text) == [Term("red car")]
    assert parse_terms(f"dog - {text}") == [Term("dog"), Term("red car", -1.0)]
    assert parse_terms(f"dog + 2:{text.strip()}") == [Term("dog"), Term("red car", 2.0)]
