"""What ships beside the model belongs to it, and to what this version draws and says."""

from pathlib import Path

import pytest

from crossmodal.data.dataset import read_dataset
from crossmodal.data.everyday import everyday_scenes
from crossmodal.data.sample import draw_sample
from crossmodal.encoding.embeddings import image_path, load_embeddings, model_path, text_path
from crossmodal.encoding.everyday_embeddings import everyday_path, load_everyday
from crossmodal.galleries import Place, open_search
from crossmodal.runs.folder import best_epoch
from crossmodal.runs.opening import about_checkpoint
from crossmodal.search.cutoff import Cutoff

SHIPPED = Path(__file__).resolve().parent.parent / "model-checkpoints" / "shipped"
EPOCH = best_epoch(SHIPPED) or 0


def test_the_everyday_scenes_are_those_of_this_version() -> None:
    fingerprint = about_checkpoint(model_path(SHIPPED, EPOCH))["fingerprint"]
    scenes = everyday_scenes()
    assert len(load_everyday(everyday_path(SHIPPED, EPOCH), fingerprint, scenes)) == len(scenes)
    assert Cutoff.read(SHIPPED) is not None


def test_what_ships_is_small() -> None:
    beside = (image_path(SHIPPED, EPOCH), text_path(SHIPPED, EPOCH), everyday_path(SHIPPED, EPOCH))
    assert sum(path.stat().st_size for path in beside) <= 12_000_000
    assert model_path(SHIPPED, EPOCH).stat().st_size <= 75_000_000


@pytest.mark.real
def test_the_sample_is_that_of_this_version(tmp_path: Path) -> None:
    fingerprint = about_checkpoint(model_path(SHIPPED, EPOCH))["fingerprint"]
    embeddings = load_embeddings(SHIPPED, EPOCH, fingerprint, "python -m crossmodal embed")
    dataset = read_dataset(*draw_sample(tmp_path / "sample"), check=False).dataset
    assert list(embeddings.captions) == list(dataset.captions)
    assert list(embeddings.image_names) == [image.name for image in dataset.images]


@pytest.mark.real
def test_the_first_words_that_one_tries_find_drawings() -> None:
    search = open_search(Place())
    for words, shown in (("dog", "dog"), ("two dogs", "dog"), ("a cat", "cat"), ("a dog on the beach", "dog")):
        hits = search.answer(search.understood(words), count=5).hits
        assert hits and sum(shown in " ".join(hit.photo.captions) for hit in hits) >= 4, words
    assert not search.answer(search.understood("a stock market chart"), count=5).hits  # sentences are still cut off
