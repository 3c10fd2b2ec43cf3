"""A blind vote between two models on a folder without captions: what is asked, how it is kept and counted."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from crossmodal.cli import main
from crossmodal.dual_encoder import DualEncoder
from crossmodal.errors import CrossmodalError
from crossmodal.evaluation.votes import NEITHER, Ballot, Question, cast, read_ballot, sign_test, write_ballot
from crossmodal.photos.index import index_photos
from crossmodal.photos.store import DATABASE
from crossmodal.runs.opening import open_encoder

ROOT = Path(__file__).resolve().parent.parent
CLIP = "open_clip:tiny-clip/made"
QUERIES = ["a red car", "two dogs in the snow"]
NAMES = ("model one", "model two")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which towers are exported once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def opened(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """With what the page was opened."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr("crossmodal.commands.voting.become_page", lambda *arguments: calls.append(arguments))
    return calls


@pytest.fixture
def checkpoint(model: DualEncoder, tmp_path: Path) -> Path:
    """A model of one's own."""
    model.save(tmp_path / "model_epoch_1.pt", 1, {}, {})
    return tmp_path / "model_epoch_1.pt"


@pytest.fixture
def photos(collection: tuple[Path, Path], tmp_path: Path) -> Path:
    """A folder of ten photos."""
    (tmp_path / "mine").mkdir()
    for path in sorted(collection[1].iterdir())[:10]:
        shutil.copy(path, tmp_path / "mine")
    return tmp_path / "mine"


def ballot_of(*votes: str) -> Ballot:
    found = (("1.png", "2.png"), ("2.png", "1.png"))
    return Ballot(NAMES, tuple(Question(f"query {n}", found, n % 2, vote) for n, vote in enumerate(votes)))


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(9, 1, 22 / 1024), (1, 9, 22 / 1024), (3, 0, 2 / 8), (5, 5, 1), (1, 0, 1), (0, 0, 1), (8, 2, 112 / 1024)],
)
def test_the_sign_test_by_hand(first: int, second: int, p: float) -> None:
    assert sign_test(first, second) == pytest.approx(p)


def test_votes_are_counted_for_the_model_on_that_side(tmp_path: Path) -> None:
    file = tmp_path / "vote.json"
    write_ballot(file, ballot_of("", "", "", ""))  # on the left: one, two, one, two
    for number, vote in enumerate(("left", "left", "right", NEITHER)):
        assert read_ballot(file).next == number
        cast(file, number, vote)
    ballot = read_ballot(file)
    assert [question.winner for question in ballot.questions] == [0, 1, 1, None]
    assert ballot.questions[1].side("left") == ballot.questions[1].found[1]
    assert ballot.summary() == [
        "model one: 1 of 4.",
        "model two: 2 of 4.",
        "Neither: 1 of 4.",
        "Two-sided sign test over the 3 for one of them: p = 1.000.",
    ]
    cast(file, 3, "")
    assert read_ballot(file).next == 3


@pytest.mark.parametrize(
    "change",
    [
        {"found": [["../../secret.png"], []]},
        {"found": [["/etc/passwd"], []]},
        {"found": [["1.png"]]},
        {"left": 2},
        {"vote": "both"},
        {"query": 7},
    ],
)
def test_a_file_of_others_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "vote.json"
    write_ballot(file, ballot_of(""))
    plain = json.loads(file.read_text())
    plain["questions"][0] |= change
    file.write_text(json.dumps(plain))
    with pytest.raises(CrossmodalError, match="is no file of votes"):
        read_ballot(file)
    file.write_text("[" * 100_000)
    with pytest.raises(CrossmodalError, match="is no file of votes"):
        read_ballot(file)


