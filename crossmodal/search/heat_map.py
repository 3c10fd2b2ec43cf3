"""Where a query looked in a photo: a heat map of the image tower's last grid, or of what is missed where it is masked."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from crossmodal.dual_encoder import DualEncoder
from crossmodal.encoder import Encoder

PLACES = 7  # rows and columns of a map by masking
AT_ONCE = 7  # masked images that are encoded together
HOT = np.array([255, 90, 0])  # the colour of what was looked at


def heat_map(model: Encoder, image: Image.Image, query: np.ndarray) -> np.ndarray:
    """Return where an image is like a query [D], 0 to 1, [rows, columns].

    Of a convolutional tower of ours, at each place of the last grid its activations times the gradient of the similarity, summed
    over channels (HiResCAM, Draelos and Carin 2020): for mean pooling and a linear projection this is what each place adds to
    the similarity. Of any other model, how far the similarity falls where the place and those around it are masked (Zeiler and
    Fergus 2014), which encodes the image 50 times. Below zero is zero. The model, in evaluation mode, may be shared by threads.
    """
    with torch.no_grad():
        pixels = model.preparation(image)[None].to(model.device)
        grid = model.image_tower.grid(pixels) if isinstance(model, DualEncoder) else None
    wanted = torch.from_numpy(np.array(query))
    if isinstance(model, DualEncoder) and grid is not None and grid.dim() == 4:
        heat = _by_gradient(model, grid, wanted)
    else:
        heat = _by_masking(model, pixels, wanted)
    heat = heat.clamp(min=0)
    return (heat / heat.max().clamp(min=1e-12)).cpu().numpy()


def _by_gradient(model: DualEncoder, grid: Tensor, query: Tensor) -> Tensor:
    with torch.enable_grad():
        grid.requires_grad_()
        embed: Tensor = model.project_image(model.image_tower.pooled(grid))[0]
        # Of the grid alone: the model is shared by threads, and gradients would pile up in its parameters.
        (gradient,) = torch.autograd.grad(embed @ query.to(embed), grid)
    return (gradient * grid.detach()).sum(1)[0]


@torch.no_grad()
def _by_masking(model: Encoder, pixels: Tensor, query: Tensor) -> Tensor:
    """Return how far the similarity falls without each of PLACES x PLACES places; a mask is three of them wide."""
    side = pixels.shape[-1]
    grey = pixels.float().mean((2, 3), keepdim=True).to(pixels.dtype)
    edges = [round(side * place / PLACES) for place in range(PLACES + 1)]
    masked = pixels.repeat(PLACES**2 + 1, 1, 1, 1)  # the last one stays whole
    for number in range(PLACES**2):
        (top, bottom), (left, right) = (
            (edges[max(0, at - 1)], edges[min(PLACES, at + 2)]) for at in divmod(number, PLACES)
        )
        masked[number, :, top:bottom, left:right] = grey[0]
    similarity = torch.cat([(found := model.encode_image(part)) @ query.to(found) for part in masked.split(AT_ONCE)])
    return (similarity[-1] - similarity[:-1]).view(PLACES, PLACES)


def overlaid(image: Image.Image, heat: np.ndarray, resize: str = "squash", crop_share: float = 1.0) -> Image.Image:
    """Return an image with a heat map over it; what the tower cropped away stays as it is."""
    box = (0.0, 0.0, float(image.width), float(image.height))
    if resize == "crop":
        side = min(image.size) * crop_share
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
    seen = (round(box[2] - box[0]), round(box[3] - box[1]))
    small = Image.fromarray((heat * 255).round().astype(np.uint8))
    whole = Image.new("L", image.size, 0)
    whole.paste(small.resize(seen, Image.Resampling.BICUBIC), (round(box[0]), round(box[1])))
    share = np.asarray(whole, dtype=np.float32)[:, :, None] / 255
    pixels = np.asarray(image, dtype=np.float32)
    # Dimmed where nothing was looked at, so that a light photo shows the heat too.
    mixed = pixels * (0.45 + 0.3 * share) + HOT * 0.45 * share
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))
