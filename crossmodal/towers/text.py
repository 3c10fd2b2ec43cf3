"""The text tower: a sentence encoder, its tokenizer and its pooling."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch
from torch import Tensor, nn

from crossmodal.errors import WeightsError
from crossmodal.towers.weights import find_text_weights

MAX_TOKENS = 64  # of Flickr30k's captions 1 in 1,000 is longer; the rest of those is cut
# Sentences of like length go through the encoder together, so that little padding is computed.
SENTENCES_AT_ONCE = 64


class TextTower(nn.Module):
    """A transformer encoder with mean pooling; sentences in, one feature vector each out."""

    def __init__(self, config: Mapping[str, Any], tokenizer: str) -> None:
        super().__init__()
        # transformers takes seconds to import, which a user of the image tower alone need not pay.
        from transformers import AutoConfig, AutoModel

        self.config = dict(config)
        options = {key: value for key, value in self.config.items() if key != "model_type"}
        self.net: Any = AutoModel.from_config(AutoConfig.for_model(self.config["model_type"], **options))
        if getattr(self.net, "pooler", None) is not None:
            self.net.pooler = None  # its output is not used; mean pooling reads the tokens
        self.features: int = self.net.config.hidden_size
        self.tokenizer = tokenizers.Tokenizer.from_str(tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)

    def forward(self, sentences: Sequence[str]) -> Tensor:
        """Return features [len(sentences), features], in the order given."""
        device = next(self.parameters()).device
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(list(sentences))]
        order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
        at_once = SENTENCES_AT_ONCE if device.type == "cpu" else len(order)
        parts = [
            self._pooled([tokens[index] for index in order[start : start + at_once]], device)
            for start in range(0, len(order), at_once)
        ]
        back = torch.tensor(order, device=device).argsort()
        return torch.cat(parts)[back]

    def _pooled(self, tokens: list[list[int]], device: torch.device) -> Tensor:
        longest = max(map(len, tokens))
        pad = self.config.get("pad_token_id") or 0
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in tokens]).to(device, non_blocking=True)
        lengths = torch.tensor([len(row) for row in tokens]).to(device, non_blocking=True)
        mask = (torch.arange(longest, device=device) < lengths[:, None]).long()
        hidden = self.net(input_ids=ids, attention_mask=mask).last_hidden_state  # [N, T, features]
        weights = mask[:, :, None].to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)

    def plain(self) -> dict[str, Any]:
        """Return what rebuilds the tower without its weights, as plain values."""
        return {"config": self.config, "tokenizer": self.tokenizer.to_str()}

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "TextTower":
        """Rebuild a tower from `plain`, with random weights."""
        return TextTower(values["config"], values["tokenizer"])


def text_tower(name: str, folder: Path | None = None) -> TextTower:
    """Build a tower by its sentence-transformers name, with its published weights.

    Raises WeightsError when they cannot be had or the encoder does not pool by the mean.
    """
    found = find_text_weights(name, folder)
    # Only here, where published weights are read: it takes seconds to import.
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # reading takes no time worth a bar
    try:
        published = SentenceTransformer(str(found), device="cpu", local_files_only=True)
        encoder, pooling = published[0].auto_model, published[1]
        backend = published.tokenizer.backend_tokenizer
    except Exception as error:  # the library lets through errors of every library below it
        raise WeightsError(f"{found} cannot be read as a sentence encoder ({error}).") from error
    if getattr(pooling, "pooling_mode", None) not in ("mean", ("mean",), ["mean"]):
        raise WeightsError(
            f"{found} pools by {getattr(pooling, 'pooling_mode', '?')}; the text tower pools by the mean."
        )
    config = json.loads(encoder.config.to_json_string(use_diff=True))
    config = {
        key: value for key, value in config.items() if key not in ("architectures", "transformers_version", "dtype")
    }
    tower = TextTower(config, backend.to_str())
    published_weights = {key: value for key, value in encoder.state_dict().items() if not key.startswith("pooler.")}
    tower.net.load_state_dict(published_weights)
    return tower
