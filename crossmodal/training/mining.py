"""Hard negatives: images that the last epoch's embeddings take for each other."""

from pathlib import Path

import torch
from torch import Tensor

from crossmodal.encoding.embeddings import load_embeddings
from crossmodal.places import TRAIN

ROWS_AT_ONCE = 1024


def mine(folder: Path, epoch: int, fingerprint: str, count: int) -> list[list[int]]:
    """Return for each train image the `count` other train images most similar to its captions, most similar first.

    They are ranked by the embeddings that `epoch` wrote to `folder`; positions are those in the train split.
    """
    trained = load_embeddings(folder, epoch, fingerprint, TRAIN).only("train")
    return confused(trained.images.float(), trained.texts.float(), trained.caption_to_image, count)


def confused(images: Tensor, texts: Tensor, image_of_text: Tensor, count: int) -> list[list[int]]:
    """Return for each image the `count` others closest to the mean of its captions.

    images [N, D] and texts [M, D] are unit vectors; image_of_text [M] is the image of each text.
    """
    count = min(count, len(images) - 1)
    means = torch.zeros_like(images).index_add_(0, image_of_text, texts)
    found = []
    for start in range(0, len(images), ROWS_AT_ONCE):
        scores = means[start : start + ROWS_AT_ONCE] @ images.T
        own = torch.arange(len(scores))
        scores[own, start + own] = float("-inf")
        found += scores.topk(count, dim=1).indices.tolist()
    return found
