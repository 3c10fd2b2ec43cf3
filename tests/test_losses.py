"""The loss against values worked out by hand and against a slow readable oracle."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from crossmodal.dual_encoder import DualEncoder
from crossmodal.recipe import Recipe
from crossmodal.training.losses import (
    LOSSES,
    SOFT,
    LossParameters,
    batch_loss,
    clip,
    info_nce,
    nt_xent,
    sigmoid,
    triplet,
    triplet_hard,
)

ONE = LossParameters(torch.tensor(0.0))  # a temperature of 1


def margin(width: float) -> LossParameters:
    return LossParameters(torch.tensor(0.0), margin=width)


def test_two_pairs_by_hand() -> None:
    # Similarities are the identity, the scale is e^0 = 1: each row's loss is log(1 + e^-1).
    loss = clip(torch.eye(2), torch.eye(2), torch.arange(2), ONE)
    assert math.isclose(loss.item(), math.log(1 + math.exp(-1)), rel_tol=1e-6)


def test_captions_of_one_image_are_no_negatives_by_hand() -> None:
    # Image 0 has two captions, at similarity 1 and 0 with it; image 1 has one, at similarity 1.
    images = torch.eye(2)
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    loss = clip(images, texts, torch.tensor([0, 0, 1]), ONE)
    e = math.e
    text_to_image = (math.log(1 + 1 / e) + math.log(1 + e) + math.log(1 + 1 / e)) / 3
    # Pair (0, a): against its own 1 and image 1's caption 0. Pair (0, b): 0 against 0. Pair (1, c):
    # its own 1 against the 0 of a and the 1 of b.
    image_to_text = (math.log(1 + 1 / e) + math.log(2) + math.log((e + 1 + e) / e)) / 3
    assert math.isclose(loss.item(), (text_to_image + image_to_text) / 2, rel_tol=1e-6)


def test_against_a_loop() -> None:
    torch.manual_seed(0)
    images, texts = F.normalize(torch.randn(5, 8), dim=1), F.normalize(torch.randn(11, 8), dim=1)
    owner = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 4])
    scale = torch.tensor(2.0)
    total = 0.0
    for text, image in enumerate(owner.tolist()):
        scores = [math.exp(scale.exp() * (texts[text] @ other)) for other in images]
        total -= math.log(scores[image] / sum(scores)) / len(owner)
        own = math.exp(scale.exp() * (texts[text] @ images[image]))
        others = [math.exp(scale.exp() * (texts[o] @ images[image])) for o in range(len(owner)) if owner[o] != image]
        total -= math.log(own / (own + sum(others))) / len(owner)
    assert math.isclose(clip(images, texts, owner, LossParameters(scale)).item(), total / 2, rel_tol=1e-5)


def test_info_nce_is_the_image_side_alone_by_hand() -> None:
    # Image 0 scores 1 and 0.6 with the captions, image 1 scores 0 and 0.8.
    texts = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    loss = info_nce(torch.eye(2), texts, torch.arange(2), ONE)
    assert math.isclose(loss.item(), (math.log(1 + math.exp(-0.4)) + math.log(1 + math.exp(-0.8))) / 2, rel_tol=1e-6)


def test_nt_xent_by_hand() -> None:
    # Two pairs at right angles: of the three others one scores 1 and two score 0, for all four anchors.
    loss = nt_xent(torch.eye(2), torch.eye(2), torch.arange(2), ONE)
    assert math.isclose(loss.item(), math.log((math.e + 2) / math.e), rel_tol=1e-6)
    # A second caption of image 0 at the place of image 1: no negative of the first or of image 0.
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    loss = nt_xent(torch.eye(2), texts, torch.tensor([0, 0, 1]), ONE)
    e = math.e
    from_texts = math.log((e + 1 + 1) / e), math.log(1 + e + e), math.log((1 + e + 1 + e) / e)
    # Image 0 with either caption: image 1 and caption 2 score 0. Image 1: image 0 and caption 0 score 0, caption 1 scores 1.
    from_images = math.log((e + 1 + 1) / e), math.log(1 + 1 + 1), math.log((e + 1 + 1 + e) / e)
    assert math.isclose(loss.item(), (sum(from_texts) + sum(from_images)) / 6, rel_tol=1e-6)


def test_triplets_by_hand() -> None:
    # Pair 0: positive 1, negative image 0, negative text 0.6 -> hinges 0 and 0 at margin 0.2.
    # Pair 1: positive 0.8, negative image 0.6, negative text 0 -> hinges 0 (0.2 - 0.8 + 0.6) and 0.
    texts = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    rows = torch.arange(2)
    assert triplet(torch.eye(2), texts, rows, margin(0.2)).item() == pytest.approx(0.0, abs=1e-6)
    # At margin 0.7: pair 0 has 0 and 0.3, pair 1 has 0.5 and 0; means of the sums.
    assert triplet(torch.eye(2), texts, rows, margin(0.7)).item() == pytest.approx((0.3 + 0.5) / 2, rel=1e-5)
    # Three images; text 0 belongs to image 0 at 0.5, negatives score 0.5 and 0.4 at margin 0.2.
    images = torch.eye(3)
    texts = torch.tensor([[0.5, 0.5, 0.4], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    rows = torch.arange(3)
    everything = triplet(images, texts, rows, margin(0.2))
    hardest = triplet_hard(images, texts, rows, margin(0.2))
    assert everything.item() == pytest.approx((0.2 + 0.1) / 3, rel=1e-5)
    assert hardest.item() == pytest.approx(0.2 / 3, rel=1e-5)


def test_captions_of_one_image_are_no_negatives_in_a_triplet() -> None:
    texts = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    loss = triplet_hard(torch.eye(2), texts, torch.tensor([0, 0, 1]), margin(0.5))
    # Pair (0, 1): negative image 0.5 - 0.8 + 0.6 = 0.3, negative text 2 scores 0 with image 0 -> 0.
    # Pair (1, 2): negative image 0, negative text 1 scores 0.6 with image 1 -> 0.1. Pair (0, 0): nothing.
    assert loss.item() == pytest.approx((0.3 + 0.1) / 3, rel=1e-5)


def test_sigmoid_by_hand() -> None:
    # Two captions of image 0 and one of image 1: six questions.
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    parameters = LossParameters(torch.tensor(math.log(2.0)), torch.tensor(-1.0))
    loss = sigmoid(torch.eye(2), texts, torch.tensor([0, 0, 1]), parameters)

    def question(logit: float, right: bool) -> float:
        return math.log(1 + math.exp(-logit if right else logit))

    total = question(1, True) + question(-1, False) + question(-1, True) + question(1, False)
    total += question(-1, False) + question(1, True)
    assert math.isclose(loss.item(), total / 3, rel_tol=1e-6)


def test_every_choice_of_the_command_line_is_a_loss() -> None:
    assert set(LOSSES) == {*Recipe.__dataclass_fields__["loss"].metadata["choices"], f"clip{SOFT}"}


def test_matryoshka_is_the_mean_over_prefixes_by_hand(model: DualEncoder) -> None:
    model.recipe = replace(model.recipe, matryoshka="1,2", joint_size=2)
    with torch.no_grad():
        model.logit_scale.zero_()
    images, texts = torch.eye(2), torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    # One dimension, at unit length: images 1 and 0, texts 1 and -1. Text 0 scores 1 and 0, text 1 scores -1 and 0;
    # image 0 scores 1 and -1, image 1 scores 0 and 0.
    one = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2)) + math.log(2)) / 4
    # Two: text 0 scores 0.6 and 0.8, text 1 -0.8 and 0.6; image 0 0.6 and -0.8, image 1 0.8 and 0.6.
    two = sum(math.log(1 + math.exp(wrong)) for wrong in (0.2, -1.4, -1.4, 0.2)) / 4
    assert batch_loss(model, images, texts, torch.arange(2)).item() == pytest.approx((one + two) / 2, rel=1e-6)
    model.recipe = replace(model.recipe, matryoshka="")
    assert batch_loss(model, images, texts, torch.arange(2)).item() == pytest.approx(two, rel=1e-6)
