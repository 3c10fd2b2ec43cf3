"""The banks for query-bank normalisation: made of the training split, their share chosen on the validation split."""

import numpy as np

from crossmodal.encoding.embeddings import Embeddings
from crossmodal.evaluation.metrics import metrics_of, ranks_of
from crossmodal.hubs import Bank, Banks

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
LEAST = 50  # validation images; fewer tell too little
UNTRIED = 0.25
ENOUGH = 2 / 3  # of the best share's gain: on photos unlike those of training, a larger share soon does harm


def make_banks(embeddings: Embeddings, temperature: float) -> Banks | None:
    """Return the banks of an epoch's embeddings, None where they do not help; `temperature` is the model's own.

    The share of the bias is the least that brings ENOUGH of what the best one gains; without enough validation images it is
    UNTRIED.
    """
    train, val = embeddings.only("train"), embeddings.only("val")
    if not len(train.images):
        return None
    images, texts = train.images.numpy(), train.texts.numpy()
    captions, photos = Bank.of(texts, images, 1 / temperature), Bank.of(images, texts, 1 / temperature)
    share = UNTRIED
    if len(val.images) >= LEAST:
        biases = Banks(captions, photos).biases(val.images.numpy(), val.texts.numpy())
        rsums = [_rsum(val, *(share * bias for bias in biases)) for share in SHARES]
        enough = rsums[0] + ENOUGH * (max(rsums) - rsums[0])
        share = next(share for share, rsum in zip(SHARES, rsums, strict=True) if rsum >= enough)
    return Banks(captions.with_share(share), photos.with_share(share)) if share else None


def _rsum(val: Embeddings, image_bias: np.ndarray, text_bias: np.ndarray) -> float:
    return metrics_of(ranks_of(val.images, val.texts, val.caption_to_image.tolist(), (image_bias, text_bias)))["rsum"]
