"""Batches, gradients, learning rates, the head start, cached views."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crossmodal.data.dataset import CaptionedImage, Dataset, read_dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.decoding_ahead import DecodedPhotos
from crossmodal.encoding.devices import trains_in_bf16
from crossmodal.encoding.frozen_parts import stem_of, trunk_of
from crossmodal.progress import silent
from crossmodal.recipe import WHOLE, Recipe, Stage
from crossmodal.towers.freezing import hold_depthwise
from crossmodal.training.augmentation import Augmentation
from crossmodal.training.batches import plan_epoch
from crossmodal.training.head_start import train_projections
from crossmodal.training.mixup import mixed
from crossmodal.training.optimizer import learning_rate, make_optimizer
from crossmodal.training.stem_photos import CachedStemPhotos, StemPhotos
from crossmodal.training.step import StepPlan, compute_gradient


def made_up(count: int) -> Dataset:
    return Dataset(
        tuple(CaptionedImage(f"{n}.jpg", Path(f"{n}.jpg"), tuple(f"{n} {k}" for k in range(5))) for n in range(count))
    )


def test_an_epoch_has_every_image_once_and_its_captions_in_turn() -> None:
    dataset = made_up(23)
    seen: dict[int, list[str]] = {}
    for epoch in range(1, 4):
        batches = plan_epoch(dataset, 5, 2, seed=1, epoch=epoch)
        assert sorted(index for batch in batches for index in batch.images) == list(range(23))
        assert {len(batch.images) for batch in batches} <= {4, 5}
        for batch in batches:
            for row, caption in zip(batch.image_of_caption, batch.captions, strict=True):
                assert caption.split()[0] == str(batch.images[row])
                seen.setdefault(batch.images[row], []).append(caption)
    # 2 of 5 in each epoch: after three epochs all five were used, and one of them twice.
    assert all(len(set(captions)) == 5 and len(captions) == 6 for captions in seen.values())
    assert plan_epoch(dataset, 5, 2, 1, 1) == plan_epoch(dataset, 5, 2, 1, 1)
    assert plan_epoch(dataset, 5, 2, 1, 1) != plan_epoch(dataset, 5, 2, 1, 2)


def test_shares_of_a_batch_are_whole_images() -> None:
    (batch,) = plan_epoch(made_up(7), 7, 0, 0, 1)
    shares = [batch.share(part, 3) for part in range(3)]
    assert tuple(index for share in shares for index in share.images) == batch.images
    assert tuple(caption for share in shares for caption in share.captions) == batch.captions
    for share in shares:
        assert [caption.split()[0] for caption in share.captions] == [
            str(share.images[row]) for row in share.image_of_caption
        ]


def test_learning_rate_by_hand() -> None:
    recipe = Recipe("x", "i", "t", (Stage(4, 1.0, 0.0), Stage(2, 0.5, 0.5)), warmup_epochs=1.0)
    assert learning_rate(recipe, 0.5) == pytest.approx(0.5 * 0.961939, rel=1e-5)  # half warm, cos(pi/8)
    assert learning_rate(recipe, 2.0) == pytest.approx(0.5)
    assert learning_rate(recipe, 5.0) == pytest.approx(0.5)
    assert learning_rate(replace(recipe, stages=(Stage(4, 1.0),)), 4.0) == pytest.approx(0.0)


def test_parts_have_their_own_learning_rates_and_only_matrices_decay(model: DualEncoder, recipe: Recipe) -> None:
    model.image_tower.freeze(WHOLE)
    optimizer = make_optimizer(model, replace(recipe, text_lr_scale=0.1))
    for group in optimizer.param_groups:
        assert all((p.dim() > 1) == (group["weight_decay"] > 0) for p in group["params"])
    assert {group["scale"] for group in optimizer.param_groups} == {0.1, 1.0}
    assert sum(p is model.logit_scale for group in optimizer.param_groups for p in group["params"]) == 1


def gradients(model: DualEncoder) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("matryoshka", ["", "4,32"])
def test_gradient_caching_gives_the_gradient_of_the_whole_batch(matryoshka: str, model: DualEncoder) -> None:
    model.recipe = replace(model.recipe, matryoshka=matryoshka)
    (batch,) = plan_epoch(made_up(7), 7, 2, 0, 1)
    pixels = torch.randint(0, 256, (7, 3, 160, 160), dtype=torch.uint8)
    without_dropout(model)
    plan = StepPlan.of(batch, 0, 1)
    whole = compute_gradient(model, plan, pixels, False, 0, False, 1)
    expected = gradients(model)
    model.zero_grad(set_to_none=True)
    chunked = compute_gradient(model, plan, pixels, False, 3, False, 1)
    assert chunked.item() == pytest.approx(whole.item(), rel=1e-5)
    found = gradients(model)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3, msg=name)


def without_dropout(model: DualEncoder) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


@pytest.mark.parametrize(
    "changed",
    [
        {"loss": "clip"}, {"loss": "triplet"}, {"loss": "sigmoid"}, {"mixup": 1.0},
        {"projection": "residual", "image_dropout": 0.2, "text_dropout": 0.2}, {"matryoshka": "4,32"},
    ],
)  # fmt: skip
def test_the_head_start_learns_and_reads_features_as_they_are(
    changed: dict[str, Any], weights: Path, recipe: Recipe
) -> None:
    model = DualEncoder.from_recipe(replace(recipe, **changed, head_start_epochs=60), weights).eval()
    dataset = made_up(40)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(40, model.image_tower.features, generator=generator) * 3 + 5
    texts = torch.randn(40, model.text_tower.features, generator=generator).repeat_interleave(5, 0)
    train_projections(model, dataset, images[None], texts, None, silent)
    model.eval()
    with torch.no_grad():
        projected = (
            model.project_image(images) @ torch.nn.functional.normalize(model.text_projection(texts[::5]), dim=1).T
        )
    assert (projected.argmax(1) == torch.arange(40)).float().mean() > 0.9


def test_mixup_mixes_an_image_and_its_caption_by_the_same_share() -> None:
    torch.manual_seed(0)
    pairs = torch.randn(6, 4)
    images, texts = mixed(pairs, 2 * pairs, 1.0)
    torch.testing.assert_close(texts, 2 * images)
    assert not torch.allclose(images, pairs)
    # The identity as features shows the shares: two a row, which add up to 1.
    shares, _ = mixed(torch.eye(6), torch.eye(6), 1.0)
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
    assert ((shares > 0).sum(1) <= 2).all()


def test_a_step_mixes_pairs_too(weights: Path, recipe: Recipe) -> None:
    losses = {}
    for mixup in (0.0, 1.0):
        model = DualEncoder.from_recipe(replace(recipe, mixup=mixup, captions_per_image=1), weights)
        without_dropout(model)
        batch = plan_epoch(made_up(8), 8, 1, 0, 1)[0]
        size = model.image_tower.preprocessing.size
        pixels = torch.randint(
            0, 256, (8, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        )
        losses[mixup] = [
            compute_gradient(model, StepPlan.of(batch, 0, 1), pixels, False, 0, False, seed).item()
            for seed in (1, 1, 2)
        ]
    first, again, other = losses[1.0]
    assert first == again != other  # drawn from the seed of the step
    assert len({*losses[0.0]}) == 1 and losses[0.0][0] not in losses[1.0]


def test_features_are_dropped_in_the_head_start(weights: Path, recipe: Recipe) -> None:
    dataset = made_up(10)
    weight = {}
    for share in (0.0, 0.5):
        model = DualEncoder.from_recipe(replace(recipe, image_dropout=share, head_start_epochs=1), weights).eval()
        images = torch.randn(10, model.image_tower.features, generator=torch.Generator().manual_seed(0))
        texts = torch.randn(50, model.text_tower.features, generator=torch.Generator().manual_seed(1))
        train_projections(model, dataset, images[None], texts, None, silent)
        weight[share] = model.image_projection.state_dict()["weight"]
    assert not torch.equal(weight[0.0], weight[0.5])


def test_cached_stages_equal_computed_ones(
    weights: Path, recipe: Recipe, collection: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset = read_dataset(*collection).dataset
    tower = DualEncoder.from_recipe(recipe.with_stages(frozen_image=2), weights).eval().image_tower
    decoded = DecodedPhotos(dataset, tower.preprocessing, Augmentation(tower.preprocessing))
    computed = StemPhotos(tower, decoded, 2)
    cached = CachedStemPhotos(tower, decoded, 2, dataset, silent, tmp_path, [])
    direct = torch.cat([tower.stem(pixels) for pixels in decoded.clean([3, 1], 8)])
    torch.testing.assert_close(torch.cat(list(cached.clean([3, 1], 8))).float(), direct, atol=2e-2, rtol=2e-2)
    train = [index for index, image in enumerate(dataset.images) if image.split == "train"][:2]
    views = [next(iter(cached.epoch([train], epoch))) for epoch in (1, 2, 3)]
    for epoch, view in enumerate(views, start=1):
        torch.testing.assert_close(next(iter(computed.epoch([train], epoch))), view, atol=1e-3, rtol=1e-3)
    assert torch.equal(views[0], views[2])
    assert not torch.equal(views[0], views[1])


def test_a_whole_towers_views_are_kept_until_they_are_drawn_otherwise(
    weights: Path, recipe: Recipe, collection: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset = read_dataset(*collection).dataset
    tower = DualEncoder.from_recipe(recipe.with_stages(frozen_image=WHOLE), weights).eval().image_tower
    train = [index for index, image in enumerate(dataset.images) if image.split == "train"][:2]

    def view(crop_area: float, drawn: str, reads: bool) -> torch.Tensor:
        decoded = DecodedPhotos(dataset, tower.preprocessing, Augmentation(tower.preprocessing, crop_area))
        if not reads:
            decoded.epoch = decoded.clean = None  # type: ignore[method-assign, assignment]
        cached = CachedStemPhotos(tower, decoded, 1, dataset, silent, tmp_path, drawn)
        return next(iter(cached.epoch([train], 1)))

    first = view(0.5, "half", reads=True)
    assert torch.equal(view(0.5, "half", reads=False), first)
    assert not torch.equal(view(0.9, "most", reads=True), first)


def test_no_batch_of_one_where_an_image_comes_often() -> None:
    first, second, often = made_up(3).images
    dataset = Dataset((first, second, replace(often, weight=6.0)))
    batches = [batch for epoch in range(20) for batch in plan_epoch(dataset, 2, 1, 0, epoch)]
    assert batches and all(len(batch.images) == 2 for batch in batches)


def test_an_image_comes_by_its_weight_and_once_in_a_batch() -> None:
    dataset = Dataset(
        tuple(replace(image, weight=2.5 if number < 10 else 0.5) for number, image in enumerate(made_up(30).images))
    )
    seen = dict.fromkeys(range(30), 0)
    for epoch in range(1, 201):
        batches = plan_epoch(dataset, 6, 1, 0, epoch)
        for batch in batches:
            assert len(set(batch.images)) == len(batch.images)
            for index in batch.images:
                seen[index] += 1
    heavy, light = (sum(seen[n] for n in numbers) / len(numbers) / 200 for numbers in (range(10), range(10, 30)))
    # Copies of an image that fall into the same batch count once.
    assert 2.2 < heavy <= 2.5 and light == pytest.approx(0.5, abs=0.05)
    assert plan_epoch(dataset, 6, 1, 0, 3) == plan_epoch(dataset, 6, 1, 0, 3)


def test_the_head_start_reads_every_view(weights: Path, recipe: Recipe) -> None:
    """Pairs that only the second view tells apart are learned, since steps read views at random."""
    model = DualEncoder.from_recipe(replace(recipe, head_start_epochs=60), weights).eval()
    generator = torch.Generator().manual_seed(0)
    informative = torch.randn(40, model.image_tower.features, generator=generator)
    texts = torch.randn(40, model.text_tower.features, generator=generator).repeat_interleave(5, 0)
    images = torch.stack(
        [torch.randn(1, model.image_tower.features).expand_as(informative) + 0.01 * informative, informative]
    )
    train_projections(model, made_up(40), images, texts, None, silent)
    with torch.no_grad():
        similar = model.project_image(informative) @ model.project_text(texts[::5]).T
    assert (similar.argmax(1) == torch.arange(40)).float().mean() > 0.8


def test_held_depthwise_kernels_have_no_gradient(weights: Path, recipe: Recipe) -> None:
    tower = DualEncoder.from_recipe(recipe, weights).image_tower
    tower.freeze(0)
    hold_depthwise(tower)
    depthwise = [m for m in tower.modules() if isinstance(m, torch.nn.Conv2d) and m.groups > 1]
    others = [m for m in tower.modules() if isinstance(m, torch.nn.Conv2d) and m.groups == 1]
    assert depthwise and others
    assert not any(module.weight.requires_grad for module in depthwise)
    assert all(module.weight.requires_grad for module in others)


def test_openvino_computes_what_is_frozen(weights: Path, recipe: Recipe) -> None:
    pytest.importorskip("openvino")
    tower = DualEncoder.from_recipe(recipe.with_stages(frozen_image=2), weights).eval().image_tower
    compute = stem_of(tower)
    assert compute != tower.stem
    pixels = torch.randint(0, 256, (5, 3, tower.preprocessing.size, tower.preprocessing.size), dtype=torch.uint8)
    torch.testing.assert_close(compute(pixels), tower.stem(pixels), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(compute(pixels[2:3]), compute(pixels)[2:3], atol=0, rtol=0)
    in_bf16 = stem_of(tower, bf16=True)(pixels)  # 8 bits of mantissa; fp32 on a CPU without it
    assert (in_bf16 - tower.stem(pixels)).norm() < 0.05 * tower.stem(pixels).norm()
    hidden = tower.stem(pixels).half()  # as it is cached
    trunk = trunk_of(tower, hidden)
    assert trunk != tower.trunk
    with torch.no_grad():
        torch.testing.assert_close(trunk(hidden), tower.trunk(hidden.float()), atol=1e-4, rtol=1e-4)
    whole = DualEncoder.from_recipe(recipe.with_stages(frozen_image=WHOLE), weights).eval().image_tower
    assert trunk_of(whole, whole.stem(pixels)) == whole.trunk
    nothing_frozen = DualEncoder.from_recipe(recipe.with_stages(frozen_image=0), weights).image_tower
    assert stem_of(nothing_frozen) == nothing_frozen.stem


@pytest.mark.parametrize(("images", "size"), [(7, 2), (3, 2), (2, 64), (9, 4), (5, 3)])
def test_no_batch_has_one_image(images: int, size: int) -> None:
    assert min(len(batch.images) for batch in plan_epoch(made_up(images), size, 1, 0, 1)) > 1


@pytest.mark.parametrize(
    ("precision", "device", "has_kernels", "expected"),
    [
        ("bf16", "cpu", True, True),
        ("bf16", "cpu", False, False),  # where a convolution would take a hundred times as long
        ("auto", "cpu", True, False),
        ("auto", "cuda", False, True),
        ("bf16", "cuda", False, True),
        ("fp32", "cuda", True, False),
    ],
)
def test_bf16_is_for_devices_that_have_it(
    precision: str, device: str, has_kernels: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_kernels)
    assert trains_in_bf16(precision, torch.device(device)) == expected
