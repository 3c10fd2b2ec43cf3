"""Training a trained model further: --start-from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import training_script
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.embeddings import model_path
from crossmodal.errors import CrossmodalError
from crossmodal.recipe import Recipe
from crossmodal.recipe_checks import check_recipe
from crossmodal.runs.folder import results_of
from tests.test_runs import arguments


@pytest.fixture
def before(model: DualEncoder, tmp_path: Path) -> Path:
    """A trained model's run."""
    folder = tmp_path / "before"
    folder.mkdir()
    model.save(model_path(folder, 3), 3, {}, {})
    return folder


def further(collection: tuple[Path, Path], before: Path, output: Path, *more: str) -> list[str]:
    named = arguments(collection, before, output, "--start-from", str(before), *more)
    return named[named.index("--captions") :]  # neither a recipe nor weights


def test_it_goes_on_from_the_weights_of_a_run(
    model: DualEncoder, recipe: Recipe, collection: tuple[Path, Path], before: Path, tmp_path: Path
) -> None:
    output = tmp_path / "after"
    assert training_script.main(further(collection, before, output, "--epochs", "1", "--frozen-image", "1")) == 0
    first, last = (DualEncoder.load(model_path(output, epoch))[0] for epoch in (0, 1))
    known = model.state_dict()
    for key, value in first.state_dict().items():
        torch.testing.assert_close(value, known[key], atol=1e-3, rtol=1e-3, msg=key)
    name = "text_projection.weight"
    assert not torch.equal(last.state_dict()[name], first.state_dict()[name])
    assert last.recipe.name == recipe.name and last.recipe.always_frozen("image") == 1
    assert [record["epoch"] for record in results_of(output)] == [0, 1]
    assert results_of(output)[0]["loss"] is None
    # What was started so is resumed without naming it again.
    assert training_script.main([*further(collection, before, output)[:6], "--resume"]) == 0


def test_a_model_with_residual_projections_goes_on_without_another_head_start(
    recipe: Recipe, collection: tuple[Path, Path], weights: Path, tmp_path: Path
) -> None:
    shape = replace(recipe, projection="residual", hidden_size=16, head_start_epochs=0)
    (tmp_path / "before").mkdir()
    DualEncoder.from_recipe(shape, weights).save(model_path(tmp_path / "before", 1), 1, {}, {})
    options = further(collection, tmp_path / "before", tmp_path / "after", "--epochs", "1")
    assert training_script.main(options) == 0
    assert [record["epoch"] for record in results_of(tmp_path / "after")] == [0, 1]
    assert training_script.main([*options[:6], "--resume"]) == 0
    check_recipe(shape, trained=True)
    with pytest.raises(CrossmodalError, match="takes its statistics of the features in the head start"):
        check_recipe(shape)  # without a trained model there are none to go by


def test_a_share_of_a_start_needs_one(recipe: Recipe) -> None:
    share = replace(recipe, start_share=0.5)
    check_recipe(replace(share, head_start_epochs=0), trained=True)
    check_recipe(replace(share, head_start_epochs=1))
    with pytest.raises(CrossmodalError, match="needs a model from before the first epoch"):
        check_recipe(replace(share, head_start_epochs=0))


def test_a_share_of_the_start_stays(collection: tuple[Path, Path], before: Path, tmp_path: Path) -> None:
    for name, share in (("plain", "0"), ("mean", "0.75")):
        options = ("--epochs", "1", "--start-share", share)
        assert training_script.main(further(collection, before, tmp_path / name, *options)) == 0
    start, plain, mean = (
        DualEncoder.load(model_path(tmp_path / name, epoch))[0].state_dict()
        for name, epoch in (("plain", 0), ("plain", 1), ("mean", 1))
    )
    for key, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * start[key] + 0.25 * plain[key], atol=1e-3, rtol=2e-3, msg=key)
    # The training itself goes on from its own weights.
    losses = [results_of(tmp_path / name)[1]["loss"] for name in ("plain", "mean")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--joint-size", "8"], "which are not for another --joint-size"),
        (["--projection", "mlp"], "which are not for another --projection"),
        (["--head-start-epochs", "3"], "which are not for another --head-start-epochs"),
        (["--recipe", "compact"], "leave out --recipe"),
        (["--start-from", "nowhere.pt"], "nowhere.pt is not there"),
        (["--start-from", "ViT-B-32/openai"], "a published model: open_clip:MODEL/WEIGHTS"),
        (["--start-from", "open_clip:ViT-B-32/openai"], "is a published model; name a checkpoint"),
        (["--frozen-image", "99"], "99"),
    ],
)
def test_what_its_weights_do_not_allow(
    more: list[str],
    words: str,
    collection: tuple[Path, Path],
    before: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert training_script.main(further(collection, before, tmp_path / "after", *more)) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "after").exists()
