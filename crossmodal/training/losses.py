"""The losses: pure functions of a batch's unit vectors, all with one signature.

In each, images [N, D] and texts [M, D] are unit vectors, image_of_text [M] is the row of each text's
image, and each image stands once. Captions of one image are never each other's negatives.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoder import first_dimensions


@dataclass(frozen=True)
class LossParameters:
    """What the losses read beside the vectors; each takes what it needs."""

    logit_scale: Tensor  # the log of the inverse temperature
    logit_bias: Tensor | None = None
    margin: float = 0.2
    soft_logits: Tensor | None = None  # [M, N]: how well each text fits each image, as soft targets
    soft_share: float = 0.0  # weight of the soft targets


SOFT = " with soft targets"
Loss = Callable[[Tensor, Tensor, Tensor, LossParameters], Tensor]


def batch_loss(
    model: DualEncoder, images: Tensor, texts: Tensor, image_of_text: Tensor, soft_logits: Tensor | None = None
) -> Tensor:
    """Return the loss of the model's recipe; with soft targets, that loss's form with soft targets.

    With matryoshka it is the mean over the prefixes of the vectors, each as unit vectors (Kusupati et al. 2022).
    """
    recipe, bias = model.recipe, getattr(model, "logit_bias", None)
    parameters = LossParameters(model.logit_scale, bias, recipe.margin, soft_logits, recipe.soft_share)
    name = recipe.loss if soft_logits is None else f"{recipe.loss}{SOFT}"
    loss = LOSSES[name]
    if not model.prefixes:
        return loss(images, texts, image_of_text, parameters)
    parts = [
        loss(first_dimensions(images, size), first_dimensions(texts, size), image_of_text, parameters)
        for size in model.prefixes
    ]
    return torch.stack(parts).mean()


def clip(images: Tensor, texts: Tensor, image_of_text: Tensor, parameters: LossParameters) -> Tensor:
    """Mean of image-to-text and text-to-image cross-entropy (CLIP, Radford et al. 2021).

    With several captions an image, each (image, caption) pair is one positive, and the other
    captions of the same image are left out of its denominator: they are no negatives. With one
    caption an image this is CLIP's loss.
    """
    logits = parameters.logit_scale.exp() * texts @ images.T  # [M, N]
    return (F.cross_entropy(*_pairs(logits, image_of_text)) + F.cross_entropy(logits, image_of_text)) / 2


def clip_soft(images: Tensor, texts: Tensor, image_of_text: Tensor, parameters: LossParameters) -> Tensor:
    """As `clip`, with soft targets in place of a share of the one true pair.

    They are the softmax of a teacher's logits (distillation, Hinton et al. 2015), or of caption similarities
    (Gao et al. 2022). The other captions of the same image are left out of these too.
    """
    assert parameters.soft_logits is not None  # the step has them where the recipe asks for this loss
    logits = parameters.logit_scale.exp() * texts @ images.T  # [M, N]
    pairs, soft_pairs = (_pairs(scores, image_of_text)[0] for scores in (logits, parameters.soft_logits))
    soft = (_soft_cross_entropy(pairs, soft_pairs) + _soft_cross_entropy(logits, parameters.soft_logits)) / 2
    hard = clip(images, texts, image_of_text, parameters)
    return (1 - parameters.soft_share) * hard + parameters.soft_share * soft


def _soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    predicted = logits.log_softmax(1)
    # What is left out is minus infinity in both, and zero times that is not a number.
    return -(targets.softmax(1) * predicted.masked_fill(predicted.isinf(), 0)).sum(1).mean()


def info_nce(images: Tensor, texts: Tensor, image_of_text: Tensor, parameters: LossParameters) -> Tensor:
    """One direction alone: each image against the batch's captions (van den Oord et al. 2018)."""
    return F.cross_entropy(*_pairs(parameters.logit_scale.exp() * texts @ images.T, image_of_text))


