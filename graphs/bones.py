"""Rules on the joints of a skeleton: its bones, and the adjacency subsets of skeleton networks.

Axes: T frames, V joints, N = T*V nodes, node n = t*V + joint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .skeleton import Skeleton, find
from .topology import SPATIAL, Axes, Topology


@dataclass(frozen=True)
class Bones(Topology):
    """Two joints of a frame are connected where a bone is between them, in both directions: 2 T (V - 1) edges of type 0.

    Args:
        skeleton: a name of ``graphs.skeleton.SKELETONS``.

    Raises:
        ValueError: an unknown skeleton; in the methods, a grid with another number of joints.
    """

    skeleton: str

    axes: ClassVar[Axes] = ("frames", "joints")
    edge_types: ClassVar[tuple[int, ...]] = (SPATIAL,)

    def __post_init__(self) -> None:
        find(self.skeleton)

    def edges(self, grid: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        frames, joints = self.checked(grid)
        one = torch.tensor(find(self.skeleton).bones, device=device).T
        # By target, then source.
        both = torch.cat([one, one.flip(0)], 1)
        source, target = both[:, (both[1] * joints + both[0]).argsort()]
        first = joints * torch.arange(frames, device=device)[:, None]
        edge_index = torch.stack([(first + source).flatten(), (first + target).flatten()])
        return edge_index, torch.full_like(edge_index[0], SPATIAL)

    def num_edges(self, grid: Sequence[int]) -> int:
        frames, joints = self.checked(grid)
        return 2 * frames * (joints - 1)

    def checked(self, grid: Sequence[int]) -> tuple[int, ...]:
        shape = super().checked(grid)
        joints = len(find(self.skeleton))
        if shape[1] != joints:
            raise ValueError(
                f"topology {self}: the skeleton has {joints} joints, the grid {tuple(shape)} has {shape[1]}"
            )
        return shape


def adjacency_subsets(skeleton: Skeleton) -> Tensor:
    """The three fixed graphs of skeleton networks: each joint itself, inward along the bones, outward; columns sum to 1 or 0.

    Source: 2s-AGCN, https://arxiv.org/abs/1805.07694, section 3.3, as its code and that of CTR-GCN make them.
    Formula: ``A D^-1``, A[parent, child] = 1 inward and its transpose outward, D the sums of A's columns.

    **Shapes:** -> (3, V, V)
    """
    joints = len(skeleton)
    inward = torch.zeros(joints, joints)
    for child, parent in skeleton.bones:
        inward[parent, child] = 1
    return torch.stack([torch.eye(joints), _columns(inward), _columns(inward.T)])


def distance_subsets(skeleton: Skeleton) -> Tensor:
    """The three fixed graphs of ST-GCN: neighbours as far from the root as the joint itself, nearer to it, and farther.

    Source: ST-GCN, https://arxiv.org/abs/1801.07455, section 3.3, "spatial configuration partitioning". Formula: ``A D^-1`` with
    A the bones in both directions and self-loops, D the sums of its columns, then split by distance from the root.

    **Shapes:** -> (3, V, V)
    """
    joints = len(skeleton)
    both = torch.eye(joints)
    for child, parent in skeleton.bones:
        both[parent, child] = both[child, parent] = 1
    depth, parents = torch.zeros(joints), dict(skeleton.bones)
    for joint in range(joints):
        here = joint
        while here in parents:
            here = parents[here]
            depth[joint] += 1
    # Row: the joint that gives; column: the one that receives.
    away = depth[:, None] - depth
    normal = _columns(both)
    return torch.stack([normal * (away == 0), normal * (away < 0), normal * (away > 0)])


def _columns(adjacency: Tensor) -> Tensor:
    return adjacency / adjacency.sum(0).clamp(min=1)
