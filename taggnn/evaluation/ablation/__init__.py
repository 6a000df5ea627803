"""Interventions on a trained model, without training: what is taken away, or put into disorder; one row each."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import nn

from graphs import SPATIAL, TEMPORAL, Rewired, Topology, of_type
from taggnn.evaluation.ablation import edges, encoders, frames, joints
from taggnn.evaluation.ablation.altered import Altered, NotApplicable

__all__ = ["INTERVENTIONS", "Altered", "NotApplicable", "Row"]


class Row(NamedTuple):
    """An intervention.

    Args:
        make: ``(model, draw) -> Altered``, draw a number from 0; raises `NotApplicable` with the reason where the model has no
            such part.
        title: for tables.
        summary: what is done, in one sentence.
        random: whether draws differ, so that several are averaged (default: no).
        train: options of the head with which a network is trained so from the beginning, from its topology and the seed; those
            count that the head has. None (default): it is not trained.
    """

    make: Callable[[nn.Module, int], Altered]
    title: str
    summary: str
    random: bool = False
    train: Callable[[Topology, int], Mapping[str, object]] | None = None


INTERVENTIONS: dict[str, Row] = {
    "no_edges": Row(
        edges.none,
        "no edges",
        "no graph layer has an edge; what it does to a node by itself stays",
        train=lambda rule, seed: {"topology": "none"},
    ),
    "spatial_only": Row(
        edges.spatial,
        "spatial edges only",
        "edges inside of frames stay, those between frames go",
        train=lambda rule, seed: {"topology": of_type(rule, SPATIAL)},
    ),
    "temporal_only": Row(
        edges.temporal,
        "temporal edges only",
        "edges between frames stay, those inside of frames go",
        train=lambda rule, seed: {"topology": of_type(rule, TEMPORAL)},
    ),
    "random_edges": Row(
        edges.rewired,
        "random edges",
        "every node keeps its number of edges of each type, their other ends are random",
        random=True,
        train=lambda rule, seed: {"topology": Rewired(rule, seed)},
    ),
    "encoder_off": Row(
        encoders.off,
        "encoder off",
        "tokens pass the Transformer encoder of the head unchanged",
        train=lambda rule, seed: {"encoder_layers": 0, "enhancement_layers": 0},
    ),
    "frames_shuffled": Row(
        frames.shuffled, "frames shuffled", "the frames of each clip in a random order of its own", random=True
    ),
    "frames_reversed": Row(frames.reversed_, "frames reversed", "the last frame first"),
    "one_frame": Row(frames.repeated, "one frame repeated", "the middle frame of the clip in every position"),
    "joints_shuffled": Row(
        joints.shuffled,
        "joints shuffled",
        "the joints of each clip in a random order of its own, the same in all its frames",
        random=True,
    ),
}
