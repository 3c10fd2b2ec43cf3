"""Words that a gallery is taught, by hand-worked numbers and through the doors; more like these, less like those."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import teach as teaching_bench
from crossmodal.cli import main
from crossmodal.encoding.embeddings import Embeddings
from crossmodal.errors import CrossmodalError, UnknownPhotoError
from crossmodal.photos.gallery import FolderGallery
from crossmodal.search.feedback import feedback
from crossmodal.search.gallery import About
from crossmodal.search.query import Query, Term
from crossmodal.search.run_gallery import RunGallery
from crossmodal.search.search import Search
from crossmodal.search.teaching import KINDS, guessed_kind, teach, usual_look
from crossmodal.search.word_file import WORDS, WordFile, read_words, write_words
from crossmodal.search.words import AWAY, STRENGTH, Word, checked_name, expanded, name_in_queries
from tests.test_photo_index import ColourRuntime, run, save

MODEL = "f" * 32


class NamingRuntime(ColourRuntime):
    """A sentence's vector is the sum of the colours that it names; a dog is green."""

    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        rows = np.full((len(sentences), 3), 0.01, dtype=np.float32)
        for row, sentence in zip(rows, sentences, strict=True):
            for word in sentence.split():
                for axis, names in enumerate((("red", "beach"), ("green", "dog"), ("blue", "snow"))):
                    row[axis] += word in names
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def unit(*numbers: float) -> np.ndarray:
    vector = np.array(numbers, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def word(name: str = "Rex", kind: str = "dog", fingerprint: str = MODEL) -> Word:
    examples = {"1.jpg": unit(1, 0), "2.jpg": unit(0, 1)}
    return Word(name, kind, fingerprint, examples, {}, np.array([0.5, 0.0], dtype=np.float32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Green dogs, of which Rex is the yellowish one, on red beaches and in blue snow."""
    root = tmp_path / "photos"
    for number in range(3):
        save(root / f"rex{number}.png", (90, 200, 5))
        save(root / f"dog{number}.png", (5, 200, 60))
    for number in range(3):
        save(root / f"beach{number}.png", (250, 20, 20))
    save(root / "rexbeach.png", (250, 150, 10))
    save(root / "dogbeach.png", (250, 150, 90))
    run(root)
    return root


def opened(root: Path) -> Search:
    return Search(FolderGallery(root / ".crossmodal"), NamingRuntime())


def found(search: Search, text: str, count: int) -> list[str]:
    return [Path(hit.name).stem for hit in search.photos(search.query(text), count, group=False).hits]


def test_an_offset_by_hand() -> None:
    rex = word()
    np.testing.assert_allclose(rex.offset, [0, 0.5])
    warned = replace(rex, negatives={"3.jpg": unit(1, 0)})
    np.testing.assert_allclose(warned.offset, [0 - AWAY * 0.5, 0.5])


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("Rex on the beach", "dog on the beach"), ("a photo of rex", "a photo of dog"), ("Rex's ball", "dog's ball"), ("Rexona", "Rexona"),
        ("T-Rex", "T-dog"), ("Grandma  Jo and REX", "woman and dog"), ("Jo", "Jo"),
    ],
)  # fmt: skip
def test_names_in_sentences(text: str, replaced: str) -> None:
    words = [word(), word("Grandma Jo", "woman"), word("Grandma", "old woman")]
    (term,), offsets = expanded([Term(text, -2.0)], words, MODEL)
    assert term == Term(replaced, -2.0)
    assert len(offsets) == sum(name in replaced for name in ("dog", "woman"))
    assert all(weight == -2.0 * STRENGTH for _, weight in offsets)


def test_a_name_twice_in_one_term_counts_once_and_in_two_terms_twice() -> None:
    assert len(expanded([Term("Rex and rex")], [word()], MODEL)[1]) == 1
    assert [weight for _, weight in expanded([Term("Rex"), Term("rex", -1)], [word()], MODEL)[1]] == [
        STRENGTH,
        -STRENGTH,
    ]


def test_words_of_another_model_are_refused_only_where_they_are_named() -> None:
    strange = word(fingerprint="0" * 32)
    assert expanded([Term("a dog")], [strange], MODEL) == ([Term("a dog")], [])
    with pytest.raises(CrossmodalError, match="'Rex' was taught to another model"):
        expanded([Term("Rex in snow")], [strange], MODEL)


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "x" * 61, "dog + cat", "2:dog", "-", "Rex!", "+Rex"])
def test_names_that_no_query_could_hold(name: str) -> None:
    with pytest.raises(CrossmodalError):
        checked_name(name)


@pytest.mark.parametrize("name", ["Summer 2023", "in:foo", "camera:rex", "May 2020", "album:x"])
def test_names_that_a_query_takes_for_something_else(name: str) -> None:
    with pytest.raises(CrossmodalError, match="for a filter or a date"):
        name_in_queries(name)
    assert name_in_queries("Rex") == "Rex"


def test_a_taught_word_finds_its_own_of_its_kind(folder: Path) -> None:
    search = opened(folder)
    assert set(found(search, "dog", 6)) > {"dog0", "dog1", "dog2"}
    rex = teach(search, "Rex", ["rex0.png", folder / "rex1.png"], kind="dog")
    assert set(rex.examples) == {"rex0.png", "rex1.png"}
    assert set(found(search, "rex", 3)) == {"rex0", "rex1", "rex2"}
    beach = found(search, "Rex on the beach", 11)
    assert beach.index("rexbeach") < beach.index("dogbeach")
    assert search.query("Rex").calibration is None  # no calibrated cut-off knows such queries
    again = opened(folder)  # which reads what was kept
    assert found(again, "rex", 3) == found(search, "rex", 3)
    again.taught.forget("REX")
    assert found(search, "rex dog", 6) == found(search, "dog", 6)


def test_more_photos_are_added_and_change_sides(folder: Path, tmp_path: Path) -> None:
    search = opened(folder)
    teach(search, "Rex", ["rex0.png"], kind="dog")
    elsewhere = save(tmp_path / "elsewhere.png", (90, 200, 5))
    grown = teach(search, "rex", ["rex1.png", elsewhere], ["dog0.png"])
    assert (grown.kind, set(grown.examples), set(grown.negatives)) == (
        "dog", {"rex0.png", "rex1.png", str(elsewhere)}, {"dog0.png"}
    )  # fmt: skip
    turned = teach(search, "Rex", negatives=["rex0.png"])
    assert (set(turned.examples), set(turned.negatives)) == (
        {"rex1.png", str(elsewhere)}, {"dog0.png", "rex0.png"}
    )  # fmt: skip
    assert set(teach(search, "Rex", ["rex0.png"]).negatives) == {"dog0.png"}
    assert len(search.taught.entries()) == 1


def test_what_cannot_be_taught(folder: Path, tmp_path: Path) -> None:
    search = opened(folder)
    with pytest.raises(CrossmodalError, match="Nothing shows what 'Rex' is"):
        teach(search, "Rex", [], ["dog0.png"])
    with pytest.raises(CrossmodalError, match=r"rex0.png is said to show 'Rex' and not to"):
        teach(search, "Rex", ["rex0.png"], ["rex0.png"])
    with pytest.raises(UnknownPhotoError, match=r"did you mean rex0.png"):
        teach(search, "Rex", ["rexx-0.png"])
    with pytest.raises(CrossmodalError, match="cannot be a kind"):
        teach(search, "Rex", ["rex0.png"], kind="dog + cat")
    (tmp_path / "note.txt").write_text("no photo")
    with pytest.raises(CrossmodalError, match=r"note.txt"):
        teach(search, "Rex", [tmp_path / "note.txt"])
    assert not search.taught.entries()


def test_a_kind_is_guessed_from_the_photos() -> None:
    vectors = np.eye(len(KINDS), dtype=np.float32)
    cat = KINDS.index("cat")
    examples = {"1": vectors[cat], "2": unit(*(vectors[cat] + 0.9 * vectors[0]))}
    assert guessed_kind(examples, lambda sentences: np.eye(len(sentences), dtype=np.float32)) == "cat"


def test_the_usual_look_of_a_kind_leaves_out_the_examples(folder: Path) -> None:
    gallery = FolderGallery(folder / ".crossmodal")
    green = np.array([0, 1, 0], dtype=np.float32)
    (first,) = gallery.nearest(green, 1)
    usual = usual_look(gallery, green, {})  # of eleven photos one
    np.testing.assert_allclose(usual, gallery.vector(gallery.id_of(first.photo)))
    dogs = {photo.name: usual for photo in gallery.photos if photo.name.startswith("dog")}
    assert first.photo.name in dogs
    (rex,) = {match.photo.name for match in gallery.nearest(green, 4)} - {*dogs}
    others = usual_look(gallery, green, {name: vector for name, vector in dogs.items() if name != "dogbeach.png"})
    np.testing.assert_allclose(others, gallery.vector(gallery.id_at(rex)))
    all_of_them = {photo.name: unit(1, 2, 3) for photo in gallery.photos}
    np.testing.assert_allclose(usual_look(gallery, green, all_of_them), unit(1, 2, 3))


def test_words_are_renamed_forgotten_and_read_again_when_another_process_writes(tmp_path: Path) -> None:
    file, other = WordFile(tmp_path / WORDS), WordFile(tmp_path / WORDS)
    assert file.entries() == {}
    other.keep(word(), word("Max"))
    assert [one.name for one in file.entries().values()] == ["Rex", "Max"]
    assert file.rename("rex", "Rexy").name == "Rexy"
    assert file.rename("rexy", "REXY").name == "REXY"
    with pytest.raises(CrossmodalError, match="There is a word 'max' already"):
        file.rename("rexy", "max")
    with pytest.raises(CrossmodalError, match=r"the words here are: Max, REXY"):
        other.forget("Bello")
    other.forget("max")
    assert [one.name for one in file.entries().values()] == ["REXY"]


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    rex = replace(word("Zoë"), negatives={"a\nb.jpg": unit(3, 4)})
    write_words(tmp_path / "zoe.json", [rex])
    (read,) = read_words(tmp_path / "zoe.json")
    assert (read.name, read.kind, read.fingerprint, list(read.negatives)) == ("Zoë", "dog", MODEL, ["a\\nb.jpg"])
    np.testing.assert_array_equal(read.offset, rex.offset)


@pytest.mark.parametrize(
    "damage",
    [
        {"name": "a + b"}, {"name": 3}, {"kind": ""}, {"fingerprint": "../x"}, {"fingerprint": None}, {"examples": []},
        {"examples": [{"photo": "x"}]}, {"usual": "AAAA"}, {"usual": "!"}, {"usual": "AADAfwAAwH8="},
        {"examples": [{"photo": "x", "vector": "AAAAAAAAAAA="}]}, {"negatives": [{"photo": "x", "vector": "AACAPw=="}]}, {"negatives": 1},
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence_without_its_folder(tmp_path: Path, damage: dict[str, object]) -> None:
    path = tmp_path / WORDS
    write_words(path, [word()])
    content = json.loads(path.read_text())
    content["words"][0].update(damage)
    path.write_text(json.dumps(content))
    with pytest.raises(CrossmodalError, match=r"^words.json is broken"):
        WordFile(path).entries()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": "crossmodal-words", "version": 9}', "[" * 100_000])
def test_what_is_no_file_of_words(tmp_path: Path, text: str) -> None:
    (tmp_path / WORDS).write_text(text)
    with pytest.raises(CrossmodalError, match=r"^words.json is"):
        WordFile(tmp_path / WORDS).entries()


def test_feedback_by_hand() -> None:
    parts = feedback([unit(1, 0), unit(0, 1)], [unit(1, 0)])
    np.testing.assert_allclose(sum(weight * vector for vector, weight in parts), [0.375 - 0.15, 0.375])
    assert feedback([], []) == []


def test_more_like_these_and_less_like_those(folder: Path) -> None:
    search = opened(folder)
    rex, dog = (search.gallery.id_at(path) for path in ("rex0.png", "dog0.png"))
    plain = search.photos(search.query("dog"), 6, group=False).hits
    moved = search.photos(search.query("dog", more=[rex], less=[dog]), 6, group=False).hits
    assert not plain[0].name.startswith("rex") and moved[0].name.startswith("rex")
    alone = search.photos(search.query(more=[rex]), 3, group=False).hits
    assert {Path(hit.name).stem for hit in alone} == {"rex0", "rex1", "rex2"}
    with pytest.raises(UnknownPhotoError):
        search.query("dog", less=["0" * 24])


def test_the_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("runtime", "text_alone"):
        monkeypatch.setattr(f"crossmodal.runs.models.Maker.{part}", lambda *_: NamingRuntime())
    there = ["--photos", str(folder)]
    assert main(["teach", "--list", *there]) == 0
    assert capsys.readouterr().out == "No word was taught yet.\n"
    assert main(["teach", "Rex", "rex0.png", "rex1.png", "--not", "dog0.png", "--kind", "dog", *there]) == 0
    assert capsys.readouterr().out.startswith("Rex: dog, 2 photos show it, 1 does not. Search for it: ")
    index = folder / ".crossmodal"
    assert main(["teach", "Rex", "rex2.png", "--index", str(index), "--weights", str(tmp_path), *there]) == 0
    assert capsys.readouterr().out.endswith(f"search Rex --photos {folder} --index {index}\n")
    assert main(["search", "rex", "--top-k", "1", "--no-groups", *there]) == 0
    assert "rex" in capsys.readouterr().out
    assert main(["search", "dog", "--more", "rex0.png", "--less", "dog0.png", "--top-k", "1", *there]) == 0
    assert "rex" in capsys.readouterr().out
    out = tmp_path / "rex.json"
    assert main(["teach", "rex", "--export", str(out), *there]) == 0
    assert main(["teach", "rex", "--rename", "Max", *there]) == 0
    assert main(["teach", "--import", str(out), *there]) == 0
    capsys.readouterr()
    assert main(["teach", "--list", *there]) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == ["Max", "Rex"]
    assert main(["teach", "max", "--forget", *there]) == 0
    assert list(WordFile(folder / ".crossmodal" / WORDS).entries()) == ["rex"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Name the word"), (["Rex"], "Nothing shows what"), (["Rex", "--list"], "leave out the name"),
        (["Rex", "1.jpg", "--forget"], "are for teaching a word"), (["Rex", "--forget"], "the words here are: none yet"),
        (["--export", "words"], "nothing to export"), (["--rename", "Max"], "Name the word"), (["--import", "gone.json"], "cannot be read"),
    ],
)  # fmt: skip
def test_the_command_refuses(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    for part in ("runtime", "text_alone"):
        monkeypatch.setattr(f"crossmodal.runs.models.Maker.{part}", lambda *_: NamingRuntime())
    assert main(["teach", *arguments, "--photos", str(folder)]) == 1
    assert said in capsys.readouterr().err


def test_words_of_another_model_are_not_imported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_words(tmp_path / "rex.json", [word(fingerprint="0" * 32)])
    assert main(["teach", "--import", str(tmp_path / "rex.json"), "--photos", str(folder)]) == 1
    assert "another model" in capsys.readouterr().err


def test_a_copied_index_takes_its_words_along(folder: Path, tmp_path: Path) -> None:
    teach(opened(folder), "Rex", ["rex0.png"], kind="dog")
    shutil.copytree(folder, tmp_path / "moved")
    assert list(opened(tmp_path / "moved").taught.entries()) == ["rex"]
    Image.new("RGB", (9, 9)).save(tmp_path / "moved" / "new.png")
    run(tmp_path / "moved")  # indexing leaves them as they are
    assert list(opened(tmp_path / "moved").taught.entries()) == ["rex"]


def test_the_benchmark_on_made_up_vectors() -> None:
    """Reddish and bluish dogs on grass and snow, in axes of their own: the offset finds the colour, plain words cannot."""
    rng = np.random.default_rng(0)
    shown, vectors = [], []
    for number in range(80):
        colour, place = ("red", "blue")[number % 2], ("on the grass", "in the snow")[number // 2 % 2]
        shown.append(teaching_bench.Shown(frozenset({(colour, "dog")}), frozenset({place})))
        axes = np.eye(6)[[0, 1 + number % 2, 3 + number // 2 % 2]].sum(0)
        vectors.append(unit(*(axes + 0.05 * rng.standard_normal(6))))
    images = torch.tensor(np.stack(vectors)).half()
    names = [f"{number}.jpg" for number in range(80)]
    embeddings = Embeddings(images, images, names, ["val"] * 80, names, torch.arange(80), {})
    gallery = RunGallery(embeddings, About("made up", Path("/p"), MODEL, Path("none.pt"), "r", frozenset()))

    def encode(texts: Sequence[str]) -> np.ndarray:
        known = ("dog", "red", "blue", "grass", "snow")
        return np.stack([unit(*(float(word in text) for word in known), 0.1) for text in texts])

    measured = teaching_bench.measure(gallery, shown, encode)
    assert (measured.words, measured.scenes) == ([("blue", "dog"), ("red", "dog")], 4)
    means = {way: np.mean(precisions) for way, precisions in measured.placed.items()}
    assert means["taught, strength 1"] > 0.9 > 0.7 > means["words"]
    assert len(list(measured.lines())) > len(measured.alone)


def test_average_precision_by_hand() -> None:
    assert teaching_bench.average_precision([True, False, True]) == pytest.approx((1 + 2 / 3) / 2)
    assert teaching_bench.average_precision([False, False, True]) == pytest.approx(1 / 3)


def test_what_captions_agree_on() -> None:
    captions = ["a brown dog in snow", "Brown dog runs in the snow .", "a dog on grass", "a black dog", "a red , shirt"]
    shown = teaching_bench.said(captions)
    assert shown == teaching_bench.Shown(frozenset({("brown", "dog")}), frozenset({"in the snow"}))


def test_a_file_of_words_that_never_ends_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "words.json")
    with pytest.raises(CrossmodalError, match="is no regular file"):
        read_words(tmp_path / "words.json")
    if Path("/proc/kmsg").exists():
        with pytest.raises(CrossmodalError, match="cannot be read|is broken"):
            read_words(Path("/proc/kmsg"))  # says that it is a regular file, and blocks


def test_files_of_words_that_others_changed_are_one_sentence(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = tmp_path / "words.json"
    rex = word()
    write_words(path, [rex, replace(rex, name="REX")])
    with pytest.raises(CrossmodalError, match="two in it have one name"):
        read_words(path)
    for vector in (np.full(2, 1e30, "<f4"), np.frombuffer(b"\x01\x00\xa0\x7f" * 2, "<f4")):
        write_words(path, [replace(rex, usual=vector)])
        with pytest.raises(CrossmodalError, match="its vectors are impossible"):
            read_words(path)
    write_words(path, [rex])
    path.write_text(path.read_text().replace('"photo"', '"picture"'))
    with pytest.raises(CrossmodalError, match="a word in it lacks something"):
        read_words(path)
    assert not recwarn.list
    with pytest.raises(CrossmodalError, match="are not of its model; teach them again"):
        Query.of([Term("dog")], unit(1.0, 0.0, 0.0)[None], [(unit(1.0, 0.0), 1.0)])
