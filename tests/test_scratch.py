"""Text towers from scratch: the vocabulary, and features that do not depend on the company."""

import pytest
import torch

from crossmodal.errors import CrossmodalError
from crossmodal.towers.scratch import MAX_TOKENS, ScratchTextTower, make_vocabulary, sinusoids, words_of
from crossmodal.towers.text import text_from_plain

CAPTIONS = ["A dog runs.", "The dog's ball, a ball!", "a cat"]


def test_the_vocabulary_holds_the_most_frequent_words() -> None:
    assert words_of("The dog's 2 balls, RED!") == ["the", "dog's", "2", "balls", "red"]
    assert make_vocabulary(CAPTIONS, 6) == ["[pad]", "[unknown]", "[cls]", "a", "ball", "cat"]


@pytest.mark.parametrize("encoder", ["bilstm", "transformer"])
def test_a_sentence_has_the_same_features_in_any_company(encoder: str) -> None:
    torch.manual_seed(0)
    tower = ScratchTextTower(encoder, make_vocabulary(CAPTIONS)).eval()
    sentences = ["a dog", "the dog runs " * 30, "", "zebra", "a cat runs"]
    together = tower(sentences)
    assert together.shape == (5, tower.features)
    for sentence, features in zip(sentences, together, strict=True):
        torch.testing.assert_close(tower([sentence])[0], features, atol=1e-5, rtol=1e-4)
    # Cut after MAX_TOKENS, and word order matters.
    assert torch.equal(tower(["dog " * MAX_TOKENS])[0], tower(["dog " * (MAX_TOKENS - 1)])[0])
    assert not torch.allclose(tower(["dog cat a"])[0], tower(["cat dog a"])[0], atol=1e-3)
    again = text_from_plain(tower.plain())
    again.load_state_dict(tower.state_dict())
    assert torch.equal(again.eval()(sentences), together)


def test_positions_by_hand() -> None:
    table = sinusoids(3, 4)
    assert table[0].tolist() == [0, 1, 0, 1]
    expected = torch.tensor([1.0, 1.0, 0.01, 0.01])
    assert torch.allclose(
        table[1], torch.stack([f(a) for f, a in zip((torch.sin, torch.cos) * 2, expected, strict=True)])
    )


def test_an_unknown_encoder_names_what_there_is() -> None:
    with pytest.raises(CrossmodalError, match="bilstm, transformer"):
        ScratchTextTower("gru", make_vocabulary(CAPTIONS))
