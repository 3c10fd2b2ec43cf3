"""Published CLIP-like models behind our methods, and in the place of a checkpoint, on tiny ones with random weights."""

import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from crossmodal.cli import main
from crossmodal.encoding.openvino_export import TorchRuntime, _export
from crossmodal.encoding.runtime import Exported, OpenVinoRuntime
from crossmodal.errors import CrossmodalError, WeightsError
from crossmodal.galleries import Place, open_search
from crossmodal.page.background import index, indexing
from crossmodal.page.options import options
from crossmodal.photos.store import DATABASE
from crossmodal.rebuilding import fingerprint_of
from crossmodal.runs.opening import fingerprint_at, open_encoder
from crossmodal.towers import published_clip as published
from crossmodal.towers.published_clip import published_clip
from crossmodal.towers.published_names import short_name
from tests.test_photo_index import save
from tests.tiny_clips import write_open_clip, write_sentence_transformers

CLIP, MOBILE, SIGLIP = (f"open_clip:tiny-{name}/made" for name in ("clip", "mobile", "siglip"))
TWO = "sentence-transformers:two"
ALL = (CLIP, MOBILE, SIGLIP, TWO, "clip-ViT-B-32")
SENTENCES = ["a red car", "Two dogs, in the snow!"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which towers are exported once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(exported: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, for towers and cut-offs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(exported))
    return exported / "crossmodal"


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of three photos."""
    for name, colour in (("1", (220, 20, 20)), ("2", (20, 220, 20)), ("3", (20, 20, 220))):
        save(tmp_path / "album" / f"{name}.png", colour)
    return tmp_path / "album"


def test_a_clip_of_sentence_transformers(clips: Path, photo: Image.Image) -> None:
    from sentence_transformers import util
    from transformers import CLIPModel, CLIPProcessor

    model = published_clip("clip-ViT-B-32", clips)
    photos = model.encode_images([photo, photo.rotate(90, expand=True)])
    texts = next(model.encode_sentences(SENTENCES))
    assert photos.shape == texts.shape == (2, 16)
    assert (photos.norm(dim=1) - 1).abs().max() < 1e-5
    # The library's own way from words and pixels to similarities.
    inside = str(clips / "clip-ViT-B-32" / "0_CLIPModel")
    inputs = CLIPProcessor.from_pretrained(inside)(text=SENTENCES, images=photo, return_tensors="pt", padding=True)
    with torch.no_grad():
        output = CLIPModel.from_pretrained(inside).eval()(**inputs)
    similarities = util.cos_sim(output.image_embeds, output.text_embeds)
    torch.testing.assert_close(photos[:1] @ texts.T, similarities, atol=3e-3, rtol=0)
    assert model.temperature == pytest.approx(0.07, rel=0.01)  # as CLIP starts


@pytest.mark.parametrize("name", [CLIP, MOBILE, SIGLIP])
def test_a_model_of_open_clip(name: str, clips: Path, photo: Image.Image) -> None:
    model = published_clip(name, clips)
    short = name.removeprefix("open_clip:").removesuffix("/made")
    config = open_clip.get_pretrained_cfg(short, "made")
    scaling = {f"image_{key}": value for key, value in config.items() if key != "hf_hub"}
    net, _, transform = open_clip.create_model_and_transforms(short, str(clips / f"{short}-made.pt"), **scaling)
    with torch.no_grad():
        image = net.eval().encode_image(transform(photo)[None], normalize=True)
        texts = net.encode_text(model._tokenizer(SENTENCES), normalize=True)
    torch.testing.assert_close(model.encode_images([photo]), image, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(next(model.encode_sentences(SENTENCES)), texts, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_it_is_exported(name: str, clips: Path, tmp_path: Path) -> None:
    model = published_clip(name, clips)
    own, size = TorchRuntime(model), model.preparation.size
    pixels = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    sentences = [*SENTENCES, "café, it’s a very long sentence " * 40]
    _export(model, tmp_path / "towers")
    with OpenVinoRuntime(Exported(tmp_path / "towers")) as exported:
        assert (own.encode_pixels(pixels) * exported.encode_pixels(pixels)).sum(1).min() > 0.98
        assert (own.encode_sentences(sentences) * exported.encode_sentences(sentences)).sum(1).min() > 0.98


def test_its_fingerprint_is_of_all_that_decides(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint_at(Path(CLIP), clips)
    assert fingerprint_at(Path(CLIP), clips) == first
    write_open_clip("tiny-clip", tmp_path, seed=1)
    assert fingerprint_at(Path(CLIP), tmp_path) != first
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED["tiny-clip"]["made"], "resize_mode", "squash")
    assert fingerprint_at(Path(CLIP), clips) != first
    model = published_clip(CLIP, clips)
    changed = fingerprint_of(model.state_dict(), {**model.plain(), "tokenizer": ""}, None)
    assert changed != fingerprint_of(model.state_dict(), model.plain(), None)


def test_it_is_evaluated_beside_ones_own(
    clips: Path, collection: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    captions, images = map(str, collection)
    data = ["--captions", captions, "--images", images, "--split", "all", "--weights", str(clips)]
    assert main(["compare", "clip-ViT-B-32", *data]) == 0
    assert "clip-ViT-B-32, as published" in capsys.readouterr().out
    assert main(["evaluate", "--model", "sentence-transformers/clip-ViT-B-32", *data]) == 0
    assert "30 images, 150 captions" in capsys.readouterr().out


def test_without_weights_or_by_a_wrong_name(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be had; tried .*--weights"):
        open_encoder("open_clip:ViT-B-32/openai")
    with pytest.raises(CrossmodalError, match="should be open_clip:MODEL/WEIGHTS"):
        open_encoder("open_clip:ViT-B-33/openai")
    with pytest.raises(CrossmodalError, match=r"no weights mine of ViT-B-32; there are: .*openai"):
        open_encoder("open_clip:ViT-B-32/mine")
    (tmp_path / "tiny-clip-made.pt").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="cannot be read as the weights of"):
        open_encoder(CLIP, tmp_path)
    shutil.copy(clips / "tiny-siglip-made.pt", tmp_path)
    with pytest.raises(WeightsError, match=r"The tokenizer of open_clip:tiny-siglip/made \(tiny/words\) cannot be had"):
        open_encoder(SIGLIP, tmp_path)


@pytest.mark.parametrize("name", [CLIP, TWO, "clip-ViT-B-32"])
def test_a_folder_is_indexed_and_searched_with_it(
    name: str, clips: Path, album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(album), "--model", name, "--weights", str(clips)]) == 0
    assert "3 photos in the index: 3 new" in capsys.readouterr().out
    # Neither name nor weights are asked for again, by whichever door.
    assert main(["search", "a red car", "--photos", str(album), "--top-k", "2"]) == 0
    best, second = capsys.readouterr().out.splitlines()
    search = open_search(Place(photos=album))
    query = search.query("a red car")
    hits = search.photos(query, 3).hits
    model, _, _ = open_encoder(name, clips)
    scores = {
        path.name: (model.encode_images([Image.open(path).convert("RGB")]) @ next(model.encode_sentences(["a red car"])).T).item()
        for path in album.glob("*.png")
    }  # fmt: skip
    assert [hit.name for hit in hits] == sorted(scores, key=lambda path: -scores[path])
    assert all(hit.score == pytest.approx(scores[hit.name], abs=0.02) for hit in hits)
    assert best.endswith(hits[0].name) and second.endswith(hits[1].name)
    assert (search.gallery.about.recipe, str(search.gallery.about.checkpoint)) == (short_name(name), name)
    search.close()


def test_another_model_is_refused(clips: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = ["--weights", str(clips)]
    assert main(["index", str(album), "--model", CLIP, *held]) == 0
    save(album / "new.png", (9, 9, 9))
    assert main(["index", str(album), "--checkpoint", CLIP, *held]) == 0  # its own
    assert "1 new" in capsys.readouterr().out
    assert main(["index", str(album), "--model", MOBILE, *held]) == 1
    assert (
        f"was made by another model ({CLIP}, {CLIP}) than {MOBILE}; make it again with: python -m crossmodal index "
        f"{album} --rebuild --checkpoint {MOBILE}"
    ) in capsys.readouterr().err
    write_open_clip("tiny-clip", tmp_path, seed=1)  # the same name
    assert main(["index", str(album), "--model", CLIP, "--weights", str(tmp_path)]) == 1
    assert "was made by another model" in capsys.readouterr().err
    assert main(["search", "dog", "--photos", str(album), "--model", CLIP]) == 0  # its own
    assert main(["search", "dog", "--photos", str(album), "--model", MOBILE, *held]) == 1
    assert "is searched with the model that indexed it" in capsys.readouterr().err
    assert main(["index", str(album), "--model", MOBILE, "--rebuild", *held]) == 0
    assert open_search(Place(photos=album)).gallery.about.recipe == MOBILE


def test_weights_that_moved_are_named_again(
    album: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, seed in (("here", 0), ("other", 1)):
        (tmp_path / folder).mkdir()
        write_sentence_transformers(tmp_path / folder, seed)
    assert main(["index", str(album), "--model", "clip-ViT-B-32", "--weights", str(tmp_path / "here")]) == 0
    (tmp_path / "here").rename(tmp_path / "there")
    shutil.rmtree(cache, ignore_errors=True)
    asked = ["search", "a red car", "--photos", str(album)]
    assert main(asked) == 1
    said = capsys.readouterr().err
    assert "The pretrained weights of clip-ViT-B-32 cannot be had" in said and "no such folder" in said
    assert main([*asked, "--weights", str(tmp_path / "other")]) == 1
    assert "are not those that made the index" in capsys.readouterr().err
    assert main([*asked, "--weights", str(tmp_path / "there")]) == 0
    assert main(["index", str(album), "--weights", str(tmp_path / "there")]) == 0  # from now on
    assert main(asked) == 0


def test_what_cannot_be_had_leaves_no_index(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(album), "--model", "open_clip:MobileCLIP2-S0/dfndr2b"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("The pretrained weights of open_clip:MobileCLIP2-S0/dfndr2b cannot be had; tried")
    assert len(said.splitlines()) == 1
    assert not (album / ".crossmodal" / DATABASE).exists()


def test_the_page_indexes_with_it(clips: Path, album: Path) -> None:
    given = options(["--model", CLIP, "--weights", str(clips)])
    index(album, album / ".crossmodal", given.model, given.weights)
    work = indexing(album)
    assert work
    changes = work.result(300)
    assert changes and changes.new == 3
    assert open_search(Place(photos=album)).gallery.about.recipe == CLIP


def test_it_has_no_run(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = f"{CLIP} is a published model, which has no run and no photos; index a folder"
    assert main(["search", "dog", "--model", CLIP]) == 1
    assert said in capsys.readouterr().err
    with pytest.raises(CrossmodalError, match=said):  # as `serve` opens it
        open_search(Place(checkpoint=Path(CLIP)), to_stay=True)


def test_a_tokenizer_that_cannot_be_exported(
    clips: Path, album: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(published, "of_open_clip", lambda tokenizer: None)
    assert main(["index", str(album), "--model", SIGLIP, "--weights", str(clips)]) == 0
    assert f"{SIGLIP} runs in torch here" in capsys.readouterr().out
    assert main(["search", "two dogs", "--photos", str(album)]) == 0


def test_its_cut_off_is_calibrated_by_one_command(
    clips: Path, album: Path, collection: tuple[Path, Path], cache: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    held = ["--model", CLIP, "--weights", str(clips)]
    assert main(["index", str(album), *held]) == 0
    assert open_search(Place(photos=album)).gallery.about.cutoff is None
    calibrate = ["calibrate", *held, "--captions", str(collection[0]), "--images", str(collection[1]), "--split", "all"]
    assert main(calibrate) == 1
    assert "fewer than 50 tell too little" in capsys.readouterr().err
    monkeypatch.setattr("crossmodal.search.calibration.LEAST", 20)
    assert main(calibrate) == 0
    (place,) = (cache / "cutoffs").glob("*/cutoff.json")
    assert f"Wrote {place}, calibrated on" in capsys.readouterr().out
    cutoff = open_search(Place(photos=album)).gallery.about.cutoff  # at once, without indexing again
    assert cutoff and cutoff.calibrated_on == "30 photos of captions.txt" and "sentence" in cutoff.kinds
    assert main(["index", str(album), "--rebuild", *held]) == 0
    shutil.rmtree(cache / "cutoffs")
    assert open_search(Place(photos=album)).gallery.about.cutoff == cutoff  # it travels with the index
