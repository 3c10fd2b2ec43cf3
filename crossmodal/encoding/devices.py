"""Which device computes, and how many processes decode photos."""

import os

import torch

from crossmodal.errors import CrossmodalError


def choose_device(name: str | None = None, rank: int = 0) -> torch.device:
    """Return the named device, or the first that is available of CUDA, Apple's MPS and the CPU.

    Raises CrossmodalError for a device that is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    names = [device for device, is_available in available.items() if is_available]
    chosen = name or names[0]
    if chosen.split(":")[0] not in names:
        raise CrossmodalError(f"The device {chosen} is not there; this machine has {', '.join(names)}.")
    if chosen == "cuda":
        local = int(os.environ.get("LOCAL_RANK", rank)) % torch.cuda.device_count()
        torch.cuda.set_device(local)
        return torch.device("cuda", local)
    return torch.device(chosen)


def trains_in_bf16(precision: str, device: torch.device) -> bool:
    """Say whether a recipe's precision (auto, fp32 or bf16) is bf16 on a device.

    It is fp32 on a CPU without kernels for bf16, where a convolution would take a hundred times as long.
    """
    if device.type == "cpu":
        return precision == "bf16" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return precision == "bf16" or (precision == "auto" and device.type == "cuda")


def worker_count() -> int:
    """Return how many processes should decode photos: one a core but for the one that computes, 1 to 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return min(8, max(1, cores - 1))