def _pairs(logits: Tensor, image_of_text: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each pair its image's similarity [M, M] with every text but its other captions, and the right ones [M].

    logits are [M, N].
    """
    siblings = (image_of_text[:, None] == image_of_text[None, :]).fill_diagonal_(False)
    pairs = logits.T[image_of_text].masked_fill(siblings, float("-inf"))
    return pairs, torch.arange(len(pairs), device=pairs.device)


def nt_xent(images: Tensor, texts: Tensor, image_of_text: Tensor, parameters: LossParameters) -> Tensor:
    """Cross-entropy where images and texts alike are negatives of both (SimCLR, Chen et al. 2020).

    Each (image, caption) pair is a positive twice, from either side; what is left out of a
    denominator is the anchor itself and the pair's other captions.
    """
    scale = parameters.logit_scale.exp()
    across = scale * texts @ images.T  # [M, N]
    positives = across.gather(1, image_of_text[:, None])  # [M, 1]
    same = image_of_text[:, None] == image_of_text[None, :]
    among_texts = (scale * texts @ texts.T).masked_fill(same, float("-inf"))  # [M, M]
    from_texts = torch.cat([across, among_texts], dim=1)
    among_images = (scale * images @ images.T).fill_diagonal_(float("-inf"))  # [N, N]
    from_images = torch.cat(
        [across.T.masked_fill(_own(image_of_text, len(images)), float("-inf")), among_images], dim=1
    )
    from_images = torch.cat([positives, from_images[image_of_text]], dim=1)
    losses = (side.logsumexp(1) - positives[:, 0] for side in (from_texts, from_images))
    return torch.cat(list(losses)).mean()


def _own(image_of_text: Tensor, images: int) -> Tensor:
    """Say [N, M] which texts are an image's own."""
    return torch.arange(images, device=image_of_text.device)[:, None] == image_of_text[None, :]


def triplet(images: Tensor, texts: Tensor, image_of_text: Tensor, parameters: LossParameters) -> Tensor:
    """Hinge on how much closer a pair is than its negatives, both ways: the sum over negatives, the mean over pairs."""
    to_images, to_texts = _hinges(images, texts, image_of_text, parameters.margin)
    return (to_images.sum(1) + to_texts.sum(1)).mean()


def triplet_hard(images: Tensor, texts: Tensor, image_of_text: Tensor, parameters: LossParameters) -> Tensor:
    """As `triplet`, with the closest negative alone (VSE++, Faghri et al. 2018)."""
    to_images, to_texts = _hinges(images, texts, image_of_text, parameters.margin)
    return (to_images.amax(1) + to_texts.amax(1)).mean()


def _hinges(images: Tensor, texts: Tensor, image_of_text: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Return each pair's hinges with all images [M, N] and with all texts [M, M], 0 where there is no negative."""
    scores = texts @ images.T  # [M, N]
    own = _own(image_of_text, len(images))  # [N, M]
    positives = scores.gather(1, image_of_text[:, None])  # [M, 1]
    to_images = (margin - positives + scores).clamp(min=0).masked_fill(own.T, 0)
    to_texts = (margin - positives + scores.T[image_of_text]).clamp(min=0).masked_fill(own[image_of_text], 0)
    return to_images, to_texts


def sigmoid(images: Tensor, texts: Tensor, image_of_text: Tensor, parameters: LossParameters) -> Tensor:
    """Each image and text of the batch a yes-or-no question of its own (SigLIP, Zhai et al. 2023).

    All captions of an image are its positives; the sum over all questions is divided by the texts.
    """
    assert parameters.logit_bias is not None  # a dual encoder with this loss has one
    logits = parameters.logit_scale.exp() * texts @ images.T + parameters.logit_bias  # [M, N]
    signs = 2 * _own(image_of_text, len(images)).T.to(logits.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / len(texts)


LOSSES: dict[str, Loss] = {
    "clip": clip,
    f"clip{SOFT}": clip_soft,
    "infonce": info_nce,
    "nt-xent": nt_xent,
    "triplet": triplet,
    "triplet-hard": triplet_hard,
    "sigmoid": sigmoid,
}
