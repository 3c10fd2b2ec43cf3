"""Query-bank normalisation."""

import math

import pytest
import torch
import torch.nn.functional as F

from crossmodal.encoding import hubness
from crossmodal.encoding.hubness import Bank, hub_bias
from crossmodal.errors import CrossmodalError


def test_the_bias_by_hand() -> None:
    items = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    alike = [math.log((math.exp(2) + 1) / 2) / 2, math.log((math.exp(1.2) + math.exp(1.6)) / 2) / 2]
    torch.testing.assert_close(hub_bias(items, bank, 2.0), torch.tensor(alike))
    thrice = [math.log((3 * math.exp(2) + 1) / 4) / 2, math.log((3 * math.exp(1.2) + math.exp(1.6)) / 4) / 2]
    torch.testing.assert_close(hub_bias(items, bank, 2.0, torch.tensor([3.0, 1.0])), torch.tensor(thrice))


def test_a_weight_is_as_good_as_a_repetition_and_parts_as_good_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    items, bank = F.normalize(torch.randn(7, 5), dim=1), F.normalize(torch.randn(3, 5), dim=1)
    whole = hub_bias(items, bank[[0, 1, 1, 1, 2]], 15.0)
    torch.testing.assert_close(hub_bias(items, bank, 15.0, torch.tensor([1.0, 3.0, 1.0])), whole)
    monkeypatch.setattr(hubness, "ITEMS_AT_ONCE", 2)
    torch.testing.assert_close(hub_bias(items, bank[[0, 1, 1, 1, 2]], 15.0), whole)


def test_a_hub_no_longer_outranks_what_a_query_means() -> None:
    """Item 0 is fairly near to every query; each other item is nearest to its own but for the hub."""
    queries = F.normalize(torch.eye(4) + 0.5, dim=1)
    items = torch.cat([F.normalize(torch.ones(1, 4), dim=1), F.normalize(torch.eye(4) - 0.1, dim=1)])
    scores = queries @ items.T
    assert scores.argmax(1).tolist() == [0, 0, 0, 0]
    corrected = scores - Bank.of(queries, beta=10.0).bias(items)
    assert corrected.argmax(1).tolist() == [1, 2, 3, 4]
    half = Bank.of(queries, beta=10.0, share=0.5).bias(items)
    torch.testing.assert_close(half, Bank.of(queries, beta=10.0).bias(items) / 2)


def test_a_distilled_bank_says_nearly_the_same() -> None:
    torch.manual_seed(0)
    topics = F.normalize(torch.randn(5, 16), dim=1)
    queries = F.normalize(
        topics.repeat_interleave(torch.tensor([40, 10, 10, 10, 10]), 0) + 0.02 * torch.randn(80, 16), dim=1
    )
    items = F.normalize(torch.randn(30, 16), dim=1)
    bank = Bank.of(queries, beta=12.0)
    small = bank.distilled(5)
    assert small.vectors.shape == (5, 16)
    assert sorted(small.weights.tolist()) == [10, 10, 10, 10, 40]
    torch.testing.assert_close(small.bias(items), bank.bias(items), atol=0.01, rtol=0)
    assert bank.distilled(80) is bank


def test_a_bank_travels_as_plain_values_and_is_never_empty() -> None:
    bank = Bank.of(F.normalize(torch.randn(6, 4), dim=1), beta=9.0, share=0.5)
    again = Bank.from_plain(bank.plain())
    items = torch.randn(3, 4)
    assert torch.equal(again.bias(items), bank.bias(items))
    with pytest.raises(CrossmodalError, match="at least one training query"):
        Bank.of(torch.zeros(0, 4), beta=9.0)
