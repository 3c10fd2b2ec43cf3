"""Published CLIP-like models, as they are: for evaluation beside one's own, and as teachers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from crossmodal.encoder import Encoder
from crossmodal.errors import CrossmodalError, WeightsError
from crossmodal.towers.weights import find_clip_folder, find_clip_weights

OPEN_CLIP = "open_clip:"
SENTENCE_TRANSFORMERS = ("clip-ViT-B-32", "clip-ViT-B-16", "clip-ViT-L-14")
NAMES = f"{OPEN_CLIP}MODEL/WEIGHTS (for example {OPEN_CLIP}ViT-B-32/openai), {', '.join(SENTENCE_TRANSFORMERS)}"


@dataclass(frozen=True)
class _Preparation:
    """The published preprocessing of a model: RGB image in, scaled fp32 [3, size, size] out."""

    size: int
    transform: Callable[[Image.Image], Tensor]

    def __call__(self, image: Image.Image) -> Tensor:
        return self.transform(image)


class PublishedClip(Encoder):
    """A published model behind the same two methods as our own."""

    def __init__(
        self,
        label: str,
        net: nn.Module,
        preparation: _Preparation,
        image_features: Callable[[Tensor], Tensor],
        text_features: Callable[[Sequence[str]], Tensor],
        logit_scale: Tensor,
    ) -> None:
        super().__init__()
        self.label, self.net = label, net
        self._preparation, self._image, self._text = preparation, image_features, text_features
        self.temperature = 1 / logit_scale.exp().item()
        self.requires_grad_(False)
        self.eval()

    @property
    def preparation(self) -> _Preparation:
        """How an image becomes the model's input, scaled fp32."""
        return self._preparation

    def encode_image(self, pixels: Tensor) -> Tensor:
        """fp32 [N, 3, size, size] as `preparation` gives them -> unit vectors [N, D]."""
        return F.normalize(self._image(pixels).float(), dim=-1)

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit vectors [len(sentences), D]."""
        return F.normalize(self._text(sentences).float(), dim=-1)

    def plain(self) -> dict[str, Any]:
        """Return what names the model."""
        return {"name": self.label}


def is_published_clip(name: str) -> bool:
    """Say whether a name is that of a published model rather than the path of a checkpoint."""
    return name.startswith(OPEN_CLIP) or _short(name) in SENTENCE_TRANSFORMERS


def published_clip(name: str, folder: Path | None = None) -> PublishedClip:
    """Load a published model by its name, from `folder`, the hub cache or the hub.

    Raises WeightsError when its weights cannot be had, CrossmodalError for an unknown name.
    """
    return _open_clip(name, folder) if name.startswith(OPEN_CLIP) else _sentence_transformers(_short(name), folder)


def _short(name: str) -> str:
    return name.removeprefix("sentence-transformers/")


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
    scaling = {f"image_{key}": config.get(key) for key in ("mean", "std", "interpolation", "resize_mode")}
    try:
        net, _, transform = open_clip.create_model_and_transforms(
            model, str(file), force_quick_gelu=bool(config.get("quick_gelu")), pretrained_text=False, **scaling
        )
        tokenizer = open_clip.get_tokenizer(model)
    except Exception as error:  # the library lets through errors of every library below it
        raise WeightsError(f"{file} cannot be read as the weights of {name} ({_first_line(error)}).") from error
    size = net.visual.image_size
    return PublishedClip(
        name,
        net,
        _Preparation(size[0] if isinstance(size, tuple) else size, transform),
        net.encode_image,
        lambda sentences: net.encode_text(tokenizer(list(sentences)).to(next(net.parameters()).device)),
        net.logit_scale.detach(),
    )


def _sentence_transformers(name: str, folder: Path | None) -> PublishedClip:
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    found = find_clip_folder(name, folder)
    try:
        net = CLIPModel.from_pretrained(str(found), local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(str(found), local_files_only=True)
        processor = CLIPImageProcessor.from_pretrained(str(found), local_files_only=True)
    except Exception as error:  # as above
        raise WeightsError(f"{found} cannot be read as the model {name} ({_first_line(error)}).") from error

    longest = net.config.text_config.max_position_embeddings

    def image_features(pixels: Tensor) -> Tensor:
        return net.visual_projection(net.vision_model(pixel_values=pixels).pooler_output)

    def text_features(sentences: Sequence[str]) -> Tensor:
        tokens = tokenizer(list(sentences), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        tokens = tokens.to(net.device)
        output = net.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return net.text_projection(output.pooler_output)

    size = net.config.vision_config.image_size
    prepare = _Preparation(size, partial(_processed, processor))
    return PublishedClip(name, net, prepare, image_features, text_features, net.logit_scale.detach())


def _processed(processor: Any, image: Image.Image) -> Tensor:
    """Return what a processor makes of an image; a function of the module, so that workers can be given it."""
    return processor(images=image, return_tensors="pt")["pixel_values"][0]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
