"""A whole collection through the model being trained, each process its share."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from crossmodal.data.dataset import Dataset
from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoding.collection import as_embeddings, encode_captions, encode_photos
from crossmodal.encoding.decoding_ahead import Photos
from crossmodal.encoding.devices import trains_in_bf16
from crossmodal.encoding.embeddings import Embeddings
from crossmodal.training.batches import share_bounds
from crossmodal.training.distributed import gather_rows, sizes_of_shares
from crossmodal.training.setting import Setting


def encode_shared(
    model: DualEncoder, photos: Photos, dataset: Dataset, data: Mapping[str, Any], setting: Setting
) -> Embeddings:
    """Return the embeddings of a data set, the same in every process; its images are the first of `photos`."""

    def in_shares(count: int, encode: Callable[[int, int], Tensor]) -> Tensor:
        low, high = share_bounds(count, setting.rank, setting.processes)
        own = encode(low, high).to(model.device if setting.processes > 1 else "cpu")
        return gather_rows(own, sizes_of_shares(count, setting.processes)).cpu()

    captions, bars, bf16 = dataset.captions, setting.bars, trains_in_bf16(model.recipe.precision, model.device)
    images = in_shares(len(dataset), lambda low, high: encode_photos(model, photos, range(low, high), bars))
    texts = in_shares(len(captions), lambda low, high: encode_captions(model, captions[low:high], bars, bf16))
    return as_embeddings(dataset, images, texts, data)
