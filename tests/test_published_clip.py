"""Published CLIP-like models behind our two methods, on tiny ones with random weights."""

from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image

from crossmodal.cli import main
from crossmodal.errors import CrossmodalError, WeightsError
from crossmodal.runs.opening import open_encoder
from crossmodal.towers.published_clip import published_clip

OPEN_CLIP = "open_clip:RN50/openai"
SENTENCES = ["a red car", "two dogs in the snow"]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as --weights takes it, with a tiny CLIP as sentence-transformers keeps it."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

    folder = tmp_path_factory.mktemp("clips")
    inside = folder / "clip-ViT-B-32" / "0_CLIPModel"
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(str({piece: row for row, piece in enumerate(pieces)}).replace("'", '"'))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": len(pieces) - 2, "eos_token_id": len(pieces) - 1, "pad_token_id": len(pieces) - 1}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**small, "vocab_size": len(pieces), **ends},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(inside)
    tokenizer.save_pretrained(inside)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(inside)
    return folder


def test_a_clip_of_sentence_transformers(held: Path, photo: Image.Image) -> None:
    from sentence_transformers import util
    from transformers import CLIPModel, CLIPProcessor

    model = published_clip("clip-ViT-B-32", held)
    photos = model.encode_images([photo, photo.rotate(90, expand=True)])
    texts = next(model.encode_sentences(SENTENCES))
    assert photos.shape == texts.shape == (2, 16)
    assert (photos.norm(dim=1) - 1).abs().max() < 1e-5
    # The library's own way from words and pixels to similarities.
    inside = str(held / "clip-ViT-B-32" / "0_CLIPModel")
    inputs = CLIPProcessor.from_pretrained(inside)(text=SENTENCES, images=photo, return_tensors="pt", padding=True)
    with torch.no_grad():
        output = CLIPModel.from_pretrained(inside).eval()(**inputs)
    torch.testing.assert_close(photos[:1] @ texts.T, util.cos_sim(output.image_embeds, output.text_embeds))
    assert model.temperature == pytest.approx(0.07, rel=0.01)  # as CLIP starts


def test_a_model_of_open_clip(tmp_path: Path, photo: Image.Image) -> None:
    torch.manual_seed(0)
    net, _, transform = open_clip.create_model_and_transforms("RN50", force_quick_gelu=True)
    net.eval()
    torch.save(net.state_dict(), tmp_path / "RN50-openai.pt")
    model = published_clip(OPEN_CLIP, tmp_path)
    with torch.no_grad():
        image = net.encode_image(transform(photo)[None], normalize=True)
        texts = net.encode_text(open_clip.get_tokenizer("RN50")(SENTENCES), normalize=True)
    torch.testing.assert_close(model.encode_images([photo]), image, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(next(model.encode_sentences(SENTENCES)), texts, atol=1e-4, rtol=1e-3)


def test_it_is_evaluated_beside_ones_own(
    held: Path, collection: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    captions, images = map(str, collection)
    data = ["--captions", captions, "--images", images, "--split", "all", "--weights", str(held)]
    assert main(["compare", "clip-ViT-B-32", *data]) == 0
    assert "clip-ViT-B-32, as published" in capsys.readouterr().out
    assert main(["evaluate", "--checkpoint", "sentence-transformers/clip-ViT-B-32", *data]) == 0
    assert "30 images, 150 captions" in capsys.readouterr().out


def test_without_weights_or_by_a_wrong_name(tmp_path: Path, collection: tuple[Path, Path]) -> None:
    with pytest.raises(WeightsError, match=r"cannot be had; tried .*--weights"):
        open_encoder("open_clip:ViT-B-32/openai")
    with pytest.raises(CrossmodalError, match="should be open_clip:MODEL/WEIGHTS"):
        open_encoder("open_clip:ViT-B-33/openai")
    with pytest.raises(CrossmodalError, match=r"no weights mine of ViT-B-32; there are: .*openai"):
        open_encoder("open_clip:ViT-B-32/mine")
    (tmp_path / "ViT-B-32-openai.pt").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="cannot be read as the weights of"):
        open_encoder("open_clip:ViT-B-32/openai", tmp_path)
