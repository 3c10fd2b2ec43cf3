"""Several processes as one: rows gathered with their gradient, gradients added up."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from crossmodal.errors import CrossmodalError
from crossmodal.training.batches import share_bounds

# Long, because the others wait while one process writes the tensors of a large set.
PATIENCE = timedelta(hours=2)


def start_processes() -> tuple[int, int]:
    """Join the processes that torchrun started; return this one's rank and how many there are."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        # Flags go over gloo, on the CPU, so that no GPU waits for them.
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_first() -> bool:
    """Say whether this process is the one that speaks and writes."""
    return not dist.is_initialized() or dist.get_rank() == 0


def say(text: str) -> None:
    """Print for the user, at once, from the first process alone."""
    if is_first():
        print(text, flush=True)


def leave_processes() -> None:
    """End the process group: without it one of its threads may still run when Python ends, and abort it.

    Not called after an error, where the others may be waiting in a collective.
    """
    if dist.is_initialized():
        dist.destroy_process_group()


def gather_rows(own: Tensor, sizes: list[int]) -> Tensor:
    """Return the rows of all processes [sum(sizes), D], in rank order; gradients reach the own rows.

    Every process computes the same loss from the gathered rows, so the gradient of its own rows is
    already whole; what is left is to add up the parameters' gradients over the processes.
    """
    if len(sizes) == 1:
        return own
    # Padded, since a collective wants equal shapes.
    padded = own.detach().new_zeros((max(sizes), *own.shape[1:]))
    padded[: len(own)] = own.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    rank = dist.get_rank()
    return torch.cat(
        [own if index == rank else part[:size] for index, (part, size) in enumerate(zip(parts, sizes, strict=True))]
    )


def add_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its sum over the processes, in one collective."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    for parameter, part in zip(trained, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        parameter.grad = part.view_as(parameter)


def from_first(text: str) -> str:
    """Return the first process's `text` in all of them."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return text
    held = [text]
    dist.broadcast_object_list(held)
    return held[0]


def any_process(flag: bool) -> bool:
    """Say whether the flag is set in any process, so that all stop at the same step."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return flag
    value = torch.tensor(int(flag))
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())


@contextmanager
def first_process_first() -> Iterator[None]:
    """Run a block in the first process, then in the others, which find what it wrote."""
    several = dist.is_initialized() and dist.get_world_size() > 1
    if several and dist.get_rank():
        dist.barrier()
    yield
    if several and not dist.get_rank():
        dist.barrier()


@torch.no_grad()
def share_weights(model: nn.Module) -> None:
    """Give all processes the first one's parameters and buffers."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        for value in (*model.parameters(), *model.buffers()):
            dist.broadcast(value, 0)


def sizes_of_shares(count: int, processes: int) -> list[int]:
    """Return how many of `count` rows each process has."""
    bounds = [share_bounds(count, part, processes) for part in range(processes)]
    return [high - low for low, high in bounds]


def share_statistics(model: nn.Module, device: torch.device) -> None:
    """Let BatchNorm learn from the batches of all processes; raises CrossmodalError on a device that cannot."""
    if device.type != "cuda":
        raise CrossmodalError(
            "This recipe has BatchNorm that learns from the batch, which several processes share on CUDA only; "
            "train it in one process here."
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(model)  # in place, since the model itself is no BatchNorm
