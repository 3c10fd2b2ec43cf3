"""Which images and which of their captions make up each step of an epoch."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from crossmodal.data.dataset import Dataset


@dataclass(frozen=True)
class Batch:
    """Images by their index, each once, and the captions that go with them."""

    images: tuple[int, ...]
    captions: tuple[str, ...]
    image_of_caption: tuple[int, ...]

    def share(self, rank: int, processes: int) -> "Batch":
        """Return the part of one process: whole images with their captions; rows count from its first."""
        low, high = share_bounds(len(self.images), rank, processes)
        chosen = [index for index, row in enumerate(self.image_of_caption) if low <= row < high]
        return Batch(
            self.images[low:high],
            tuple(self.captions[index] for index in chosen),
            tuple(self.image_of_caption[index] - low for index in chosen),
        )


def share_bounds(count: int, part: int, parts: int) -> tuple[int, int]:
    """Return the bounds of one of `parts` nearly equal shares of `count` rows."""
    return count * part // parts, count * (part + 1) // parts


def plan_epoch(
    dataset: Dataset,
    batch_size: int,
    captions_per_image: int,
    seed: int,
    epoch: int,
    negatives: Sequence[Sequence[int]] | None = None,
) -> list[Batch]:
    """Return the steps of an epoch: every image once, or by its weight, in a new order each epoch.

    An image appears once in a batch, so its captions are never each other's negatives. `captions_per_image`
    of its captions come along (0 for all of them): over the epochs they take turns, so that all are
    used in ceil(captions / captions_per_image) epochs; an image that comes again brings the same ones. Batches differ in size by one image at most, and
    of two images or more none is left alone: it would have no negative, and BatchNorm no variance.
    `negatives` are each image's hard negatives, which follow it in the order and so share its batch,
    but for those that came before.
    """
    order = _order([image.weight for image in dataset.images], random.Random(f"order {seed} {epoch}"))
    if negatives is not None:
        order = list(dict.fromkeys(member for index in order for member in (index, *negatives[index])))
    steps = max(1, min(round(len(order) / batch_size), len(order) // 2))
    batches = []
    for step in range(steps):
        low, high = share_bounds(len(order), step, steps)
        images = list(dict.fromkeys(order[low:high]))
        if len(images) < min(2, len(dataset.images)):  # one that came twice in a batch of two
            continue
        chosen = [
            _in_turn(dataset.images[index].captions, captions_per_image, f"{seed} {index}", epoch) for index in images
        ]
        captions = tuple(caption for texts in chosen for caption in texts)
        rows = tuple(row for row, texts in enumerate(chosen) for _ in texts)
        batches.append(Batch(tuple(images), captions, rows))
    return batches


def _order(weights: Sequence[float], rng: random.Random) -> list[int]:
    """Return images by number in random order, each `weight` times, the fraction by chance, far from each other."""
    if set(weights) <= {1.0}:
        order = list(range(len(weights)))
        rng.shuffle(order)
        return order
    placed = []
    for index, weight in enumerate(weights):
        times = int(weight) + (rng.random() < weight % 1)
        placed += [((turn + rng.random()) / times, index) for turn in range(times)]
    return [index for _, index in sorted(placed)]


def _in_turn(captions: Sequence[str], count: int, key: str, epoch: int) -> list[str]:
    """Return the next `count` captions in a fixed shuffled order."""
    if not count or count >= len(captions):
        return list(captions)
    round_ = list(captions)
    random.Random(f"captions {key}").shuffle(round_)
    start = epoch * count
    return [round_[(start + offset) % len(round_)] for offset in range(count)]
