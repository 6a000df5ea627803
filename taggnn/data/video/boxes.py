"""Boxes of a video's pictures as a model is fed them in evaluation: the frames chosen, scaled and cropped as the pictures are.

Axes: F frames of the video, T those of the input.
"""

import torch
from torch import Tensor

from taggnn.data.video.scaling import scaled_size
from taggnn.data.video.source import VideoSource


def boxes_of_input(boxes: Tensor, width: int, height: int, source: VideoSource) -> Tensor:
    """The boxes of the frames that the model sees, in pixels of its input.

    The same steps as for pictures: `VideoSource.preprocessing` states them. A box may lie partly or wholly outside of the input.

    Args:
        boxes: of every frame of the file, in its pixels.
        width: of the file's upright pictures, pixels.
        height: likewise.
        source: of the model's input, as evaluation has it.

    **Shapes:** boxes (F, 4) as (x, y, width, height), x and y the centre -> (T, 4)

    Raises:
        ValueError: no boxes.
    """
    chosen = boxes.double()[torch.tensor(source.sampler(len(boxes)))]
    (h, w), seen = source.transform.size, scaled_size(width, height, source.short_side)
    if source.transform.stretch:
        return _scaled(chosen, w / width, h / height)
    enlarge = max(h / seen[1], w / seen[0])
    if enlarge > 1:
        seen = max(w, round(seen[0] * enlarge)), max(h, round(seen[1] * enlarge))
    chosen = _scaled(chosen, seen[0] / width, seen[1] / height)
    # Rounded as center_crop rounds.
    corner = torch.tensor([round((seen[0] - w) / 2), round((seen[1] - h) / 2), 0, 0])
    return chosen - corner


def _scaled(boxes: Tensor, across: float, down: float) -> Tensor:
    return boxes * torch.tensor([across, down, across, down], dtype=boxes.dtype)
