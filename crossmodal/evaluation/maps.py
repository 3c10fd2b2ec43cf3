"""Both towers in one plane: t-SNE and UMAP of images and captions together."""

import random
import warnings

import numpy as np
import pandas as pd
import torch

from crossmodal.encoding.embeddings import Embeddings
from crossmodal.progress import Bars, silent

IMAGES = 250
FEWEST_IMAGES = 8  # with fewer, neither method has neighbours to keep together


def map_coordinates(embeddings: Embeddings, bars: Bars = silent) -> pd.DataFrame | None:
    """Return the coordinates of up to IMAGES images and one caption each, on two maps, for `charts.map_chart`.

    Columns: map (t-SNE or UMAP), x, y, kind (photo or caption), pair, row (of the image in the embeddings),
    caption. None when there are fewer than FEWEST_IMAGES images.
    """
    first: dict[int, int] = {}
    for caption, image in enumerate(embeddings.caption_to_image.tolist()):
        first.setdefault(image, caption)
    images = sampled_rows(len(embeddings.images), IMAGES)
    if len(images) < FEWEST_IMAGES:
        return None
    captions = [first[image] for image in images]
    vectors = torch.cat([embeddings.images[images], embeddings.texts[captions]]).float().numpy()
    frame = pd.DataFrame(
        {
            "kind": ["photo"] * len(images) + ["caption"] * len(images),
            "pair": list(range(len(images))) * 2,
            "row": images * 2,
            "caption": [embeddings.captions[caption] for caption in captions] * 2,
        }
    )
    return pd.concat(
        [frame.assign(map=name, x=plane[:, 0], y=plane[:, 1]) for name, plane in _planes(vectors, bars).items()],
        ignore_index=True,
    )


def sampled_rows(count: int, how_many: int, seed: int = 0) -> list[int]:
    """Return at most `how_many` of the rows 0 to count - 1, drawn at random with a fixed seed, in order."""
    return sorted(random.Random(seed).sample(range(count), min(how_many, count)))


def _planes(vectors: np.ndarray, bars: Bars) -> dict[str, np.ndarray]:
    neighbours = min(15, len(vectors) - 1)
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    with warnings.catch_warnings(), bars("Computing the map", 3, "step") as advance:
        warnings.simplefilter("ignore")  # UMAP warns that a fixed seed makes it run on one core
        from sklearn.manifold import TSNE

        tsne = TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=0).fit_transform(vectors)
        advance(1)
        from umap import UMAP  # here: numba, which it needs, takes seconds to import

        advance(1)
        umap = UMAP(n_neighbors=neighbours, metric="cosine", init="random", random_state=0).fit_transform(vectors)
        advance(1)
    return {"t-SNE": tsne, "UMAP": umap}
