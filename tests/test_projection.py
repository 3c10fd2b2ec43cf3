"""Projections."""

from dataclasses import replace

import pytest
import torch

from crossmodal.projection import Residual, Standardise, projection
from crossmodal.recipe import Recipe


def test_a_standardised_feature_has_mean_0_and_variance_1_and_a_constant_one_is_0() -> None:
    features = torch.randn(200, 3) * torch.tensor([5.0, 0.1, 0.0]) + torch.tensor([7.0, -1.0, 2.0])
    standardise = Standardise(3)
    assert torch.equal(standardise(features), features)
    standardise.fit(features)
    seen = standardise(features)
    torch.testing.assert_close(seen.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[:, :2].std(0, correction=0), torch.ones(2), atol=1e-4, rtol=0)


def test_the_residual_adds_to_the_joint_vector_in_place_of_replacing_it() -> None:
    residual = Residual(4, 8, 0.5).eval()
    joint = torch.randn(2, 4)
    assert not torch.equal(residual(joint), joint)
    with torch.no_grad():
        for parameter in residual.correction.parameters():
            parameter.zero_()
    assert torch.equal(residual(joint), joint)


def test_dropped_features_are_average_ones(recipe: Recipe) -> None:
    wide = replace(recipe, projection="residual", hidden_size=64, dropout=0.0)
    alike = projection(6, wide, feature_dropout=0.5)
    features = torch.randn(8, 6) + 3
    standardise = next(alike.children())
    assert isinstance(standardise, Standardise)
    standardise.fit(features)
    mean = features.mean(0, keepdim=True)
    torch.testing.assert_close(alike(mean), alike.eval()(mean), atol=1e-5, rtol=0)
    torch.testing.assert_close(alike(features), alike(features))  # evaluation drops nothing
    alike.train()
    assert not torch.equal(alike(features), alike(features))


@pytest.mark.parametrize("kind", ["linear", "mlp", "residual"])
def test_every_projection_leads_to_the_joint_size(recipe: Recipe, kind: str) -> None:
    assert projection(6, replace(recipe, projection=kind)).eval()(torch.randn(3, 6)).shape == (3, recipe.joint_size)
