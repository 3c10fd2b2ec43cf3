"""The tokenizer of a text tower as one file that needs neither torch nor the library that published it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import punctuation
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

Tokens = Callable[[Sequence[str]], Sequence[Sequence[int]]]  # of each sentence the ids that the published code gives
# What a portable tokenizer has to split as the published one does, to stand in for it.
PROBES = (
    "two dogs in the snow", "A Man's RED car, 3 dogs!?", "caf\u00e9 \u00d1and\u00fa stra\u00dfe", "it\u2019s \u201cquoted\u201d 2024 - x_y",
    "  a  b\tc ", "don't I'll we've 123abc", "\U0001f600 smile", "\u65e5\u672c\u306e\u72ac", "x", "a very long sentence " * 40,
)  # fmt: skip
QUOTES = {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True)
class PortableTokenizer:
    """A tokenizer that cuts what is too long, and the id that shorter sentences are padded with."""

    tokenizer: Tokenizer
    padding: int

    @property
    def length(self) -> int | None:
        """The number of tokens that every sentence is padded to, None where that of the longest is enough."""
        return (self.tokenizer.padding or {}).get("length")


def of_open_clip(published: Any) -> PortableTokenizer | None:
    """Return the portable form of a tokenizer of open_clip; None where it cannot be had, or splits words otherwise."""
    try:
        if hasattr(published, "bpe_ranks"):
            tokenizer, padding, token = _of_clip(published), 0, "!"
        else:
            tokenizer, inner = _of_hugging_face(published), published.tokenizer
            padding, token = inner.pad_token_id, inner.pad_token
        tokenizer.enable_truncation(published.context_length)
        tokenizer.enable_padding(length=published.context_length, pad_id=padding, pad_token=token)
        return _same(PortableTokenizer(tokenizer, padding), lambda sentences: published(sentences).tolist())
    except Exception:  # of tokenizers there are all kinds, and torch runs every one
        return None


def of_transformers(published: Any, length: int, tokens: Tokens) -> PortableTokenizer | None:
    """Return the portable form of a tokenizer of transformers; None where it has none, or splits otherwise than `tokens`."""
    backend = getattr(published, "backend_tokenizer", None)
    if backend is None:
        return None
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.enable_truncation(length)
    tokenizer.no_padding()
    return _same(PortableTokenizer(tokenizer, published.pad_token_id), tokens)


def _same(portable: PortableTokenizer, tokens: Tokens) -> PortableTokenizer | None:
    """Return a tokenizer that gives the same tokens for PROBES, else None."""
    ours = [encoding.ids for encoding in portable.tokenizer.encode_batch(list(PROBES))]
    return portable if ours == [list(row) for row in tokens(list(PROBES))] else None


def _of_clip(published: Any) -> Tokenizer:
    """Rebuild the byte pair encoding of CLIP, as open_clip's SimpleTokenizer has it."""
    vocabulary, ranks = published.encoder, published.bpe_ranks
    start, end = published.sot_token_id, published.eot_token_id
    word_of = published.decoder
    tokenizer = Tokenizer(
        models.BPE(vocabulary, sorted(ranks, key=ranks.get), end_of_word_suffix="</w>", unk_token=word_of[end])
    )
    tokenizer.normalizer = normalizers.Sequence([*_cleaned(published.clean_fn.__name__), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(CLIP_WORDS), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.post_processor = processors.RobertaProcessing(
        (word_of[end], end), (word_of[start], start), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer


def _of_hugging_face(published: Any) -> Tokenizer:
    """Put what open_clip does to a sentence before the tokenizer that it wraps."""
    tokenizer = Tokenizer.from_str(published.tokenizer.backend_tokenizer.to_str())
    own = [tokenizer.normalizer] if tokenizer.normalizer else []
    tokenizer.normalizer = normalizers.Sequence([*_cleaned(published.clean_fn.__name__), *own])
    return tokenizer


def _cleaned(cleaning: str) -> list[normalizers.Normalizer]:
    """Return what open_clip's function of this name does, less the repair of broken encodings and of HTML."""
    steps = [normalizers.NFC(), *(normalizers.Replace(quote, plain) for quote, plain in QUOTES.items())]
    if cleaning == "_clean_canonicalize":
        signs = "".join(f"\\{sign}" for sign in punctuation if sign != "_")
        steps += [normalizers.Replace("_", " "), normalizers.Replace(Regex(f"[{signs}]"), ""), normalizers.Lowercase()]
    if cleaning == "_clean_lower":
        steps += [normalizers.Lowercase()]
    return [*steps, normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
