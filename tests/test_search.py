"""Searching a run's gallery, in the library and on the command line."""

import base64
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crossmodal import cli
from crossmodal.commands.prompt import inline_photo, prompt
from crossmodal.data.preprocessing import Preprocessing
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.embeddings import Embeddings, load_embeddings, save_embeddings
from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.search.captions import CaptionList
from crossmodal.search.filters import Filters
from crossmodal.search.gallery import About
from crossmodal.search.hit import as_csv, as_file
from crossmodal.search.run_gallery import RunGallery
from crossmodal.search.search import Search
from tests.conftest import write_epoch


class FakeRuntime:
    """Knows the unit vectors of its words."""

    name = "fake"
    preprocessing = Preprocessing(8, (0.5,) * 3, (0.5,) * 3, "bilinear", "squash", 1.0)

    def encode_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        words = {"east": [1.0, 0.0], "north": [0.0, 1.0]}
        return np.array([words[sentence] for sentence in sentences], dtype=np.float32)

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        return np.array([[0.0, 1.0]] * len(pixels), dtype=np.float32)


def made_up() -> Embeddings:
    def vector(degrees: float) -> list[float]:
        return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]

    return Embeddings(
        torch.tensor([vector(0), vector(90), vector(45), vector(45)]).half(),
        torch.tensor([vector(0), vector(10), vector(90), vector(45), vector(0)]).half(),
        ["e.jpg", "n.jpg", "ne.jpg", "ne2.jpg"], ["train", "val", "val", "train"],
        ["to the east", "to the far east", "to the north", "between", "To the east."],
        torch.tensor([0, 0, 1, 2, 3]), {"images": "/photos"},
    )  # fmt: skip


def gallery() -> RunGallery:
    about = About("made up", Path("/photos"), "f" * 32, Path("none.pt"), "tiny", frozenset())
    return RunGallery(made_up(), about)


def searched(split: str = "all") -> Search:
    return Search(gallery().only(split), FakeRuntime())


def names(search: Search, text: str, count: int = 10) -> list[str]:
    return [hit.name for hit in search.photos(search.query(text), count).hits]


def test_photos_come_by_similarity_and_ties_in_file_order() -> None:
    search = searched()
    hits = search.photos(search.query("east"), 4).hits
    assert [hit.name for hit in hits] == ["e.jpg", "ne.jpg", "ne2.jpg", "n.jpg"]
    assert [round(hit.score, 2) for hit in hits] == [1.0, 0.71, 0.71, 0.0]
    assert names(search, "north", 2) == ["n.jpg", "ne.jpg"]
    assert hits[0].photo.captions == ("to the east", "to the far east")
    assert hits[0].path == Path("/photos/e.jpg")
    assert list(hits[0].plain()) == ["id", "image", "path", "score", "captions"]


def test_text_and_photo_together() -> None:
    search = searched()
    photo = search.encode_photo(Image.new("RGB", (2, 2)))
    both = search.query("east", photo)
    assert [hit.name for hit in search.photos(both, 2).hits] == ["ne.jpg", "ne2.jpg"]
    with pytest.raises(CrossmodalError, match="query is empty"):
        search.query("  ")


def test_captions_of_which_no_two_say_the_same() -> None:
    search = searched()
    hits = search.captions(search.query("east"), 3)
    # "to the far east" is ten degrees from "to the east", a cosine of 0.98, and shares three of four words.
    assert [hit.caption for hit in hits] == ["to the east", "between", "to the north"]
    assert hits[0].photo == search.gallery.id_at("e.jpg")
    assert len(search.captions(search.query("east"), 99)) == 3


def test_a_split_is_searched_alone() -> None:
    search = searched("val")
    assert names(search, "north") == ["n.jpg", "ne.jpg"]
    assert (search.gallery.count(), search.gallery.caption_count()) == (2, 2)
    assert [hit.caption for hit in search.captions(search.query("north"), 5)] == ["to the north", "between"]
    with pytest.raises(CrossmodalError, match="no photo with this id"):
        search.hit(searched().gallery.id_at("e.jpg"))
    with pytest.raises(CrossmodalError, match="no image in the split test"):
        searched("test")


def test_what_a_gallery_does_not_know_is_said_and_no_error() -> None:
    search = searched()
    answer = search.photos(search.query("east"), 4, Filters(camera="nikon", folder="x"), by_date=True)
    assert len(answer.hits) == 4
    assert answer.not_applied == ("folder", "camera", "by_date")
    assert len(answer.notes) == 1


def test_a_list_of_sentences_can_be_searched() -> None:
    search = searched()
    among = CaptionList.encoded(["north", "", " east ", "north"], search.runtime.encode_sentences)
    assert [hit.caption for hit in search.captions(search.query("north"), 5, among)] == ["north", "east"]
    with pytest.raises(CrossmodalError, match="no caption"):
        CaptionList.encoded(["", " "], search.runtime.encode_sentences)


