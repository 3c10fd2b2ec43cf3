"""The loss: symmetric cross-entropy over scaled cosine similarities."""

import torch
import torch.nn.functional as F
from torch import Tensor


def symmetric_cross_entropy(images: Tensor, texts: Tensor, image_of_text: Tensor, logit_scale: Tensor) -> Tensor:
    """Mean of image-to-text and text-to-image cross-entropy (CLIP, Radford et al. 2021).

    With several captions an image, each (image, caption) pair is one positive, and the other
    captions of the same image are left out of its denominator: they are no negatives. With one
    caption an image this is CLIP's loss.

    images [N, D] and texts [M, D] are unit vectors; image_of_text [M] is the row of each text's
    image, each image once; logit_scale is the log of the inverse temperature.
    """
    logits = logit_scale.exp() * texts @ images.T  # [M, N]
    text_to_image = F.cross_entropy(logits, image_of_text)
    # One row a pair: the similarity of the pair's image with every text.
    pairs = logits.T[image_of_text]  # [M, M]
    siblings = image_of_text[:, None] == image_of_text[None, :]
    siblings.fill_diagonal_(False)
    pairs = pairs.masked_fill(siblings, float("-inf"))
    image_to_text = F.cross_entropy(pairs, torch.arange(len(texts), device=texts.device))
    return (image_to_text + text_to_image) / 2
