"""Published CLIP-like models, as they are: to search with, for evaluation beside one's own, and as teachers."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from crossmodal.data.preprocessing import Preprocessing
from crossmodal.encoder import Encoder
from crossmodal.errors import CrossmodalError, WeightsError
from crossmodal.towers.portable_tokenizer import PortableTokenizer, of_open_clip, of_transformers
from crossmodal.towers.published_names import NAMES, OPEN_CLIP, short_name
from crossmodal.towers.weights import find_clip_tokenizer, find_clip_weights, find_model_folder

UNTOLD_SCALE = 20.0  # by which sentence-transformers multiplies similarities in training, where a model holds none
LONGEST = 1 << 20  # tokens that are a bound
PROBES: tuple[Any, str] = (Image.linear_gradient("L").resize((90, 60)).convert("RGB"), "two dogs in the snow, by night")
SAME = (0.98, 0.9999)  # least cosines with what the library gives for PROBES; it shrinks photos by another code
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
        logit_scale: Tensor | None,
    ) -> None:
        """`tokenizer` is the published one, and `portable` the same for a runtime without torch, where it can be had."""
        super().__init__()
        self.label, self.net, self._preprocessing, self.joint_size = label, net, preprocessing, joint_size
        self._tokenizer, self.portable_tokenizer = tokenizer, portable
        self.temperature = 1 / UNTOLD_SCALE if logit_scale is None else 1 / logit_scale.detach().exp().item()
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


class _SentenceTransformers(PublishedClip):
    """Whatever modules of sentence-transformers the images and the sentences go through."""

    def _image(self, pixels: Tensor) -> Tensor:
        return self.net({"pixel_values": pixels, "modality": "image"})["sentence_embedding"]

    def _tokens(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        found = self.net.preprocess(sentences)
        ids = found["input_ids"]
        return ids, found.get("attention_mask", torch.ones_like(ids))

    def _text(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.net({"input_ids": ids, "attention_mask": mask, "modality": "text"})["sentence_embedding"]

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
    return _OpenClip(name, net, preprocessing, joint_size, tokenizer, of_open_clip(tokenizer), net.logit_scale)


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
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    found = find_model_folder(name, folder)
    logging.disable_progress_bar()  # reading takes no time worth a bar
    try:
        net = SentenceTransformer(str(found), device="cpu", local_files_only=True, trust_remote_code=False)
    except Exception as error:  # as above
        raise WeightsError(f"{found} cannot be read as the model {name} ({_first_line(error)}).") from error
    if not {"image", "text"} <= set(net.modalities):
        raise CrossmodalError(f"{name} has not a tower for images and one for text; choose another model.")
    try:
        images, texts = _module_for(net, "image"), _module_for(net, "text")
        preprocessing = _of_processor(getattr(images.processor, "image_processor", images.processor))
        tokenizer = texts.tokenizer
        longest = tokenizer.model_max_length
        if longest > LONGEST:  # it names no bound, so that too long a sentence would be an error
            longest = tokenizer.model_max_length = texts.config.get_text_config().max_position_embeddings
        portable = of_transformers(
            tokenizer, longest, lambda sentences: [net.preprocess([one])["input_ids"][0].tolist() for one in sentences]
        )
        scale = next((value for key, value in net.named_parameters() if key.endswith("logit_scale")), None)
        with torch.inference_mode():
            expected = [net.encode([probe], convert_to_tensor=True, normalize_embeddings=True) for probe in PROBES]
        sizes = [one.shape[-1] for one in expected]
        path = Path(name).expanduser()
        label = path.name if path.is_absolute() or path.is_dir() else name  # so that a model may move
        model = _SentenceTransformers(label, net, preprocessing, sizes[0], tokenizer, portable, scale)
        ours = [model.encode_images([PROBES[0]]), next(model.encode_sentences([PROBES[1]]))]
    except Exception as error:  # a module of any kind, which was not made for what is asked of it here
        raise CrossmodalError(f"{name} cannot be used for images and sentences ({_first_line(error)}).") from error
    alike = [(a * b).sum().item() for a, b in zip(expected, ours, strict=True)]
    if sizes[0] != sizes[1] or any(cosine < least for cosine, least in zip(alike, SAME, strict=True)):
        raise CrossmodalError(
            f"{name} prepares photos or sentences in a way that this program cannot repeat, or not for one space; choose another model."
        )
    return model


def _module_for(net: Any, modality: str) -> Any:
    """Return the first module that inputs of a kind go through."""
    first = net[0]
    if not hasattr(first, "sub_modules"):
        return first
    routes = first.route_mappings
    route = routes.get((None, modality)) or routes.get((None, None)) or modality
    return first.sub_modules[route if route in first.sub_modules else first.default_route][0]


def _of_processor(processor: Any) -> Preprocessing:
    """Return the preprocessing of an image processor of transformers as ours."""
    edge = dict(processor.size).get("shortest_edge")
    side = processor.crop_size["height"] if edge else processor.size["height"]
    return Preprocessing(
        side, tuple(processor.image_mean), tuple(processor.image_std), Image.Resampling(processor.resample).name.lower(),
        "crop" if edge else "squash", side / edge if edge else 1.0,
    )  # fmt: skip


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
