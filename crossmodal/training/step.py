"""One step's gradient: all at once, or by gradient caching, in one process or several."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossmodal.dual_encoder import DualEncoder
from crossmodal.training.batches import Batch
from crossmodal.training.distributed import add_gradients, gather_rows
from crossmodal.training.losses import batch_loss
from crossmodal.training.mixup import mixed
from crossmodal.training.soft_targets import SoftTargets


@dataclass(frozen=True)
class StepPlan:
    """What one process does in a step: its share of the batch, and the sizes of all shares."""

    batch: Batch
    shares: tuple[Batch, ...]
    rank: int

    @staticmethod
    def of(batch: Batch, rank: int, processes: int) -> "StepPlan":
        """Split a batch over the processes."""
        return StepPlan(batch, tuple(batch.share(part, processes) for part in range(processes)), rank)

    @property
    def own(self) -> Batch:
        """The share of this process."""
        return self.shares[self.rank]


def compute_gradient(
    model: DualEncoder,
    plan: StepPlan,
    inputs: Tensor,
    hidden: bool,
    chunk_size: int,
    bf16: bool,
    seed: int,
    soft: SoftTargets | None = None,
) -> Tensor:
    """Leave the gradient of the whole batch's loss in the parameters; return the loss, which the device may still compute.

    `inputs` are the own images: pixels uint8 [N, 3, S, S], or the stem's output where `hidden`.
    With 0 < chunk_size < N the embeddings are computed first without a graph, a chunk at a time, and
    again with one to pass their gradient on (gradient caching, Gao et al. 2021): the same gradient,
    in the memory of a chunk. `seed` decides the dropout.
    """
    model.train()
    seed += 10007 * plan.rank
    chunks = _chunks(plan.own, inputs, chunk_size)
    if len(chunks) == 1:
        images, texts = _embed(model, *chunks[0], hidden, bf16, seed)
        loss = _loss(model, plan, images, texts, soft)
        loss.backward()
    else:
        with torch.no_grad():
            parts = [_embed(model, *chunk, hidden, bf16, seed + number) for number, chunk in enumerate(chunks)]
        images, texts = (torch.cat(side).requires_grad_() for side in zip(*parts, strict=True))
        loss = _loss(model, plan, images, texts, soft)
        loss.backward()
        assert images.grad is not None and texts.grad is not None
        image_grads = images.grad.split([len(part[0]) for part in parts])
        text_grads = texts.grad.split([len(part[1]) for part in parts])
        for number, (chunk, gradients) in enumerate(
            zip(chunks, zip(image_grads, text_grads, strict=True), strict=True)
        ):
            embeds = _embed(model, *chunk, hidden, bf16, seed + number)
            needed = [
                (embed, gradient) for embed, gradient in zip(embeds, gradients, strict=True) if embed.requires_grad
            ]
            torch.autograd.backward([embed for embed, _ in needed], [gradient for _, gradient in needed])
    for parameter in model.loss_parameters():
        if parameter.grad is not None:
            # Each process has the whole gradient of the temperature; the sum must be one of them.
            parameter.grad /= len(plan.shares)
    add_gradients(model.parameters())
    return loss.detach()


def _chunks(batch: Batch, inputs: Tensor, chunk_size: int) -> list[tuple[Tensor, Sequence[str]]]:
    count = len(batch.images)
    if not 0 < chunk_size < count:
        return [(inputs, batch.captions)]
    parts = -(-count // chunk_size)
    bounds = [share.image_of_caption for share in (batch.share(part, parts) for part in range(parts))]
    chunks: list[tuple[Tensor, Sequence[str]]] = []
    row, text = 0, 0
    for part, rows in enumerate(bounds):
        size = count * (part + 1) // parts - count * part // parts
        chunks.append((inputs[row : row + size], batch.captions[text : text + len(rows)]))
        row, text = row + size, text + len(rows)
    return chunks


def _embed(
    model: DualEncoder, inputs: Tensor, captions: Sequence[str], hidden: bool, bf16: bool, seed: int
) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)  # the same dropout in both passes of gradient caching, and after a resume
    device = model.device
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        inputs = inputs.to(device, non_blocking=True)
        features = model.image_tower.trunk(inputs.to(model.logit_scale.dtype)) if hidden else model.image_tower(inputs)
        sentences = model.text_tower(captions)
        if model.recipe.mixup:
            features, sentences = mixed(features, sentences, model.recipe.mixup)
        return model.project_image(features), model.project_text(sentences)


def _loss(model: DualEncoder, plan: StepPlan, images: Tensor, texts: Tensor, soft: SoftTargets | None) -> Tensor:
    images = gather_rows(images, [len(share.images) for share in plan.shares])
    texts = gather_rows(texts, [len(share.captions) for share in plan.shares])
    rows = torch.tensor(plan.batch.image_of_caption, device=texts.device)
    soft_logits = soft.logits(plan.batch).to(texts.device) if soft else None
    return batch_loss(model, images, texts, rows, soft_logits)
