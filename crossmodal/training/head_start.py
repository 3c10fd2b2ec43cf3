"""The head start: the projections alone, trained on cached features, before the towers move.

From random projections the first gradients would pull the pretrained towers out of shape; from
these they only have to follow. It takes seconds, since no tower runs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from crossmodal.data.dataset import Dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.progress import Bars
from crossmodal.training.batches import plan_epoch
from crossmodal.training.losses import symmetric_cross_entropy

BATCH_SIZE = 512
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05


def train_projections(
    model: DualEncoder, dataset: Dataset, images: Tensor, texts: Tensor, epochs: int, seed: int, bars: Bars
) -> None:
    """Train both projections and the temperature in place.

    images [N, F] and texts [M, G] are the towers' features of the data set's images and captions.
    Image features are standardised meanwhile; the projection that is left reads them as they are.
    """
    mean, std = images.mean(0), images.std(0, correction=0).clamp(min=1e-6)
    standardised = (images - mean) / std
    first_caption = torch.tensor([0, *(len(image.captions) for image in dataset.images)]).cumsum(0).tolist()
    position = [{caption: row for row, caption in enumerate(image.captions)} for image in dataset.images]
    trained = [*model.image_projection.parameters(), *model.text_projection.parameters(), model.logit_scale]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    # One caption an image in an epoch, in turn: with all of them the projections overfit in a few epochs.
    steps = epochs * len(plan_epoch(dataset, BATCH_SIZE, 1, seed, 0))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = (batch for epoch in range(epochs) for batch in plan_epoch(dataset, BATCH_SIZE, 1, seed, epoch))
    with bars("Head start", steps, "step") as advance:
        for batch in batches:
            rows = torch.tensor(batch.image_of_caption)
            indices = [batch.images[row] for row in batch.image_of_caption]
            chosen = [
                first_caption[index] + position[index][caption]
                for index, caption in zip(indices, batch.captions, strict=True)
            ]
            image_features = standardised[list(batch.images)].to(model.device)
            text_embeds = model.text_projection(texts[chosen].to(model.device))
            image_embeds = model.image_projection(image_features)
            image_embeds, text_embeds = F.normalize(image_embeds, dim=-1), F.normalize(text_embeds, dim=-1)
            loss = symmetric_cross_entropy(image_embeds, text_embeds, rows.to(model.device), model.logit_scale)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            model.clamp_logit_scale()
            advance(1)
    assert isinstance(model.image_projection, torch.nn.Linear)  # Recipe.check refuses another with a head start
    _fold_in(model.image_projection, mean.to(model.device), std.to(model.device))


@torch.no_grad()
def _fold_in(projection: torch.nn.Linear, mean: Tensor, std: Tensor) -> None:
    """Let a projection of (x - mean) / std read x itself."""
    projection.weight.div_(std)
    projection.bias.sub_(projection.weight @ mean)
