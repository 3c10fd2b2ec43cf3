"""Where a query looked in a photo: a heat map of the image tower's last grid."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from crossmodal.dual_encoder import DualEncoder
from crossmodal.errors import CrossmodalError

HOT = np.array([255, 90, 0])  # the colour of what was looked at


def heat_map(model: DualEncoder, image: Image.Image, query: np.ndarray) -> np.ndarray:
    """Return where an image is like a query [D], 0 to 1, [rows, columns] of the image tower's last grid.

    Each place's activations times the gradient of the similarity, summed over channels (HiResCAM,
    Draelos and Carin 2020): for mean pooling and a linear projection this is what each place adds to
    the similarity. Below zero is zero. The model, in evaluation mode, may be shared by threads. Raises
    CrossmodalError for a tower whose features are no grid.
    """
    with torch.no_grad():
        grid = model.image_tower.grid(model.preparation(image)[None].to(model.device))
    if grid.dim() != 4:
        raise CrossmodalError(
            f"{model.image_tower.name} has no last grid to look at; this needs a convolutional tower."
        )
    with torch.enable_grad():
        grid.requires_grad_()
        embed: Tensor = model.project_image(model.image_tower.pooled(grid))[0]
        similarity = embed @ torch.from_numpy(np.array(query)).to(embed)
        # Of the grid alone: the model is shared by threads, and gradients would pile up in its parameters.
        (gradient,) = torch.autograd.grad(similarity, grid)
    heat = (gradient * grid.detach()).sum(1)[0].clamp(min=0)
    return (heat / heat.max().clamp(min=1e-12)).cpu().numpy()


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
