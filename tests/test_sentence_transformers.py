"""Models of sentence-transformers with two towers, by name and by folder, on tiny ones with random weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from crossmodal.cli import main
from crossmodal.errors import CrossmodalError, WeightsError
from crossmodal.galleries import Place, open_search
from crossmodal.runs.opening import fingerprint_at
from crossmodal.towers.published_clip import published_clip
from tests.test_photo_index import save
from tests.tiny import write_tiny_encoder

SENTENCES = ["a red car", "two dogs in the snow, by a house and a tree"]
CONFIG = "config_sentence_transformers.json"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def two(clips: Path, tmp_path: Path) -> Path:
    """A copy of the model whose towers are an image tower and a BERT."""
    return Path(shutil.copytree(clips / "two", tmp_path / "two"))


def named(folder: Path) -> Path:
    return Path(f"sentence-transformers:{folder}")


def test_it_gives_what_the_library_gives(two: Path, photo: Image.Image) -> None:
    from sentence_transformers import SentenceTransformer

    model, library = published_clip(str(named(two))), SentenceTransformer(str(two), device="cpu")
    photos = [photo, photo.rotate(90, expand=True)]
    theirs = library.encode(photos, convert_to_tensor=True, normalize_embeddings=True)
    torch.testing.assert_close(model.encode_images(photos), theirs, atol=3e-3, rtol=0)
    texts = library.encode(SENTENCES, convert_to_tensor=True, normalize_embeddings=True)
    torch.testing.assert_close(next(model.encode_sentences(SENTENCES)), texts, atol=1e-5, rtol=1e-4)
    assert model.temperature == pytest.approx(0.07, rel=0.01) and model.label == "two"


def test_its_folder_may_be_named_from_anywhere_and_move(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    album = tmp_path / "album"
    save(album / "1.png", (220, 20, 20))
    monkeypatch.chdir(tmp_path)
    assert main(["index", str(album), "--model", "sentence-transformers:two"]) == 0
    gallery = open_search(Place(photos=album)).gallery
    assert gallery.about.checkpoint == named(two.resolve())
    two.rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "cache")  # with the exported towers, which need no folder
    (tmp_path / "kept").mkdir()
    asked = ["search", "a red car", "--photos", str(album)]
    assert main(asked) == 1
    assert "cannot be had" in capsys.readouterr().err
    (tmp_path / "elsewhere").rename(tmp_path / "kept" / "two")
    assert main([*asked, "--weights", str(tmp_path / "kept")]) == 0
    assert fingerprint_at(named(tmp_path / "kept" / "two")) == gallery.about.fingerprint


def test_what_has_not_two_towers_of_one_space_is_refused(two: Path, tmp_path: Path) -> None:
    write_tiny_encoder(tmp_path / "words")
    with pytest.raises(CrossmodalError, match="has not a tower for images and one for text"):
        published_clip(str(named(tmp_path / "words")))
    config = two / "router_config.json"
    whole = config.read_text()
    plain = json.loads(whole)
    plain["structure"]["text"].remove("text_2_Dense")  # 32 numbers for a sentence, 16 for an image
    config.write_text(json.dumps(plain))
    with pytest.raises(CrossmodalError, match="not for one space"):
        published_clip(str(named(two)))
    config.write_text(whole)
    about = json.loads((two / CONFIG).read_text())
    about |= {"prompts": {"search": "find in the snow and the park: "}, "default_prompt_name": "search"}
    (two / CONFIG).write_text(json.dumps(about))
    with pytest.raises(CrossmodalError, match="in a way that this program cannot repeat"):
        published_clip(str(named(two)))
    (two / "modules.json").write_text("{")
    with pytest.raises(WeightsError, match="cannot be read as the model"):
        published_clip(str(named(two)))
    with pytest.raises(WeightsError, match="cannot be had; tried the hub cache"):
        published_clip("sentence-transformers:someone/nothing")
