"""Attention and paths of regions drawn over frames: each region has a colour, the same in a figure and in a video.

Axes: T frames of the tokens, R regions, H W the token grid of a frame, h w the picture.
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.colors import to_rgb
from torch import Tensor
from torchvision.transforms.v2 import functional
from torchvision.transforms.v2.functional import InterpolationMode

from taggnn.evaluation.tracklets import enlarged

# Okabe and Ito's (https://jfly.uni-koeln.de/color/), those that stand out of photographs first; and what surrounds lines. None is
# exactly one of the page's colours, which are others in the dark, where pictures stay as they are.
COLOURS = ("#d55e01", "#56b4e9", "#f0e442", "#cc79a7", "#009e74", "#e69f00", "#0072b3")
EDGE = "#fefefe"
# How much of a picture a region may cover, and how light the grey picture below it is.
OPACITY, LIGHTENED = 0.9, 0.45
# A token grid without pictures lies on this colour.
EMPTY = "#2b3038"


def colour(region: int) -> str:
    """The colour of a region."""
    return COLOURS[region % len(COLOURS)]


def rgb(text: str) -> Tensor:
    """A colour as numbers of 0 to 255. **Shapes:** -> float (3,)"""
    return 255 * torch.tensor(to_rgb(text))


def resized(pictures: Tensor, height: int, width: int) -> Tensor:
    """Pictures of another size; a few pixels are enlarged to squares.

    **Shapes:** uint8 (*, h, w, 3) -> uint8 (*, height, width, 3)
    """
    if pictures.shape[-3:-1] == (height, width):
        return pictures
    mode = InterpolationMode.NEAREST if height >= 3 * pictures.shape[-3] else InterpolationMode.BICUBIC
    moved = pictures.movedim(-1, -3)
    return functional.resize(moved, [height, width], mode, antialias=True).movedim(-3, -1)


def grey(pictures: Tensor, lightened: float = LIGHTENED) -> Tensor:
    """Pictures without colour and lightened, so that colours over them mean attention. **Shapes:** (*, 3) -> float (*, 3)"""
    weights = torch.tensor([0.299, 0.587, 0.114])
    light = (pictures.float() @ weights).unsqueeze(-1).expand(*pictures.shape)
    return light + (255 - light) * lightened


def covered(pictures: Tensor, strength: Tensor, regions: Sequence[int]) -> np.ndarray:
    """Pictures with the attention of some regions laid over them, each in its colour.

    Args:
        pictures: as they are to be seen below.
        strength: of all regions, 0 to 1.
        regions: which ones.

    **Shapes:** pictures (h, w, 3), strength (R, H, W) -> uint8 (h, w, 3)
    """
    height, width = pictures.shape[:2]
    maps, out = enlarged(strength.unsqueeze(0), height, width)[0], pictures.float()
    for region in regions:
        alpha = OPACITY * maps[region].clamp(0, 1).unsqueeze(-1)
        out = out * (1 - alpha) + rgb(colour(region)) * alpha
    return out.round().clamp(0, 255).to(torch.uint8).numpy()


def empty(height: int, width: int) -> Tensor:
    """What attention lies on where the input has no pictures. **Shapes:** -> float (height, width, 3)"""
    return rgb(EMPTY).expand(height, width, 3)
