"""Both towers in one plane: t-SNE and UMAP of images and captions together."""

import warnings

import numpy as np
import pandas as pd
import torch
from sklearn.manifold import TSNE

from crossmodal.encoding.embeddings import Embeddings
from crossmodal.evaluation.report.findings import some_of

IMAGES = 250
FEWEST = 8  # of fewer images there is no map worth drawing


def maps(embeddings: Embeddings) -> pd.DataFrame | None:
    """Return a row for each of some images and one caption each, with places on both maps.

    Columns: map, x, y, kind (image or caption), pair, row (of the image), caption. None of fewer than
    FEWEST images.
    """
    first: dict[int, int] = {}
    for caption, image in enumerate(embeddings.caption_to_image.tolist()):
        first.setdefault(image, caption)
    images = some_of(len(embeddings.images), IMAGES)
    if len(images) < FEWEST:
        return None
    captions = [first[image] for image in images]
    vectors = torch.cat([embeddings.images[images], embeddings.texts[captions]]).float().numpy()
    frame = pd.DataFrame(
        {
            "kind": ["image"] * len(images) + ["caption"] * len(images),
            "pair": list(range(len(images))) * 2,
            "row": images * 2,
            "caption": [embeddings.captions[caption] for caption in captions] * 2,
        }
    )
    return pd.concat(
        [frame.assign(map=name, x=places[:, 0], y=places[:, 1]) for name, places in _places(vectors).items()],
        ignore_index=True,
    )


def _places(vectors: np.ndarray) -> dict[str, np.ndarray]:
    # Only here: numba takes seconds to import.
    from umap import UMAP

    neighbours = min(15, len(vectors) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a seed makes UMAP run on one core, which it warns of each time
        near = UMAP(n_neighbors=neighbours, metric="cosine", init="random", random_state=0).fit_transform(vectors)
        perplexity = min(30.0, (len(vectors) - 1) / 3)
        stochastic = TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=0).fit_transform(vectors)
    return {"t-SNE": stochastic, "UMAP": near}
