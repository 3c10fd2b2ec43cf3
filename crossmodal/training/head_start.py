"""The head start: the projections alone, trained on cached features, before the towers move.

The first gradients through random projections would spoil the pretrained towers. It takes seconds,
since no tower runs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from crossmodal.data.dataset import Dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.collection import IMAGES_AT_ONCE, image_features
from crossmodal.encoding.decoding_ahead import Photos, slices
from crossmodal.encoding.devices import trains_in_bf16
from crossmodal.encoding.frozen_parts import trunk_of
from crossmodal.progress import Bars
from crossmodal.projection import Standardise
from crossmodal.training.batches import plan_epoch
from crossmodal.training.losses import batch_loss
from crossmodal.training.mixup import mixed
from crossmodal.training.soft_targets import SoftTargets
from crossmodal.training.structure import structure_penalty

BATCH_SIZE = 512
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
VIEWS = 3  # of each photo, beside the photo as it is


def features_of_views(model: DualEncoder, photos: Photos, rows: Sequence[int], bars: Bars) -> Tensor:
    """Return the image tower's features [1 + views, len(rows), F]: of photos as they are, then of views of them."""
    views = VIEWS if model.recipe.augment else 0
    clean = photos.clean(rows, IMAGES_AT_ONCE)
    tower = model.image_tower
    bf16 = trains_in_bf16(model.recipe.precision, model.device)
    compute = trunk_of(tower, next(photos.clean(rows[:1], 1)), bf16) if photos.hidden else tower
    parts = [image_features(model, clean, compute, len(rows), bars, "Features of photos")]
    for view in range(1, views + 1):
        batches = photos.epoch(slices(rows, IMAGES_AT_ONCE), view)
        title = f"Features of view {view} of {views}"
        parts.append(image_features(model, batches, compute, len(rows), bars, title))
    return torch.stack(parts)


def train_projections(
    model: DualEncoder, dataset: Dataset, images: Tensor, texts: Tensor, soft: SoftTargets | None, bars: Bars
) -> None:
    """Train both projections and the loss's own parameters in place, by the recipe's loss.

    images [V, N, F] and texts [M, G] are the towers' features of V views of the data set's images, the first as they
    are, and of its captions; a step reads one view of an image, at random. A linear projection of images is trained on
    standardised features, and then reads them as they are.
    """
    model.train()  # for the dropout
    epochs, seed, mixup = model.recipe.head_start_epochs, model.recipe.seed, model.recipe.mixup
    structure = model.recipe.structure
    torch.manual_seed(seed)  # whatever was drawn while photos were read
    mean, std = images[0].mean(0), images[0].std(0, correction=0).clamp(min=1e-6)
    if isinstance(model.image_projection, torch.nn.Linear):
        images = (images - mean) / std
    for part, inputs in ((model.image_projection, images[0]), (model.text_projection, texts)):
        for module in part.modules():
            if isinstance(module, Standardise):
                module.fit(inputs)
    first_caption = torch.tensor([0, *(len(image.captions) for image in dataset.images)]).cumsum(0).tolist()
    position = [{caption: row for row, caption in enumerate(image.captions)} for image in dataset.images]
    projections = (model.image_projection, model.text_projection)
    trained = [*(p for part in projections for p in part.parameters()), *model.loss_parameters()]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    # One caption an image and epoch, in turn: with all of them the projections overfit in a few epochs.
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
            view = torch.randint(len(images), (len(batch.images),))
            of_images, of_texts = images[view, list(batch.images)], texts[chosen]
            if mixup:
                of_images, of_texts = mixed(of_images, of_texts, mixup)
            of_images, of_texts = of_images.to(model.device), of_texts.to(model.device)
            image_embeds, text_embeds = model.project_image(of_images), model.project_text(of_texts)
            soft_logits = soft.logits(batch).to(model.device) if soft else None
            loss = batch_loss(model, image_embeds, text_embeds, rows.to(model.device), soft_logits)
            if structure:
                moved = structure_penalty(of_images, image_embeds) + structure_penalty(of_texts, text_embeds)
                loss = loss + structure * moved / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            model.clamp_logit_scale()
            advance(1)
    if isinstance(model.image_projection, torch.nn.Linear):
        _fold_in(model.image_projection, mean.to(model.device), std.to(model.device))


@torch.no_grad()
def _fold_in(projection: torch.nn.Linear, mean: Tensor, std: Tensor) -> None:
    """Turn a projection of (x - mean) / std into one of x."""
    projection.weight.div_(std)
    projection.bias.sub_(projection.weight @ mean)
