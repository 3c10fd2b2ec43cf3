"""The text tower: a sentence encoder, its tokenizer and its pooling."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
import tokenizers.processors
import torch
from torch import Tensor, nn

from crossmodal.errors import CrossmodalError, WeightsError
from crossmodal.recipe import WHOLE, Recipe
from crossmodal.towers.freezing import Freezable, counted
from crossmodal.towers.scratch import MAX_WORDS, ScratchTextTower, make_vocabulary
from crossmodal.towers.weights import find_text_weights

SCRATCH = "scratch:"
# What BertConfig needs to know beside its defaults, which are bert-base-uncased's.
BERT_SHAPES: dict[str, dict[str, int]] = {
    "bert-base-uncased": {},
    "all-MiniLM-L6-v2": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
    "all-MiniLM-L12-v2": {"hidden_size": 384, "num_hidden_layers": 12, "intermediate_size": 1536},
}
MAX_TOKENS = 64  # of Flickr30k's captions 1 in 1,000 is longer; the rest of those is cut
# Sentences of like length go through the encoder together, so that little padding is computed.
SENTENCES_AT_ONCE = 64


class PretrainedTextTower(Freezable):
    """A Hugging Face encoder; sentences in, one feature vector each out."""

    def __init__(
        self, config: Mapping[str, Any], tokenizer: str, pooling: str = "mean", layers: Sequence[int] = ()
    ) -> None:
        """Build the encoder with random weights.

        `pooling` is the mean of the tokens, the first token (cls), or the encoder's pooler over it.
        `layers` are those that are pooled, their vectors side by side; 0 is the word embeddings, and
        none is the last alone. Lower layers still know the words, which the last has merged into one
        meaning.
        """
        super().__init__()
        # transformers takes seconds to import, which a user of the image tower alone need not pay.
        from transformers import AutoConfig, AutoModel

        self.config = dict(config)
        options = {key: value for key, value in self.config.items() if key != "model_type"}
        self.net: Any = AutoModel.from_config(AutoConfig.for_model(self.config["model_type"], **options))
        self.pooling, self.layers = pooling, tuple(layers)
        self.remembered: dict[str, Tensor] = {}  # what a tower that is never trained gave before
        if pooling == "pooler" and getattr(self.net, "pooler", None) is None:
            raise CrossmodalError(f"A {self.config['model_type']} encoder has no pooler; pool by mean or cls.")
        if pooling != "pooler" and getattr(self.net, "pooler", None) is not None:
            self.net.pooler = None  # its output is not used
        depth = self.net.config.num_hidden_layers
        if not all(0 <= layer <= depth for layer in self.layers):
            given = ",".join(map(str, self.layers))
            raise CrossmodalError(f"--text-layers {given}: this encoder has the layers 0 to {depth}.")
        if self.layers and pooling == "pooler":
            raise CrossmodalError("--text-layers: the pooler reads the last layer alone; pool by mean or cls.")
        self.features: int = self.net.config.hidden_size * max(1, len(self.layers))
        self.tokenizer = tokenizers.Tokenizer.from_str(tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)

    def first_parts(self, count: int) -> list[nn.Module]:
        """Return the embeddings and the first `count` layers."""
        if count == WHOLE:
            return [self.net]
        encoder = getattr(self.net, "encoder", None) or getattr(self.net, "transformer", None)  # the latter: DistilBERT
        layers = getattr(encoder, "layer", ())
        return (
            [self.net.embeddings, *counted(count, layers, self.config["model_type"], ("text", "layers"))]
            if count
            else []
        )

    def forward(self, sentences: Sequence[str]) -> Tensor:
        """Return features [len(sentences), features], in the order given."""
        if self.remembered and all(sentence in self.remembered for sentence in sentences):
            return torch.stack([self.remembered[sentence] for sentence in sentences]).to(self.net.device)
        device = next(self.parameters()).device
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(list(sentences))]
        order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
        at_once = SENTENCES_AT_ONCE if device.type == "cpu" else len(order)
        parts = [
            self.pooled(*self._padded([tokens[index] for index in order[start : start + at_once]], device))
            for start in range(0, len(order), at_once)
        ]
        back = torch.tensor(order, device=device).argsort()
        return torch.cat(parts)[back]

    def _padded(self, tokens: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return token ids [N, T] and their mask [N, T]."""
        longest = max(map(len, tokens))
        ids = torch.tensor([row + [self.padding] * (longest - len(row)) for row in tokens])
        lengths = torch.tensor([len(row) for row in tokens]).to(device, non_blocking=True)
        mask = (torch.arange(longest, device=device) < lengths[:, None]).long()
        return ids.to(device, non_blocking=True), mask

    @property
    def padding(self) -> int:
        """The token id that fills a row."""
        return self.config.get("pad_token_id") or 0

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and their mask [N, T] -> features [N, features]."""
        output = self.net(input_ids=ids, attention_mask=mask, output_hidden_states=bool(self.layers))
        if self.pooling == "pooler":
            return output.pooler_output
        if not self.layers:
            return self._one_vector(output.last_hidden_state, mask)
        return torch.cat([self._one_vector(output.hidden_states[layer], mask) for layer in self.layers], dim=1)

    def _one_vector(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """A layer's tokens [N, T, H] -> [N, H]."""
        if self.pooling == "cls":
            return hidden[:, 0]
        weights = mask[:, :, None].to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)

    def plain(self) -> dict[str, Any]:
        """Return what rebuilds the tower without its weights, as plain values."""
        return {
            "config": self.config, "tokenizer": self.tokenizer.to_str(), "pooling": self.pooling,
            "layers": list(self.layers),
        }  # fmt: skip


