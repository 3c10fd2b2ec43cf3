"""The banks for query-bank normalisation: made of the training split, their share chosen on the validation split."""

import numpy as np

from crossmodal.encoding.embeddings import Embeddings
from crossmodal.evaluation.metrics import metrics_of, ranks_of
from crossmodal.hubs import Bank, Banks

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
LEAST = 50  # validation images; fewer tell too little
UNTRIED = 0.5


def make_banks(embeddings: Embeddings, temperature: float) -> Banks | None:
    """Return the banks of an epoch's embeddings, None where they do not help; `temperature` is the model's own.

    Without enough validation images half of the bias is taken.
    """
    train, val = embeddings.only("train"), embeddings.only("val")
    if not len(train.images):
        return None
    images, texts = train.images.numpy(), train.texts.numpy()
    captions, photos = Bank.of(texts, images, 1 / temperature), Bank.of(images, texts, 1 / temperature)
    share = UNTRIED
    if len(val.images) >= LEAST:
        biases = Banks(captions, photos).biases(val.images.numpy(), val.texts.numpy())
        share = max(SHARES, key=lambda share: _rsum(val, *(share * bias for bias in biases)))
    return Banks(captions.with_share(share), photos.with_share(share)) if share else None


def _rsum(val: Embeddings, image_bias: np.ndarray, text_bias: np.ndarray) -> float:
    return metrics_of(ranks_of(val.images, val.texts, val.caption_to_image.tolist(), (image_bias, text_bias)))["rsum"]
