"""The losses: pure functions of a batch's unit vectors.

In each, images [N, D] and texts [M, D] are unit vectors, image_of_text [M] is the row of each text's
image, each image stands once, and logit_scale is the log of the inverse temperature. Captions of one
image are never each other's negatives.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def symmetric_cross_entropy(images: Tensor, texts: Tensor, image_of_text: Tensor, logit_scale: Tensor) -> Tensor:
    """Mean of image-to-text and text-to-image cross-entropy (CLIP, Radford et al. 2021).

    With several captions an image, each (image, caption) pair is one positive, and the other
    captions of the same image are left out of its denominator: they are no negatives. With one
    caption an image this is CLIP's loss.
    """
    logits = logit_scale.exp() * texts @ images.T  # [M, N]
    return (_image_to_text(logits, image_of_text) + F.cross_entropy(logits, image_of_text)) / 2


def soft_cross_entropy(
    images: Tensor, texts: Tensor, image_of_text: Tensor, logit_scale: Tensor, affinity: Tensor, share: float
) -> Tensor:
    """Symmetric cross-entropy whose targets are the true pairs and, to a `share`, what somebody else thinks.

    affinity [M, N] says how well each text fits each image, as logits: a teacher's (distillation,
    Hinton et al. 2015), or from how alike captions are (soft targets for pairs, Gao et al. 2022). Its
    softmax takes the place of `share` of the one true pair; the other captions of the same image stay
    left out of the image's side, of targets and predictions alike.
    """
    logits = logit_scale.exp() * texts @ images.T  # [M, N]
    siblings = _siblings(image_of_text)
    pairs = logits.T[image_of_text].masked_fill(siblings, float("-inf"))  # [M, M], as in _image_to_text
    theirs = affinity.T[image_of_text].masked_fill(siblings, float("-inf"))
    right = torch.arange(len(texts), device=texts.device)
    sides = ((pairs, right, theirs), (logits, image_of_text, affinity))
    return torch.stack([_soft(predicted, true, soft, share) for predicted, true, soft in sides]).mean()


def _soft(logits: Tensor, true: Tensor, soft: Tensor, share: float) -> Tensor:
    predicted = logits.log_softmax(1)
    # What is left out is minus infinity in both, and zero times that is no number.
    softly = -(soft.softmax(1) * predicted.masked_fill(predicted.isinf(), 0)).sum(1).mean()
    return (1 - share) * F.nll_loss(predicted, true) + share * softly


def info_nce(images: Tensor, texts: Tensor, image_of_text: Tensor, logit_scale: Tensor) -> Tensor:
    """One direction alone: each image tells its caption from the batch's others (van den Oord et al. 2018)."""
    return _image_to_text(logit_scale.exp() * texts @ images.T, image_of_text)


def _image_to_text(logits: Tensor, image_of_text: Tensor) -> Tensor:
    """Cross-entropy of each pair's caption among the captions of other images; logits [M, N]."""
    # One row a pair: the similarity of the pair's image with every text.
    pairs = logits.T[image_of_text].masked_fill(_siblings(image_of_text), float("-inf"))  # [M, M]
    return F.cross_entropy(pairs, torch.arange(len(pairs), device=pairs.device))


def _siblings(image_of_text: Tensor) -> Tensor:
    """Say [M, M] which texts are other captions of the same image."""
    siblings = image_of_text[:, None] == image_of_text[None, :]
    return siblings.fill_diagonal_(False)


def nt_xent(images: Tensor, texts: Tensor, image_of_text: Tensor, logit_scale: Tensor) -> Tensor:
    """Cross-entropy where images and texts alike are negatives of both (SimCLR, Chen et al. 2020).

    Each (image, caption) pair is a positive twice, from either side; what is left out of a
    denominator is the anchor itself and the pair's other captions.
    """
    scale = logit_scale.exp()
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


def triplet(images: Tensor, texts: Tensor, image_of_text: Tensor, margin: float, hardest: bool = False) -> Tensor:
    """Hinge on how much closer a pair is than the pair's rivals, both ways; a mean over pairs.

    Sums over all negatives of the batch, or with `hardest` takes the closest one alone (VSE++,
    Faghri et al. 2018).
    """
    scores = texts @ images.T  # [M, N]
    own = _own(image_of_text, len(images))  # [N, M]
    positives = scores.gather(1, image_of_text[:, None])  # [M, 1]
    rival_images = (margin - positives + scores).clamp(min=0).masked_fill(own.T, 0)
    rival_texts = (margin - positives + scores.T[image_of_text]).clamp(min=0).masked_fill(own[image_of_text], 0)
    if hardest:
        return (rival_images.amax(1) + rival_texts.amax(1)).mean()
    return (rival_images.sum(1) + rival_texts.sum(1)).mean()


def sigmoid(images: Tensor, texts: Tensor, image_of_text: Tensor, logit_scale: Tensor, logit_bias: Tensor) -> Tensor:
    """Each image and text of the batch a yes-or-no question of its own (SigLIP, Zhai et al. 2023).

    All captions of an image are its positives; the sum over all questions is divided by the texts.
    """
    logits = logit_scale.exp() * texts @ images.T + logit_bias  # [M, N]
    signs = 2 * _own(image_of_text, len(images)).T.to(logits.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / len(texts)
