"""Text towers without pretrained weights: a vocabulary of the training captions, an LSTM or a Transformer."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from crossmodal.errors import CrossmodalError
from crossmodal.recipe import WHOLE
from crossmodal.towers.freezing import Freezable, counted

WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
PADDING, UNKNOWN, START = 0, 1, 2
SPECIAL = ("[pad]", "[unknown]", "[cls]")
MAX_WORDS = 5000
MAX_TOKENS = 32
ENCODERS = ("bilstm", "transformer")


def words_of(sentence: str) -> list[str]:
    """Cut a sentence into its words, in lower case, without punctuation."""
    return WORD.findall(sentence.lower())


def make_vocabulary(captions: Iterable[str], size: int = MAX_WORDS) -> list[str]:
    """Return the special entries and the most frequent words, `size` in all; ties by the alphabet."""
    counts = Counter(word for caption in captions for word in words_of(caption))
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return [*SPECIAL, *(word for word, _ in ranked[: size - len(SPECIAL)])]


class ScratchTextTower(Freezable):
    """A text tower on its own vocabulary; sentences in, one feature vector each out."""

    def __init__(self, encoder: str, vocabulary: Sequence[str]) -> None:
        super().__init__()
        if encoder not in ENCODERS:
            raise CrossmodalError(f"The text tower scratch:{encoder} is not known; there is {', '.join(ENCODERS)}.")
        self.encoder = encoder
        self.vocabulary = list(vocabulary)
        self._row = {word: row for row, word in enumerate(self.vocabulary)}
        self.net: BiLSTM | TransformerEncoder = (
            BiLSTM(len(vocabulary)) if encoder == "bilstm" else TransformerEncoder(len(vocabulary))
        )
        self.features = self.net.features

    def first_parts(self, count: int) -> list[nn.Module]:
        """Return the word embeddings and the first `count` layers, of which an LSTM has none to freeze."""
        if count == WHOLE:
            return [self.net]
        layers = [*self.net.layers.layers] if isinstance(self.net, TransformerEncoder) else []
        return (
            [self.net.embedding, *counted(count, layers, f"scratch:{self.encoder}", ("text", "layers"))]
            if count
            else []
        )

    def forward(self, sentences: Sequence[str]) -> Tensor:
        """Return features [len(sentences), features], in the order given."""
        device = self.net.embedding.weight.device
        tokens = [self._tokens(sentence) for sentence in sentences]
        lengths = torch.tensor([len(row) for row in tokens])
        longest = int(lengths.max())
        ids = torch.tensor([row + [PADDING] * (longest - len(row)) for row in tokens])
        return self.net(ids.to(device, non_blocking=True), lengths)

    def _tokens(self, sentence: str) -> list[int]:
        """Return the rows of a sentence's words, after a [cls], at most MAX_TOKENS in all."""
        rows = [self._row.get(word, UNKNOWN) for word in words_of(sentence)]
        return [START, *rows][:MAX_TOKENS]

    def plain(self) -> dict[str, Any]:
        """Return what rebuilds the tower without its weights, as plain values."""
        return {"encoder": self.encoder, "vocabulary": self.vocabulary}


class BiLSTM(nn.Module):
    """Two packed bidirectional layers; the last state of either direction, side by side."""

    def __init__(self, words: int, size: int = 128, hidden: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.features = 2 * hidden
        self.embedding = nn.Embedding(words, size, padding_idx=PADDING)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(size, hidden, num_layers=2, batch_first=True, bidirectional=True, dropout=dropout)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Token rows [N, T] and their lengths [N] (on the CPU) to features [N, 2 * hidden]."""
        packed = pack_padded_sequence(
            self.dropout(self.embedding(ids)), lengths, batch_first=True, enforce_sorted=False
        )
        _, (states, _) = self.lstm(packed)  # [layers * 2, N, hidden]
        return torch.cat([states[-2], states[-1]], dim=1)


class TransformerEncoder(nn.Module):
    """Two pre-norm layers of four heads over sinusoidal positions; the state of the [cls]."""

    def __init__(self, words: int, size: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.features = size
        self.embedding = nn.Embedding(words, size, padding_idx=PADDING)
        # As large as the positions once scaled: larger ones would drown them.
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(MAX_TOKENS, size), persistent=False)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(size, 4, 4 * size, dropout, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(size), enable_nested_tensor=False)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Token rows [N, T] and their lengths [N] to features [N, size]."""
        embedded = self.embedding(ids) * math.sqrt(self.features) + self.positions[: ids.shape[1]]
        padded = torch.arange(ids.shape[1], device=ids.device) >= lengths.to(ids.device)[:, None]
        return self.layers(self.dropout(embedded), src_key_padding_mask=padded)[:, 0]


def sinusoids(positions: int, size: int) -> Tensor:
    """Return sines and cosines of falling frequency [positions, size] (Vaswani et al. 2017)."""
    rates = torch.exp(torch.arange(0, size, 2) * (-math.log(10000.0) / size))
    angles = torch.arange(positions)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(positions, size)
