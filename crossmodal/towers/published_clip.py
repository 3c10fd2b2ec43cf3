"""Published CLIP-like models, as they are: to search with, for evaluation beside one's own, and as teachers."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from crossmodal.data.preprocessing import Preprocessing
from crossmodal.encoder import Encoder
from crossmodal.errors import CrossmodalError, WeightsError
from crossmodal.towers.portable_tokenizer import PortableTokenizer, of_open_clip, of_transformers
from crossmodal.towers.published_names import NAMES, OPEN_CLIP, short_name
from crossmodal.towers.weights import find_clip_folder, find_clip_tokenizer, find_clip_weights

RESIZING = {"shortest": "crop", "squash": "squash"}  # open_clip's words for it, and ours


class PublishedClip(Encoder):
    """A published model behind the same methods as our own."""

    def __init__(
        self,
        label: str,
        net: Any,
        preprocessing: Preprocessing,
        joint_size: int,
        tokenizer: Any,
        portable: PortableTokenizer | None,
    ) -> None:
        """`tokenizer` is the published one, and `portable` the same for a runtime without torch, where it can be had."""
        super().__init__()
        self.label, self.net, self._preprocessing, self.joint_size = label, net, preprocessing, joint_size
        self._tokenizer, self.portable_tokenizer = tokenizer, portable
        self.temperature = 1 / net.logit_scale.detach().exp().item()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255, persistent=False)
        self.requires_grad_(False)
        self.eval()

    @property
    def preparation(self) -> Preprocessing:
        """How an image becomes the model's input, uint8."""
        return self._preprocessing

    def encode_image(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, size, size] -> unit vectors [N, joint_size]."""
        return F.normalize(self._image((pixels.float() - self.mean) / self.std).float(), dim=-1)

    def encode_at_once(self, pixels: Tensor) -> Tensor:
        """As `encode_image`, which is traceable here."""
        return self.encode_image(pixels)

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit vectors [len(sentences), joint_size]."""
        ids, mask = (part.to(self.device) for part in self._tokens(list(sentences)))
        return self.encode_tokens(ids, mask)

    def encode_tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids [N, T], and where they are no padding -> unit vectors [N, joint_size]."""
        return F.normalize(self._text(ids, mask).float(), dim=-1)

    def plain(self) -> dict[str, Any]:
        """Return what beside its weights decides what the model gives, as plain values."""
        portable = self.portable_tokenizer
        tokenizer = portable.tokenizer.to_str() if portable else self._vocabulary()
        return {"name": self.label, "preprocessing": asdict(self.preparation), "tokenizer": tokenizer}

    @abstractmethod
    def _image(self, pixels: Tensor) -> Tensor:
        """Scaled fp32 [N, 3, size, size] -> features [N, joint_size]."""

    @abstractmethod
    def _tokens(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        """Return token ids [N, T], and where they are no padding."""

    @abstractmethod
    def _text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and their mask [N, T] -> features [N, joint_size]."""

    @abstractmethod
    def _vocabulary(self) -> dict[str, int]:
        """Return the tokens that the published tokenizer knows."""


