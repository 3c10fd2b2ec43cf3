"""Which device, and how many helpers decode photos."""

import os

import torch

from crossmodal.errors import CrossmodalError


def choose_device(name: str | None = None, rank: int = 0) -> torch.device:
    """Return the named device, or the best there is: CUDA, Apple's MPS, the CPU.

    Raises CrossmodalError for one that is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    chosen = name or next(device for device, available in there.items() if available)
    if not there.get(chosen.split(":")[0], False):
        available = ", ".join(device for device, is_there in there.items() if is_there)
        raise CrossmodalError(f"The device {chosen} is not there; this machine has {available}.")
    if chosen == "cuda":
        local = int(os.environ.get("LOCAL_RANK", rank)) % torch.cuda.device_count()
        torch.cuda.set_device(local)
        return torch.device("cuda", local)
    return torch.device(chosen)


def worker_count() -> int:
    """Return how many processes should decode photos: the cores less the one that computes, 1 to 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return min(8, max(1, cores - 1))
