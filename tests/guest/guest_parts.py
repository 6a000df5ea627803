"""What a user could write outside of taggnn: skeleton arrays (3, T, V, M), and every part of a network for them.

Axes: B clips, T frames, V joints, M persons, N = T*V nodes, C channels, K classes.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch_geometric.nn import MessagePassing

from graphs import SPATIAL, Topology
from taggnn.heads import TagHead
from taggnn.types import SKELETON_AXES, BadClip, Features, InputSpec, Output, Sample

JOINTS, PERSONS = 5, 2
BONES = ((0, 1), (1, 2), (1, 3), (3, 4))


class Arrays:
    """Arrays (3, T, V, M) in .npy files; training adds noise."""

    endings = (".npy",)

    def __init__(self, frames: int = 6, noise: float = 0.1):
        options = {"frames": frames, "noise": noise}
        self.frames, self.noise = frames, noise
        self.spec = InputSpec("guest_parts.Arrays", SKELETON_AXES, (3, frames, JOINTS, PERSONS), options)

    @classmethod
    def from_spec(cls, spec):
        return cls(**spec.options)

    def __call__(self, clip, seed):
        try:
            array = torch.from_numpy(np.load(clip.path, allow_pickle=False)).float()
            if array.ndim != 4:
                raise ValueError(f"an array of {array.ndim} axes")
        except (OSError, ValueError, EOFError) as error:
            return BadClip(clip.name, clip.path, str(error))
        x = array[:, torch.linspace(0, array.shape[1] - 1, self.frames).long()]
        if seed is not None:
            x = x + self.noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        return Sample(x, clip.label)


class JointNet(nn.Module):
    """Two linear layers for each joint; the persons are averaged. Its loss, of each clip: tokens should move slowly.

    **Shapes:** (B, 3, T, V, M) -> (B, T, V, C)
    """

    def __init__(self, channels: int = 8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, channels), nn.ReLU(), nn.Linear(channels, channels))

    def forward(self, x):
        tokens = self.layers(x.permute(0, 2, 3, 4, 1)).mean(3)
        losses = {"slow": tokens.diff(dim=1).square().mean((1, 2, 3))} if self.training else {}
        return Features(tokens, losses)


class Mix(MessagePassing):
    """A convolution: a node takes the mean of its neighbours through a linear layer."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(aggr="mean")
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, x, edge_index):
        return self.linear(self.propagate(edge_index, x=x))


@dataclass(frozen=True)
class Skeleton(Topology):
    """Bones inside a frame, both directions."""

    axes: ClassVar[tuple[str, ...]] = ("frames", "joints")
    edge_types: ClassVar[tuple[int, ...]] = (SPATIAL,)

    def edges(self, grid, device="cpu"):
        frames, joints = self.checked(grid)
        if joints != JOINTS:
            raise ValueError(f"a skeleton has {JOINTS} joints, given {joints}")
        pairs = torch.tensor([pair for a, b in BONES for pair in ((a, b), (b, a))], device=device).T
        index = (pairs[:, None] + joints * torch.arange(frames, device=device)[:, None]).reshape(2, -1)
        order = (index[1] * frames * joints + index[0]).argsort()
        return index[:, order], torch.full((index.shape[1],), SPATIAL, device=device)


class Peaks(nn.Module):
    """A read-out: the mean and the maximum, added."""

    def __init__(self, channels: int):
        super().__init__()

    def forward(self, x):
        return x.mean(1) + x.amax(1), None


class Head(TagHead):
    """TAG-Head with two losses: of each clip, how far its answer is from its target; of the batch, the size of what is pooled."""

    loss_weights: ClassVar[dict[str, float]] = {"size": 0.01}

    def forward(self, tokens, targets=None, **options):
        output = super().forward(tokens, targets, **options)
        if targets is None:
            return output
        shares = targets if targets.ndim == 2 else nn.functional.one_hot(targets, output.logits.shape[1])
        each = (output.logits.softmax(-1) - shares).square().sum(1)
        size = output.extras["pooled"].square().sum(1).mean()
        return Output(output.logits, output.extras, {"brier": each, "size": size})
