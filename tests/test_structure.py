"""The penalty on changed neighbourhoods, by hand."""

import math

import torch
import torch.nn.functional as F

from crossmodal.training.structure import TEMPERATURE, structure_penalty


def test_a_turned_and_scaled_space_costs_nothing() -> None:
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    assert structure_penalty(features, 3 * features @ turn).item() < 1e-5


def test_two_pairs_that_change_partners_by_hand() -> None:
    # Before, 0 and 1 are one point and 2 and 3 the opposite one; after, 0 is with 2 and 1 with 3.
    before, after = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]), torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    near = 0.5 / (1 + math.exp(-2 / TEMPERATURE))
    far = 0.5 - near
    # Each item keeps itself and its opposite, and two others change places.
    mean = (near + far) / 2
    divergence = near * math.log(near / mean) + (far * math.log(far / mean) if far else 0)
    assert math.isclose(structure_penalty(before, after).item(), divergence, rel_tol=1e-4)


def test_its_gradient_brings_neighbours_back() -> None:
    features = F.normalize(torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    embeds = torch.randn(8, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    first = structure_penalty(features, embeds)
    for _ in range(50):
        (gradient,) = torch.autograd.grad(structure_penalty(features, embeds), embeds)
        embeds = (embeds - gradient).detach().requires_grad_()
    assert structure_penalty(features, embeds) < first / 2