def test_similarities_of_a_sample_of_pairs() -> None:
    matrix, photos = gallery().similarities(3)
    assert [photo.name for photo in photos] == ["e.jpg", "ne.jpg", "ne2.jpg"]
    assert matrix[0, 0] == pytest.approx(1, abs=1e-3)
    assert gallery().only("val").similarities(30)[0].shape == (2, 2)


def test_embeddings_of_another_model_are_refused_with_the_command(tmp_path: Path) -> None:
    save_embeddings(tmp_path, 2, "fingerprint", made_up())
    assert load_embeddings(tmp_path, 2, "fingerprint", "cmd").captions == made_up().captions
    with pytest.raises(CheckpointError, match=r"made by another model .*`cmd`"):
        load_embeddings(tmp_path, 2, "other", "cmd")
    with pytest.raises(CheckpointError, match=r"is not there; .*`cmd`"):
        load_embeddings(tmp_path, 3, "fingerprint", "cmd")


@pytest.fixture
def run(model: DualEncoder, collection: tuple[Path, Path], tmp_path: Path) -> Path:
    """A run folder with one epoch."""
    write_epoch(model, collection, tmp_path, 1, {})
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 0
    return capsys.readouterr().out


def test_search_and_caption_on_the_command_line(
    run: Path, collection: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    hits = json.loads(printed(capsys, "search", "a red car", "--checkpoint", str(run), "--top-k", "3", "--json"))
    assert len(hits) == 3
    assert hits[0]["score"] >= hits[1]["score"] >= hits[2]["score"]
    assert Path(hits[0]["path"]).is_file()
    words = printed(capsys, "search", "a", "red", "car", "-wheels", "--checkpoint", str(run), "--json")
    assert words == printed(capsys, "search", "a red car - wheels", "--checkpoint", str(run), "--json")
    assert words == printed(capsys, "search", "--checkpoint", str(run), "--json", "a red car", "-wheels")
    photo = sorted(collection[1].iterdir())[4]
    similar = json.loads(printed(capsys, "search", "--image", str(photo), "--checkpoint", str(run), "--json"))
    assert similar[0]["image"] == photo.name  # a photo is most similar to itself
    captions = json.loads(printed(capsys, "caption", str(photo), "--checkpoint", str(run), "--json"))
    assert len(captions) == 10
    assert len(printed(capsys, "caption", str(photo), "--checkpoint", str(run), "--top-k", "4").splitlines()) == 4


def test_evaluate_prints_and_saves_the_figures(
    run: Path, collection: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(sorted(path.name for path in collection[1].iterdir())[:7]))
    saved = tmp_path / "figures.json"
    captions, images = map(str, collection)
    out = printed(
        capsys,
        "evaluate",
        "--checkpoint",
        str(run / "model_epoch_1.pt"),
        "--captions",
        captions,
        "--images",
        images,
        "--split-file",
        str(names),
        "--json",
        str(saved),
    )
    figures = json.loads(saved.read_text())
    keys = ("r1", "r5", "r10", "p1", "p5", "p10", "medr", "meanr", "mrr")
    expected = {f"{way}_{key}" for way in ("i2t", "t2i") for key in keys}
    expected |= {"rsum", "alignment", "image_uniformity", "text_uniformity"}
    assert figures.keys() == expected | {"name", "images", "captions", "intervals"}
    assert figures["intervals"].keys() == expected
    low, high = figures["intervals"]["rsum"]
    assert low <= figures["rsum"] <= high
    assert (figures["images"], figures["captions"]) == (7, 35)
    assert figures["t2i_r10"] == 100  # seven images
    assert f"rsum {figures['rsum']:.1f}" in out


def test_embed_makes_the_tensors_anew(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.load(run / "img_embeds_epoch_1.pt", weights_only=True)["embeds"]
    (run / "img_embeds_epoch_1.pt").unlink()
    printed(capsys, "embed", "--checkpoint", str(run))
    again = torch.load(run / "img_embeds_epoch_1.pt", weights_only=True)["embeds"]
    # The runtime may compute in bf16, which the training did not.
    assert (again.float() * before.float()).sum(1).min() > 0.999


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", ""], "The query is empty"),
        (["search", "x", "--checkpoint", "{none}"], "is not there"),
        (["search", "x", "--checkpoint", "{run}", "--top-k", "0"], "should be from 1 to"),
        (["search", "x", "--checkpoint", "{run}", "--top-k", "9" * 20], "should be from 1 to"),
        (
            ["serve", "--checkpoint", "{run}", "--upload-megabytes", "nan"],
            "--upload-megabytes nan should be greater than 0",
        ),
        (["serve", "--checkpoint", "{run}", "--upload-megapixels", "-5"], "--upload-megapixels -5.0 should be greater"),
        (["serve", "--checkpoint", "{run}", "--rate", "0/minute"], "should let 1 to 1,000,000,000 through"),
        (["caption", "{none}"], "is not there"),
        (["evaluate", "--checkpoint", "{run}", "--captions", "{none}"], "both --captions and --images"),
        (["evaluate", "--checkpoint", "{run}", "--split-file", "{none}"], "cannot be read"),
        (["search", "x", "--checkpoint", "{run}", "--image", "{broken}"], "not a photo"),
        (["search", "x", "--checkpoint", "{run}", "--image-weight", "1e400"], "The weight of 'the photo' is inf"),
    ],
)
def test_bad_input_is_one_sentence(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no photo")
    filled = [argument.format(run=run, none=tmp_path / "none", broken=broken) for argument in arguments]
    assert cli.main(filled) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_the_prompt_takes_sentences_and_photos_and_goes_on_after_an_error(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.png")
    (tmp_path / "broken.jpg").write_text("no photo")
    asked = iter(["east", str(tmp_path / "photo.png"), str(tmp_path / "broken.jpg"), "odd bytes", ""])
    said: list[str] = []

    def ask(_: str) -> str:
        line = next(asked)
        if line == "odd bytes":
            raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid")
        return line

    prompt(searched(), 2, ask, said.append)
    assert said[1].startswith("1.000  /photos/e.jpg  to the east")
    assert said[-1].startswith("This line is not text")
    assert said[3].startswith("1.000  to the north")
    assert "broken.jpg is not a photo" in said[5]


def test_answers_to_a_file_of_queries(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries, output = tmp_path / "queries.txt", tmp_path / "hits.json"
    queries.write_bytes(b"a red car\n\n0:dog\na house\ncaf\xe9\n")
    asked = ["search", "--queries", str(queries), "--checkpoint", str(run), "--top-k", "2"]
    assert cli.main([*asked, "--output", str(output)]) == 0
    captured = capsys.readouterr()
    assert f"{queries}, line 3, is left out: All weights" in captured.err
    assert f"{queries}, line 5, is left out: it is not UTF-8 text." in captured.err
    records = json.loads(output.read_text())
    assert [(record["query"], record["rank"]) for record in records] == [
        ("a red car", 1), ("a red car", 2), ("a house", 1), ("a house", 2)
    ]  # fmt: skip
    assert cli.main([*asked, "--output", str(tmp_path / "hits.txt")]) == 1
    assert "not .txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b"a red car\r1e400:dog\ra house\r", "a red car\r\n1e400:dog\r\na house".encode("utf-16")]
)
def test_queries_with_other_line_ends_or_a_byte_order_mark(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    queries, output = tmp_path / "queries.txt", tmp_path / "hits.json"
    queries.write_bytes(content)
    asked = ["search", "--queries", str(queries), "--checkpoint", str(run), "--top-k", "1", "--output", str(output)]
    assert cli.main(asked) == 0
    captured = capsys.readouterr()
    assert f"{queries}, line 2, is left out: The weight" in captured.err and "to 2 of 3 queries" in captured.out
    assert [record["query"] for record in json.loads(output.read_text())] == ["a red car", "a house"]


def test_cells_that_a_spreadsheet_would_compute_are_text() -> None:
    written = as_csv([{"path": "=1+1.jpg", "captions": ["-a", "b"], "why": [{"word": "a", "weight": -0.5}] * 2}])
    assert written == "path,captions,why\n'=1+1.jpg,'-a; b,a -0.5; a -0.5\n"
    assert as_file([], ".json") == "[]\n"
    assert as_csv([{"camera": "cam\x1b]0;x\x07"}]) == "camera\ncam\\x1b]0;x\\x07\n"  # an index may be a stranger's


def test_photos_in_terminals_that_can(tmp_path: Path) -> None:
    Image.effect_noise((400, 300), 90).convert("RGB").save(tmp_path / "photo.jpg")
    path = tmp_path / "photo.jpg"
    assert inline_photo(path, {"TERM": "xterm"}) is None
    assert inline_photo(tmp_path / "none.jpg", {"TERM_PROGRAM": "iTerm.app"}) is None
    iterm = inline_photo(path, {"TERM_PROGRAM": "iTerm.app"})
    assert iterm is not None
    assert iterm.startswith("\033]1337;File=inline=1")
    kitty = inline_photo(path, {"KITTY_WINDOW_ID": "1"})
    assert kitty is not None
    parts = kitty.split("\033\\")[:-1]
    assert len(parts) > 2
    assert parts[0].startswith("\033_Ga=T,f=100,m=1;")
    assert parts[-1].startswith("\033_Gm=0;")
    sent = base64.b64decode("".join(part.split(";", 1)[1] for part in parts))
    assert Image.open(io.BytesIO(sent)).size == (240, 180)
