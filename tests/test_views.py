"""Views of a photo, and their mean, by hand."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from crossmodal.cli import main
from crossmodal.data.dataset import read_dataset
from crossmodal.data.preprocessing import to_pixels
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.collection import encode_files
from crossmodal.encoding.embeddings import image_path, model_path
from crossmodal.encoding.views import encode_views
from crossmodal.errors import CrossmodalError
from crossmodal.photos.index import index_photos
from crossmodal.photos.store import Store, index_folder
from crossmodal.recipe import MOST_VIEWS

SIDE = 16


def _photos() -> np.ndarray:
    """Return a photo that is dark on its left half and bright on its right, and a grey one with a white frame."""
    halves = np.zeros((SIDE, SIDE, 3), np.uint8)
    halves[:, SIDE // 2 :] = 200
    framed = np.full((SIDE, SIDE, 3), 100, np.uint8)
    framed[[0, -1]] = framed[:, [0, -1]] = 255  # an edge of 1/16, which the closer views leave out
    return np.stack([halves, framed])


def _seen(views: int) -> list[np.ndarray]:
    """Return what an encoder is given for `views` views."""
    seen = []

    def encode(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels)
        return np.ones((len(pixels), 2), np.float32) / np.sqrt(2, dtype=np.float32)

    encode_views(encode, _photos(), views)
    return seen


def test_the_views() -> None:
    as_is, closer_mirrored, mirrored, closer = _seen(MOST_VIEWS)
    halves, framed = 0, 1
    assert (as_is == _photos()).all()
    assert (mirrored == as_is[:, :, ::-1]).all()
    assert (closer_mirrored == closer[:, :, ::-1]).all()
    assert as_is[halves, 0, 0, 0] == 0 and closer_mirrored[halves, 0, 0, 0] > 150  # the bright half is on the left
    assert as_is[framed, 0, 0, 0] == 255 and (closer[framed, 1:-1, 1:-1] < 110).all()
    assert all(view.dtype == np.uint8 and view.shape == as_is.shape for view in (closer_mirrored, mirrored, closer))


@pytest.mark.parametrize("views", range(1, MOST_VIEWS + 1))
def test_no_more_views_are_encoded_than_are_asked_for(views: int) -> None:
    assert len(_seen(views)) == views


def test_the_mean_is_a_unit_vector_by_hand() -> None:
    answers = iter([np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])])
    found = encode_views(lambda pixels: next(answers), _photos()[:1], 2)
    np.testing.assert_allclose(found, [[np.sqrt(0.5), np.sqrt(0.5)]])


def test_a_collection_is_encoded_by_its_views(model: DualEncoder, collection: tuple[Path, Path]) -> None:
    dataset = read_dataset(*collection).dataset
    one, two = (encode_files(model, dataset, workers=0, views=views) for views in (1, 2))
    pixels = torch.stack([model.preparation(Image.open(image.path).convert("RGB")) for image in dataset.images])
    with torch.inference_mode():
        torch.testing.assert_close(one, model.encode_image(pixels), atol=1e-4, rtol=1e-4)
        side, edge = model.preparation.size, model.preparation.size / 16
        photos = [Image.fromarray(photo.permute(1, 2, 0).numpy()) for photo in pixels]
        box = (edge, edge, side - edge, side - edge)
        closer = [ImageOps.mirror(photo.resize((side, side), Image.Resampling.BICUBIC, box=box)) for photo in photos]
        seen = model.encode_image(torch.stack([to_pixels(photo) for photo in closer]))
    torch.testing.assert_close(two, F.normalize(one + seen, dim=1), atol=1e-4, rtol=1e-4)


def test_the_commands_take_as_many_views_as_the_model_says(
    model: DualEncoder, collection: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = dict(zip(("captions", "images"), map(str, collection), strict=True))
    model.save(model_path(tmp_path, 1), 1, {}, data)
    assert main(["embed", "--checkpoint", str(tmp_path), "--quality", "high"]) == 0
    high = torch.load(image_path(tmp_path, 1), weights_only=True)["embeds"].float()
    expected = encode_files(model, read_dataset(*collection).dataset, workers=0, views=model.photo_views)
    assert (high * expected).sum(1).min() > 0.999
    assert main(["evaluate", "--checkpoint", str(tmp_path), "--split", "all", "--quality", "high"]) == 0
    assert "2 views of each" in capsys.readouterr().out
    assert main(["evaluate", "--checkpoint", str(tmp_path), "--split", "all"]) == 0
    assert "views of each" not in capsys.readouterr().out


def test_an_index_keeps_the_quality_that_it_was_made_with(
    model: DualEncoder, collection: tuple[Path, Path], tmp_path: Path
) -> None:
    model.save(model_path(tmp_path, 1), 1, {}, {})
    photos = tmp_path / "photos"
    shutil.copytree(collection[1], photos)
    removed = sorted(photos.iterdir())[0]
    content = removed.read_bytes()
    removed.unlink()
    index_photos(photos, checkpoint=tmp_path, quality="high")
    removed.write_bytes(content)
    index_photos(photos)  # one that comes later is encoded as the others were
    dataset = read_dataset(*collection).dataset
    expected = encode_files(model, dataset, workers=0, views=2)
    with Store(index_folder(photos, None), writable=False) as store:
        found = {photo.found.path: store.vectors()[photo.slot].copy() for photo in store.photos()}
    assert found.keys() == {image.name for image in dataset.images}
    for image, vector in zip(dataset.images, expected, strict=True):
        assert vector.numpy() @ found[image.name] > 0.999
    with pytest.raises(CrossmodalError, match="vectors of high quality; make it again with: .* --quality normal"):
        index_photos(photos, quality="normal")
