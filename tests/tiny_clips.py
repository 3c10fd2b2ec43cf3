"""Published models of the real classes, small enough for a test, with random weights, in a folder as --weights takes it."""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch

from tests.tiny import write_tiny_encoder

VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
# As CLIP, as MobileCLIP2 and as SigLIP 2 are built.
CONFIGS: dict[str, dict[str, Any]] = {
    "tiny-clip": {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT},
    "tiny-mobile": {
        "embed_dim": 16, "custom_text": True,
        "vision_cfg": {"image_size": 64, "timm_model_name": "test_efficientnet", "timm_model_pretrained": False,
                       "timm_pool": "avg", "timm_proj": "linear"},
        "text_cfg": {**TEXT, "no_causal_mask": True},
    },
    "tiny-siglip": {
        "embed_dim": 32, "init_logit_bias": -10, "custom_text": True, "vision_cfg": VISION,
        "text_cfg": {"context_length": 64, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2, "no_causal_mask": True,
                     "proj_bias": True, "pool_type": "last", "hf_tokenizer_name": "tiny/words",
                     "tokenizer_kwargs": {"clean": "canonicalize"}},
    },
}  # fmt: skip
SCALING: dict[str, dict[str, Any]] = {
    "tiny-clip": {"resize_mode": "shortest"},
    "tiny-mobile": {"mean": (0.0,) * 3, "std": (1.0,) * 3, "interpolation": "bilinear", "resize_mode": "shortest"},
    "tiny-siglip": {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "resize_mode": "squash"},
}
WEIGHTS = "made"
WORDS = "a an the two red blue green car dogs dog in snow boat at sunset of on street photo children playing park by night".split()


def register(configs: Path) -> dict[str, dict[str, Any]]:
    """Make open_clip know the models; return what it should know as published weights of them."""
    for name, config in CONFIGS.items():
        (configs / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(configs)
    return {name: {WEIGHTS: {"hf_hub": f"tiny/{name}/", **scaling}} for name, scaling in SCALING.items()}


def write_open_clip(name: str, folder: Path, seed: int = 0) -> None:
    """Write random weights of a registered model."""
    torch.manual_seed(seed)
    torch.save(open_clip.create_model(name).state_dict(), folder / f"{name}-{WEIGHTS}.pt")


def write_words(folder: Path) -> None:
    """Write the tokenizer of `tiny-siglip`, as a repository of the hub holds it."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<pad>", "<eos>", "<unk>", *WORDS]
    words = tokenizers.models.WordLevel({piece: row for row, piece in enumerate(pieces)}, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing("$A <eos>", special_tokens=[("<eos>", 1)])
    kept = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="right"
    )
    kept.save_pretrained(folder / "words")


def write_sentence_transformers(folder: Path, seed: int = 0) -> None:
    """Write a CLIP as sentence-transformers published its own."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

    inside = folder / "clip-ViT-B-32" / "0_CLIPModel"
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({piece: row for row, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": len(pieces) - 2, "eos_token_id": len(pieces) - 1, "pad_token_id": len(pieces) - 1}
    torch.manual_seed(seed)
    config = CLIPConfig(
        text_config={**small, "vocab_size": len(pieces), **ends},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(inside)
    module = {"idx": 0, "name": "0", "path": inside.name, "type": "sentence_transformers.models.CLIPModel"}
    (inside.parent / "modules.json").write_text(json.dumps([module]))
    tokenizer.save_pretrained(inside)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(inside)


def write_two_towers(folder: Path, images_of: Path) -> None:
    """Write a Router of an image tower, that of the CLIP in `images_of`, and of a BERT with a projection."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as parts

    write_tiny_encoder(folder.with_name(f"{folder.name}-bert"))
    torch.manual_seed(3)
    text = [*SentenceTransformer(str(folder.with_name(f"{folder.name}-bert")), device="cpu"), parts.Dense(32, 16)]
    image = [parts.Transformer(str(images_of))]
    router = parts.Router({"text": text, "image": image}, route_mappings={(None, "image"): "image"})
    SentenceTransformer(modules=[router], device="cpu").save(str(folder))