TextTower = PretrainedTextTower | ScratchTextTower


def text_from_plain(values: Mapping[str, Any]) -> TextTower:
    """Rebuild a tower from its `plain`, with random weights."""
    return (ScratchTextTower if "vocabulary" in values else PretrainedTextTower)(**values)


def needs_captions(recipe: Recipe) -> bool:
    """Say whether a recipe's text tower makes its vocabulary of the training captions."""
    return recipe.text_tower.startswith(SCRATCH) or recipe.text_weights == "random"


def text_tower(recipe: Recipe, folder: Path | None = None, captions: Sequence[str] = ()) -> TextTower:
    """Build a recipe's tower: scratch:NAME, or a Hugging Face or sentence-transformers encoder by name.

    `captions` are what a tower without published weights makes its vocabulary of. Raises WeightsError
    when published weights cannot be had.
    """
    torch.manual_seed(recipe.seed)
    if recipe.text_tower.startswith(SCRATCH):
        tower: TextTower = ScratchTextTower(recipe.text_tower.removeprefix(SCRATCH), make_vocabulary(captions))
    elif recipe.text_weights == "random":
        tower = _random_tower(recipe, captions)
    else:
        tower = _published_tower(recipe, find_text_weights(recipe.text_tower, folder))
    for stage in recipe.stages:
        tower.first_parts(stage.frozen_text)  # refuses more than there are
    return tower


def _random_tower(recipe: Recipe, captions: Sequence[str]) -> PretrainedTextTower:
    """Build a BERT of the named encoder's shape, on word pieces of the captions."""
    shape = next((shape for name, shape in BERT_SHAPES.items() if recipe.text_tower.endswith(name)), None)
    if shape is None:
        raise CrossmodalError(
            f"The shape of {recipe.text_tower} is not known without its weights; random weights can be had for "
            f"{', '.join(BERT_SHAPES)}."
        )
    tokenizer = tokenizers.BertWordPieceTokenizer()
    tokenizer.train_from_iterator(captions, vocab_size=MAX_WORDS, show_progress=False)
    tokenizer.post_processor = tokenizers.processors.BertProcessing(
        ("[SEP]", tokenizer.token_to_id("[SEP]")), ("[CLS]", tokenizer.token_to_id("[CLS]"))
    )
    config = {"model_type": "bert", "vocab_size": tokenizer.get_vocab_size(), **shape}
    return PretrainedTextTower(config, tokenizer.to_str(), recipe.text_pooling, recipe.numbers("text_layers"))


def _published_tower(recipe: Recipe, found: Path) -> PretrainedTextTower:
    # Only here, where published weights are read: it takes seconds to import.
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # reading takes no time worth a bar
    try:
        published = SentenceTransformer(str(found), device="cpu", local_files_only=True)
        encoder = published[0].auto_model
        backend = published.tokenizer.backend_tokenizer
    except Exception as error:  # the library lets through errors of every library below it
        raise WeightsError(f"{found} cannot be read as a sentence encoder ({error}).") from error
    config = json.loads(encoder.config.to_json_string(use_diff=True))
    config = {
        key: value for key, value in config.items() if key not in ("architectures", "transformers_version", "dtype")
    }
    tower = PretrainedTextTower(config, backend.to_str(), recipe.text_pooling, recipe.numbers("text_layers"))
    with_pooler = recipe.text_pooling == "pooler"
    weights = {
        key: value for key, value in encoder.state_dict().items() if with_pooler or not key.startswith("pooler.")
    }
    try:
        tower.net.load_state_dict(weights)
    except RuntimeError as error:
        raise WeightsError(
            f"{found} is a part of a {config['model_type']} model, which cannot be rebuilt alone; choose another text tower."
        ) from error
    return tower
