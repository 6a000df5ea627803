"""Importance of pixels by captum's methods, through backbone and head; a token has the mean over the pixels of its cell.

Axes: T frames of the input, h w the picture, grid (T', H, W) that of the tokens.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taggnn.explanation.head_input import HeadInput
from taggnn.explanation.importance import Importance
from taggnn.explanation.options import Options


def pixel_integrated_gradients(given: HeadInput, target: int, options: Options) -> Importance:
    """Gradients by the pixels, integrated from the mean colour, which a normalised clip has at 0, to the clip.

    Source: https://arxiv.org/abs/1703.01365, computed by captum.

    Raises:
        ValueError: the model's input is no video.
        ImportError: captum is not installed.
    """
    attr = _captum(given)
    method = attr.IntegratedGradients(lambda x: given.model(x).logits)
    with torch.inference_mode(False), torch.enable_grad():
        found = method.attribute(
            given.x.clone(),
            target=target,
            n_steps=options.steps,
            internal_batch_size=min(options.batch, options.steps, 4),
        )
    return _importance(given, found[0].sum(0), target, "pixel_integrated_gradients")


def pixel_occlusion(given: HeadInput, target: int, options: Options) -> Importance:
    """The fall of the logit where the pixels of a token's cell get the mean colour.

    Source: https://arxiv.org/abs/1311.2901, section 4.2, computed by captum.

    Raises:
        ValueError: the model's input is no video.
        ImportError: captum is not installed.
    """
    attr = _captum(given)
    channels, *sizes = given.x.shape[1:]
    window = tuple(max(1, -(-size // cells)) for size, cells in zip(sizes, given.grid, strict=True))
    method = attr.Occlusion(lambda x: given.model(x).logits)
    with torch.no_grad():
        found = method.attribute(
            given.x, target=target, sliding_window_shapes=(channels, *window), strides=(channels, *window),
            perturbations_per_eval=min(options.batch, 4),
        )  # fmt: skip
    # The same fall stands in every channel.
    return _importance(given, found[0, 0], target, "pixel_occlusion")


def _captum(given: HeadInput) -> Any:
    if given.x.ndim != 5 or len(given.grid) != 3 or given.x is given.tokens:
        raise ValueError("pixels are explained of models of video, whose tokens are a grid of frames, rows and columns")
    try:
        from captum import attr
    except ImportError as error:
        raise ImportError(f"methods on pixels need captum: pip install 'taggnn[explain]' ({error})") from error
    return attr


def _importance(given: HeadInput, pixels: Tensor, target: int, method: str) -> Importance:
    pixels = pixels.detach().float().cpu()
    frames, rows, columns = given.grid
    values = F.adaptive_avg_pool3d(pixels[None, None], (frames, rows, columns))[0, 0]
    return Importance(values, method, target, True, "pixel", pixels=pixels)
