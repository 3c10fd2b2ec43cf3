"""The loss against values worked out by hand and against a slow readable oracle."""

import math

import torch
import torch.nn.functional as F

from crossmodal.training.losses import symmetric_cross_entropy


def test_two_pairs_by_hand() -> None:
    # Similarities are the identity, the scale is e^0 = 1: each row's loss is log(1 + e^-1).
    loss = symmetric_cross_entropy(torch.eye(2), torch.eye(2), torch.arange(2), torch.tensor(0.0))
    assert math.isclose(loss.item(), math.log(1 + math.exp(-1)), rel_tol=1e-6)


def test_captions_of_one_image_are_no_negatives_by_hand() -> None:
    # Image 0 has two captions, at similarity 1 and 0 with it; image 1 has one, at similarity 1.
    images = torch.eye(2)
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    loss = symmetric_cross_entropy(images, texts, torch.tensor([0, 0, 1]), torch.tensor(0.0))
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
    assert math.isclose(symmetric_cross_entropy(images, texts, owner, scale).item(), total / 2, rel_tol=1e-5)
