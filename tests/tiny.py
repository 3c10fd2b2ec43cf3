"""Towers small enough for a test, and the trainer run on them."""

import sys
from pathlib import Path

import torch

TINY_IMAGE = "test_efficientnet.r160_in1k"
TINY_TEXT = "tiny/tiny-bert"
WORDS = (
    "a an the one two three in on at of and with by next to is are there i can see we find red blue green yellow orange purple "
    "pink white black brown grey car dog cat boat ball house tree street beach park snow lake farm desert forest kitchen room"
).split()


def write_tiny_encoder(folder: Path) -> None:
    """Write a two-layer BERT with random weights in sentence-transformers' own layout."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as parts
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,")
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *WORDS,
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
    bare = folder.with_name(f"{folder.name}-bare")
    bare.mkdir()
    (bare / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)))
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=len(dict.fromkeys(vocabulary)), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128,
    )  # fmt: skip
    BertModel(config).save_pretrained(bare)
    BertTokenizerFast(vocab_file=str(bare / "vocab.txt")).save_pretrained(bare)
    transformer = parts.Transformer(str(bare), max_seq_length=64)
    SentenceTransformer(modules=[transformer, parts.Pooling(32, "mean")], device="cpu").save(str(folder))


def main() -> None:
    """Run the trainer with the tiny recipe added: python -m tests.tiny --recipe tiny --weights DIR ..."""
    import training_script
    from crossmodal.recipe import Recipe, Stage

    training_script.RECIPES["tiny"] = Recipe(
        name="tiny", image_tower=TINY_IMAGE, text_tower=TINY_TEXT, stages=(Stage(3, 1e-3, frozen_image=1),), joint_size=32,
        resize="squash", batch_size=8, head_start_epochs=2, views=2,
    )  # fmt: skip
    sys.exit(training_script.main())


if __name__ == "__main__":
    main()
