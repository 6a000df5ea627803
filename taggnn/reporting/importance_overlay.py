"""Importance drawn over frames: one colour for what speaks for a class, another for what speaks against it.

The scale is that of the clip and the method: full colour is the largest absolute value in them.

Axes: T frames of the tokens, F frames of the input, H W the token grid of a frame, V joints, h w the picture.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from taggnn.evaluation.tracklets import enlarged, token_frame
from taggnn.explanation.explained import Explained
from taggnn.explanation.importance import Importance
from taggnn.reporting.tracklet_overlay import COLOURS, OPACITY, empty, grey, resized, rgb

FOR, AGAINST = COLOURS[0], COLOURS[6]
# A joint or bone that counts for nothing.
NEUTRAL = "#c9ced4"
SCALE_NOTE = (
    "Orange speaks for the class, blue against it. The colour scale is that of one clip and one method: full colour is the "
    "largest value in them, so that colours of two clips or methods cannot be compared."
)


def scaled(values: Tensor) -> Tensor:
    """Values by the largest absolute one: -1 to 1; 0 where all are 0. **Shapes:** (*) -> (*)"""
    most = values.abs().amax()
    return values / most if most > 0 else torch.zeros_like(values)


def blended(below: Tensor, strength: Tensor, opacity: float = OPACITY) -> Tensor:
    """Colours with importance laid over them. **Shapes:** below float (*, 3), strength (*) -> uint8 (*, 3)"""
    alpha = opacity * strength.abs().clamp(0, 1).unsqueeze(-1)
    ink = torch.where(strength.unsqueeze(-1) > 0, rgb(FOR), rgb(AGAINST))
    return (below.float() * (1 - alpha) + ink * alpha).round().clamp(0, 255).to(torch.uint8)


def overlaid(clip: Explained, importance: Importance, height: int, width: int, lightened: float) -> Tensor | None:
    """Every frame of the input with the importance of its tokens over it.

    Args:
        clip: with its pictures.
        importance: the map.
        height: of the result, pixels.
        width: likewise.
        lightened: how far the grey picture below is lightened, 0 to 1.

    **Shapes:** -> uint8 (F, height, width, 3); (T, height, width, 3) of an input without pictures; None where positions neither
    cover the picture in rows and columns nor are joints
    """
    strength = scaled(importance.values)
    if clip.rated_picture is not None and strength.ndim == 2:
        return _skeletons(clip, importance, strength, height, width)
    if strength.ndim != 3:
        return None
    if clip.pictures is None:
        below, tokens = empty(height, width).expand(len(strength), height, width, 3), list(range(len(strength)))
    else:
        below = grey(resized(clip.pictures, height, width), lightened)
        tokens = [token_frame(frame, len(below), len(strength)) for frame in range(len(below))]
    return blended(below, enlarged(strength[tokens].unsqueeze(1), height, width)[:, 0])


def _skeletons(clip: Explained, importance: Importance, strength: Tensor, height: int, width: int) -> Tensor:
    """**Shapes:** strength (T, V) -> uint8 (F, height, width, 3)"""
    assert clip.rated_picture is not None
    assert clip.pictures is not None
    count = len(clip.pictures)
    tokens = [token_frame(frame, count, len(strength)) for frame in range(count)]
    neutral, bones = rgb(NEUTRAL), scaled(bone_values(importance, clip.bones))
    drawn = clip.rated_picture(*(blended(neutral, one[tokens], 1.0) for one in (strength, bones)))
    return resized(drawn, height, width)


def bone_values(importance: Importance, bones: Sequence[tuple[int, int]]) -> Tensor:
    """The importance of each bone: of its edges in both directions where edges are rated, else the mean of its two joints.

    **Shapes:** values (T, V) -> (T, bones)
    """
    values, ends = importance.values, torch.tensor(list(bones)).reshape(-1, 2)
    if importance.edges is None or importance.edge_index is None:
        return values[:, ends].mean(-1)
    frames, joints = values.shape
    source, target = importance.edge_index
    found = torch.zeros(frames, joints, joints)
    inside = source // joints == target // joints
    index = (source[inside] // joints, source[inside] % joints, target[inside] % joints)
    found.index_put_(index, importance.edges[inside], accumulate=True)
    return found[:, ends[:, 0], ends[:, 1]] + found[:, ends[:, 1], ends[:, 0]]
