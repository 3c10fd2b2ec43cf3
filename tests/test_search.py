"""The search service, its files, the command line, and the evaluation."""

import base64
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from crossmodal.search.answers import as_file
from crossmodal.search.service import SearchService
from PIL import Image

from crossmodal import cli
from crossmodal.commands.prompt import answer_all, inline_photo, prompt
from crossmodal.data.dataset import read_dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.collection import encode_dataset
from crossmodal.encoding.embeddings import Embeddings, load_embeddings, model_path, save_embeddings
from crossmodal.errors import CheckpointError, CrossmodalError
from crossmodal.search.thumbnails import data_url


class FakeModel:
    """Knows the unit vectors of its words."""

    words = {"east": [1.0, 0.0], "north": [0.0, 1.0]}

    def encode_sentences(self, sentences: list[str]) -> Iterator[torch.Tensor]:
        yield torch.tensor([self.words[sentence] for sentence in sentences])

    def encode_images(self, photos: list[Image.Image]) -> torch.Tensor:
        return torch.tensor([[0.0, 1.0]])


def made_up() -> Embeddings:
    def vector(degrees: float) -> list[float]:
        return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]

    return Embeddings(
        torch.tensor([vector(0), vector(90), vector(45), vector(45)]).half(),
        torch.tensor([vector(0), vector(10), vector(90), vector(45), vector(0)]).half(),
        ["e.jpg", "n.jpg", "ne.jpg", "ne2.jpg"], ["train", "val", "val", "train"],
        ["to the east", "almost east", "to the north", "between", "to the east"],
        torch.tensor([0, 0, 1, 2, 3]), {"images": "/photos"},
    )  # fmt: skip


def service(split: str = "all") -> SearchService:
    return SearchService(FakeModel(), made_up(), split)  # type: ignore[arg-type]


def test_images_come_by_similarity_and_ties_in_file_order() -> None:
    found = service()
    hits = found.find_images(found.query("east"), 4)
    assert [hit.name for hit in hits] == ["e.jpg", "ne.jpg", "ne2.jpg", "n.jpg"]
    assert [round(hit.score, 2) for hit in hits] == [1.0, 0.71, 0.71, 0.0]
    assert [hit.name for hit in found.find_images(found.query("north"), 2)] == ["n.jpg", "ne.jpg"]
    assert hits[0].captions == ("to the east", "almost east")
    assert hits[0].path == Path("/photos/e.jpg")


def test_text_and_photo_together() -> None:
    found = service()
    both = found.query("east", Image.new("RGB", (2, 2)))
    assert [hit.name for hit in found.find_images(both, 2)] == ["ne.jpg", "ne2.jpg"]
    with pytest.raises(CrossmodalError, match="query is empty"):
        found.query("  ")


def test_captions_come_once_each() -> None:
    found = service()
    hits = found.find_captions(found.query("east"), 3)
    assert [hit.caption for hit in hits] == ["to the east", "almost east", "between"]
    assert hits[0].image == "e.jpg"
    assert len(found.find_captions(found.query("east"), 99)) == 4


def test_a_split_is_searched_alone() -> None:
    found = service("val")
    assert found.names == ["n.jpg", "ne.jpg"]
    assert found.captions == ["to the north", "between"]
    assert [hit.caption for hit in found.find_captions(found.query("north"), 5)] == ["to the north", "between"]
    with pytest.raises(CrossmodalError, match="no image in the split test"):
        service("test")


def test_a_list_of_sentences_can_be_searched() -> None:
    found = service()
    among = found.encode_list(["north", "", " east ", "north"])
    assert [hit.caption for hit in found.find_captions(found.query("north"), 5, among)] == ["north", "east"]
    with pytest.raises(CrossmodalError, match="no caption"):
        found.encode_list(["", " "])


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
    captions, images = collection
    dataset = read_dataset(captions, images).dataset
    data = {"captions": str(captions), "images": str(images)}
    model.load_state_dict(model.stored_weights())
    fingerprint = model.save(model_path(tmp_path, 1), 1, {}, data)
    save_embeddings(tmp_path, 1, fingerprint, encode_dataset(model, dataset, data, 0))
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
    assert torch.equal(torch.load(run / "img_embeds_epoch_1.pt", weights_only=True)["embeds"], before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", ""], "Say what to look for"),
        (["search", "x", "--checkpoint", "{none}"], "is not there"),
        (["search", "x", "--checkpoint", "{run}", "--top-k", "0"], "asks for nothing"),
        (["caption", "{none}"], "is not there"),
        (["evaluate", "--checkpoint", "{run}", "--captions", "{none}"], "both --captions and --images"),
        (["evaluate", "--checkpoint", "{run}", "--split-file", "{none}"], "cannot be read"),
        (["search", "x", "--checkpoint", "{run}", "--image", "{broken}"], "not a photo"),
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


def test_thumbnails_are_small_and_never_raise(tmp_path: Path) -> None:
    Image.effect_noise((1500, 1500), 80).save(tmp_path / "large.png")
    url = data_url(tmp_path / "large.png")
    assert url is not None
    assert url.startswith("data:image/jpeg;base64,")
    assert len(url) < 200_000
    (tmp_path / "broken.tif").write_text("no")
    assert data_url(tmp_path / "broken.tif") is None
    assert data_url(tmp_path / "none.jpg") is None


def test_the_prompt_takes_sentences_and_photos_and_goes_on_after_an_error(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.png")
    (tmp_path / "broken.jpg").write_text("no photo")
    asked = iter(["east", str(tmp_path / "photo.png"), str(tmp_path / "broken.jpg"), ""])
    said: list[str] = []
    prompt(service(), 2, lambda text: next(asked), said.append)
    assert said[1].startswith("1.000  /photos/e.jpg  to the east")
    assert said[3].startswith("1.000  to the north")
    assert "broken.jpg is not a photo" in said[5]


def test_answers_to_a_file_of_sentences() -> None:
    records = answer_all(service(), ["east", "north"], 2)
    assert [(r["query"], r["rank"], r["image"]) for r in records] == [
        ("east", 1, "e.jpg"), ("east", 2, "ne.jpg"), ("north", 1, "n.jpg"), ("north", 2, "ne.jpg"),
    ]  # fmt: skip
    assert json.loads(as_file(records, ".json")) == records
    assert as_file(records, ".csv").splitlines()[1] == "east,1,e.jpg,/photos/e.jpg,1.0,to the east"
    with pytest.raises(CrossmodalError, match=r"not \.txt"):
        as_file(records, ".txt")


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