def test_both_models_answer_from_indexes_of_their_own(
    checkpoint: Path, clips: Path, photos: Path, tmp_path: Path, opened: list[tuple[str, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    everything = sorted(path for path in photos.iterdir() if path.is_file())
    index_photos(photos, checkpoint=checkpoint, excluded=[everything[0].name])
    mine = (photos / ".crossmodal" / DATABASE).read_bytes()
    queries = tmp_path / "queries.txt"
    queries.write_text("\n".join(QUERIES) + "\n\n")
    asked = [
        "compare",
        str(checkpoint),
        CLIP,
        "--weights",
        str(clips),
        "--photos",
        str(photos),
        "--queries",
        str(queries),
    ]
    assert main(asked) == 0
    (file,) = (photos / ".crossmodal").glob("vote-*.json")
    assert opened == [("--photos", str(photos), "--votes", str(file))]
    ballot = read_ballot(file)
    assert [question.query for question in ballot.questions] == QUERIES
    assert ballot.models == (f"{checkpoint} (tiny)", CLIP)
    for side, named in enumerate((str(checkpoint), CLIP)):
        model, _, _ = open_encoder(named, clips)
        vectors = model.encode_images([Image.open(path).convert("RGB") for path in everything[1:]])
        for question, text in zip(ballot.questions, model.encode_sentences(QUERIES), strict=False):
            assert len(question.found[side]) == 6 and everything[0].name not in question.found[side]
            scores = {
                path.name: (vector @ text[0]).item() for path, vector in zip(everything[1:], vectors, strict=True)
            }
            best = max(scores.values())
            assert scores[question.found[side][0]] == pytest.approx(best, abs=0.02)
    assert (photos / ".crossmodal" / DATABASE).read_bytes() == mine
    cast(file, 0, "left")
    assert main(asked) == 0  # goes on
    assert read_ballot(file) == replace(
        ballot, questions=(replace(ballot.questions[0], vote="left"), ballot.questions[1])
    )
    cast(file, 1, NEITHER)
    capsys.readouterr()
    assert main(asked) == 0
    assert len(opened) == 2  # all is voted, so no page
    assert "Neither: 1 of 2.\nTwo-sided sign test over the 1 for one of them: p = 1.000." in capsys.readouterr().out


def test_what_cannot_be_compared(
    checkpoint: Path, photos: Path, tmp_path: Path, opened: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str],
    clips: Path,
) -> None:  # fmt: skip
    empty, blank, latin = tmp_path / "empty", tmp_path / "blank.txt", tmp_path / "latin.txt"
    empty.mkdir()
    blank.write_text("\n \n")
    latin.write_bytes("caf\xe9\n".encode("latin-1"))
    held = ["--weights", str(clips), "--photos"]
    for arguments, said in (
        ([str(checkpoint), "--photos", str(photos)], "between two models, not 1"),
        ([str(checkpoint), CLIP, CLIP, *held, str(photos)], "between two models, not 3"),
        ([str(checkpoint), str(checkpoint), "--photos", str(photos)], "are the same model"),
        ([str(checkpoint), CLIP, *held, str(tmp_path / "none")], "is not there"),
        ([str(checkpoint), CLIP, *held, str(empty)], "no photo in"),
        ([str(checkpoint), CLIP, *held, str(photos), "--queries", str(blank)], "holds no query"),
        ([str(checkpoint), CLIP, *held, str(photos), "--queries", str(latin)], "is not UTF-8 text"),
        ([str(checkpoint), CLIP, *held, str(photos), "--split", "val"], "--split is for captioned photos"),
        ([str(checkpoint), CLIP, "--queries", str(blank)], "give --photos DIR too"),
    ):
        assert main(["compare", *arguments]) == 1
        error = capsys.readouterr().err
        assert said in error and len(error.splitlines()) == 1
    assert not opened and not list(tmp_path.rglob("vote-*.json"))


class Vote:
    """The page of a vote in Streamlit's test driver."""

    def __init__(self, photos: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["app.py", "--photos", str(photos), "--votes", str(file)])
        self.test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()

    @property
    def said(self) -> str:
        test = self.test
        assert not test.exception
        shown = [part.value for part in (*test.subheader, *test.markdown, *test.caption, *test.error)]
        return "\n".join([*shown, *(html.proto.body for html in test.get("html"))]).replace("\\", "")

    def press(self, label: str) -> None:
        next(button for button in self.test.button if button.label == label).click()
        self.test.run()


def test_the_page_asks_blindly_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1", "2"):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{name}.png")
    file = tmp_path / "vote.json"
    write_ballot(file, ballot_of("", "", ""))
    page = Vote(tmp_path, file, monkeypatch)
    assert "Query 1 of 3" in page.said and "query 0" in page.said and page.said.count("<img") == 4
    hidden = (*NAMES, "1.png", str(tmp_path))
    assert not [name for name in hidden if name in page.said]
    page.press("The left photos fit better")
    assert "Query 2 of 3" in page.said and not [name for name in hidden if name in page.said]
    page.press("The left photos fit better")
    page.press("Take the last vote back")
    assert "Query 2 of 3" in page.said
    (tmp_path / "2.png").unlink()
    page.press("The right photos fit better")
    assert page.said.count("is not there any more") == 2
    page.press("Neither fits better")
    assert "model one: 2 of 3." in page.said and "p = 0.500" in page.said
    assert [question.winner for question in read_ballot(file).questions] == [0, 0, None]
    file.write_text("{}")
    page.test.run()
    assert "is no file of votes" in page.said