class _OpenClip(PublishedClip):
    def _image(self, pixels: Tensor) -> Tensor:
        return self.net.encode_image(pixels)

    def _tokens(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        ids = self._tokenizer(sentences)  # padded to one length, as the model reads them
        return ids, torch.ones_like(ids)

    def _text(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.net.encode_text(ids)

    def _vocabulary(self) -> dict[str, int]:
        inner = getattr(self._tokenizer, "tokenizer", None)
        return inner.get_vocab() if inner else self._tokenizer.encoder


class _SentenceTransformersClip(PublishedClip):
    def _image(self, pixels: Tensor) -> Tensor:
        return self.net.visual_projection(self.net.vision_model(pixel_values=pixels).pooler_output)

    def _tokens(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        longest = self.net.config.text_config.max_position_embeddings
        found = self._tokenizer(sentences, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        return found["input_ids"], found["attention_mask"]

    def _text(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.net.text_projection(self.net.text_model(input_ids=ids, attention_mask=mask).pooler_output)

    def _vocabulary(self) -> dict[str, int]:
        return self._tokenizer.get_vocab()


def published_clip(name: str, folder: Path | None = None) -> PublishedClip:
    """Load a published model by its name, from `folder`, the hub cache or the hub.

    Raises WeightsError when its weights cannot be had, CrossmodalError for an unknown name.
    """
    return _open_clip(name, folder) if name.startswith(OPEN_CLIP) else _sentence_transformers(short_name(name), folder)


def _open_clip(name: str, folder: Path | None) -> PublishedClip:
    try:
        import open_clip
    except ImportError as error:
        raise CrossmodalError(f"{name} needs the package open_clip_torch: pip install open_clip_torch.") from error
    model, _, weights = name.removeprefix(OPEN_CLIP).rpartition("/")
    known = {(known_model, known_weights) for known_model, known_weights in open_clip.list_pretrained()}
    if model not in open_clip.list_models():
        raise CrossmodalError(f"{name} is not known; it should be {NAMES}. See open_clip.list_pretrained().")
    if (model, weights) not in known:
        there = ", ".join(sorted(tag for known_model, tag in known if known_model == model)) or "none"
        raise CrossmodalError(f"open_clip knows no weights {weights} of {model}; there are: {there}.")
    config = open_clip.get_pretrained_cfg(model, weights)
    file = find_clip_weights(name, f"{model}-{weights}", config.get("hf_hub", ""), folder)
    tokenizer = _tokenizer_of(name, model, folder)
    scaling = {f"image_{key}": config.get(key) for key in ("mean", "std", "interpolation", "resize_mode")}
    try:
        net, _, _ = open_clip.create_model_and_transforms(
            model, str(file), force_quick_gelu=bool(config.get("quick_gelu")), pretrained_text=False, **scaling
        )
    except Exception as error:  # the library lets through errors of every library below it
        raise WeightsError(f"{file} cannot be read as the weights of {name} ({_first_line(error)}).") from error
    preprocessing = _preprocessing(name, open_clip.get_model_preprocess_cfg(net))
    joint_size = open_clip.get_model_config(model)["embed_dim"]
    return _OpenClip(name, net, preprocessing, joint_size, tokenizer, of_open_clip(tokenizer))


def _tokenizer_of(name: str, model: str, folder: Path | None) -> Any:
    """Return open_clip's tokenizer of a model; raises WeightsError where its file cannot be had."""
    import open_clip

    texts = open_clip.get_model_config(model)["text_cfg"]
    hub_id = texts.get("hf_tokenizer_name")
    if not hub_id:
        return open_clip.get_tokenizer(model)
    found = find_clip_tokenizer(name, hub_id, folder)
    try:
        return open_clip.tokenizer.HFTokenizer(
            str(found), context_length=texts["context_length"], tokenizer_mode=texts.get("tokenizer_mode"),
            trust_remote_code=False,
            **texts.get("tokenizer_kwargs", {}),
        )  # fmt: skip
    except Exception as error:  # as above
        raise WeightsError(f"{found} cannot be read as the tokenizer of {name} ({_first_line(error)}).") from error


def _preprocessing(name: str, config: dict[str, Any]) -> Preprocessing:
    """Return open_clip's preprocessing as ours; raises CrossmodalError for a kind that we have not."""
    size, resizing = config["size"], config["resize_mode"]
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    if height != width or resizing not in RESIZING:
        raise CrossmodalError(
            f"{name} sees photos in another form than a square of their middle; choose another model."
        )
    mean, std = (tuple(map(float, config[part])) for part in ("mean", "std"))
    return Preprocessing(height, mean, std, config["interpolation"], RESIZING[resizing], 1.0)


def _sentence_transformers(name: str, folder: Path | None) -> PublishedClip:
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel
    from transformers.utils import logging

    found = find_clip_folder(name, folder)
    logging.disable_progress_bar()  # reading takes no time worth a bar
    try:
        net: nn.Module = CLIPModel.from_pretrained(str(found), local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(str(found), local_files_only=True, trust_remote_code=False)
        processor = CLIPImageProcessor.from_pretrained(str(found), local_files_only=True)
    except Exception as error:  # as above
        raise WeightsError(f"{found} cannot be read as the model {name} ({_first_line(error)}).") from error
    config: Any = net.config
    size = processor.crop_size["height"]
    preprocessing = Preprocessing(
        size, tuple(processor.image_mean), tuple(processor.image_std), Image.Resampling(processor.resample).name.lower(),
        "crop", size / processor.size["shortest_edge"],
    )  # fmt: skip
    portable = of_transformers(tokenizer, config.text_config.max_position_embeddings)
    return _SentenceTransformersClip(name, net, preprocessing, config.projection_dim, tokenizer, portable)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
