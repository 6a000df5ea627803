"""Checkpoints of skeleton networks as their authors or pyskl wrote them: recognised by names and shapes, brought to our names.

Axes: C channels, V joints, M persons, K classes.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from torch import Tensor, nn

from graphs import skeleton as skeletons
from graphs.skeleton import SKELETONS
from taggnn.backbones.weights import find_weights, load_strictly, read_state_dict
from taggnn.types import SKELETON_AXES, InputSpec

log = logging.getLogger(__name__)

# Of a classifier: pyskl, most authors, and ST-GCN, whose classifier is a 1x1 convolution.
_CLASSIFIERS = ("cls_head.fc_cls.", "fc.", "fcn.")
# Other names of the same entries, in order. pyskl's CTR-GCN counts blocks from 0; AAGCN's authors name it like 2s-AGCN.
_RENAMED = [
    (re.compile(r"^net\.(\d+)\."), lambda found: f"l{int(found[1]) + 1}."),
    (re.compile(r"^(l\d+)\.gcn1\.A$"), lambda found: f"{found[1]}.gcn1.PA"),
]
_RENAMED_AAGCN = [
    (re.compile(r"^l(\d+)\.gcn1\.PA$"), lambda found: f"gcn.{int(found[1]) - 1}.gcn.A"),
    (re.compile(r"^l(\d+)\.(gcn|tcn)1\."), lambda found: f"gcn.{int(found[1]) - 1}.{found[2]}."),
    (re.compile(r"^l(\d+)\.residual\."), lambda found: f"gcn.{int(found[1]) - 1}.residual."),
]


@dataclass(frozen=True)
class _Family:
    """How a network is recognised, by entries in its first block.

    Args:
        entry: one that no other family has.
        block: the names of a block, with its number as a group.
        width: in a block, an entry with an element for each output channel.
        graph: an entry (3, V, V).
        coordinates: a convolution of the coordinates.
        per_person: whether BatchNorm of the coordinates is the same for every person.
        first: number of the first block.
    """

    entry: str
    block: str
    width: str
    graph: str
    coordinates: str
    per_person: bool
    first: int


_FAMILIES = {
    "ctr_gcn": _Family(
        "l1.gcn1.convs.0.conv4.weight",
        r"l(\d+)\.",
        "l{}.gcn1.bn.weight",
        "l1.gcn1.PA",
        "l1.gcn1.convs.0.conv3.weight",
        False,
        1,
    ),
    "aagcn": _Family(
        "gcn.0.gcn.conv_ta.weight",
        r"gcn\.(\d+)\.",
        "gcn.{}.gcn.bn.weight",
        "gcn.0.gcn.A",
        "gcn.0.gcn.conv_d.0.weight",
        False,
        0,
    ),
    "agcn": _Family(
        "l1.gcn1.conv_a.0.weight",
        r"l(\d+)\.",
        "l{}.gcn1.bn.weight",
        "l1.gcn1.PA",
        "l1.gcn1.conv_d.0.weight",
        False,
        1,
    ),
    "st_gcn++": _Family(
        "gcn.0.tcn.transform.2.weight",
        r"gcn\.(\d+)\.",
        "gcn.{}.gcn.bn.weight",
        "gcn.0.gcn.A",
        "gcn.0.gcn.conv.weight",
        True,
        0,
    ),
    "st_gcn": _Family(
        "st_gcn_networks.0.gcn.conv.weight",
        r"st_gcn_networks\.(\d+)\.",
        "st_gcn_networks.{}.tcn.0.weight",
        "A",
        "st_gcn_networks.0.gcn.conv.weight",
        True,
        0,
    ),
}


@dataclass(frozen=True)
class Found:
    """A published network.

    Args:
        name: of its row in ``BACKBONES``.
        options: of its builder.
        spec: an input that it takes.
        state: the backbone's entries by our names.
        classifier: weight (K, C) and bias (K,).
    """

    name: str
    options: dict[str, int | list[int]]
    spec: InputSpec
    state: dict[str, Tensor]
    classifier: tuple[Tensor, Tensor]


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether entries are those of a published skeleton network with its classifier."""
    backbone, classifier = _translated(state)
    return len(classifier) == 2 and any(family.entry in backbone for family in _FAMILIES.values())


def recognised(
    state: Mapping[str, Tensor], source: str, skeleton: str | None = None, persons: int | None = None, frames: int = 64
) -> Found:
    """Finds family, sizes and input of a published network from the names and shapes of its entries.

    Args:
        state: names and tensors, without what DataParallel put before names.
        source: the file, for messages.
        skeleton: name of the joints; None for the one skeleton of ``graphs.skeleton`` with so many joints.
        persons: M, which ST-GCN and ST-GCN++ do not store; None for 1 hand, or 2 bodies.
        frames: T of the input; the file does not contain it.

    Raises:
        ValueError: another network, or sizes that contradict each other; names the file.
    """
    backbone, classifier = _translated(state)
    name = next((name for name, family in _FAMILIES.items() if family.entry in backbone), None)
    if name is None:
        raise ValueError(
            f"{source} is none of the published skeleton networks {', '.join(_FAMILIES)}; its first entries are "
            f"{', '.join(list(state)[:5])}"
        )
    if len(classifier) != 2:
        raise ValueError(
            f"{source}: a {name} without a classifier; expected {' or '.join(_CLASSIFIERS)}weight and bias"
        )
    family = _FAMILIES[name]
    joints = _shape(backbone, family.graph, source)[-1]
    channels = _shape(backbone, family.coordinates, source)[1]
    stored = _shape(backbone, "data_bn.weight", source)[0] // (joints * channels)
    if persons is None:
        persons = (1 if joints == len(SKELETONS["hand"]) else 2) if family.per_person else stored
    elif not family.per_person and persons != stored:
        raise ValueError(f"{source}: persons={persons}, but its data_bn is for {stored}")
    shape = (channels, frames, joints, persons)
    options = {"skeleton": _skeleton(joints, skeleton, source)}
    spec = InputSpec("skeleton", SKELETON_AXES, shape, options)
    if name == "agcn":
        log.info("%s: its fixed graph is not in the file; taken from the skeleton %s", source, options["skeleton"])
    weight, bias = (classifier[part] for part in ("weight", "bias"))
    return Found(name, _sizes(backbone, family, name, source), spec, backbone, (weight.flatten(1), bias))


def load_weights(module: nn.Module, weights: str | Path, name: str) -> None:
    """Loads a published checkpoint, or a file of one's own, strictly; a published classifier is dropped, which is logged.

    Args:
        module: the backbone.
        weights: path of the file.
        name: of the backbone, for messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a name instead of a path, a file that cannot be read, or one that does not fit.
    """
    path = find_weights(weights, name, None)
    state = read_state_dict(path)
    if not is_published(state):
        return load_strictly(module, state, str(path))
    backbone, classifier = _translated(state)
    log.info("%s: classifier of %d classes dropped", path, len(classifier["bias"]))
    plugged = {key: value for key, value in module.state_dict().items() if ".plug." in key and key not in backbone}
    if plugged:
        log.info("%s: without plugs, which keep their initial weights", path)
        backbone |= plugged
    return load_strictly(module, backbone, str(path))


def _translated(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The backbone by our names, and the classifier."""
    classifier, backbone = dict[str, Tensor](), dict[str, Tensor]()
    for key, value in state.items():
        part = next((part for part in _CLASSIFIERS if key.startswith(part)), None)
        if part is not None:
            classifier[key.removeprefix(part)] = value
        else:
            backbone[key.removeprefix("backbone.")] = value
    rules = list(_RENAMED)
    if "l1.gcn1.conv_ta.weight" in backbone:
        rules = _RENAMED_AAGCN
    for pattern, new in rules:
        backbone = {pattern.sub(new, key): value for key, value in backbone.items()}
    if _FAMILIES["st_gcn"].entry not in backbone:
        # pyskl stores the graph that its blocks were initialised with.
        backbone.pop("A", None)
    return backbone, classifier


def _sizes(state: Mapping[str, Tensor], family: _Family, name: str, source: str) -> dict[str, int | list[int]]:
    """Width and depths from the output channels of every block."""
    numbers = {int(found[1]) for key in state if (found := re.match(family.block, key))}
    if numbers != set(range(family.first, family.first + len(numbers))):
        raise ValueError(f"{source}: a {name} with blocks {sorted(numbers)}; some are missing")
    widths = [_shape(state, family.width.format(number), source)[0] for number in sorted(numbers)]
    stages = [(width, len(list(blocks))) for width, blocks in groupby(widths)]
    if any(after != 2 * before for (before, _), (after, _) in pairwise(stages)):
        raise ValueError(
            f"{source}: a {name} with blocks of {', '.join(map(str, widths))} channels; each stage must double"
        )
    return {"width": stages[0][0], "depths": [depth for _, depth in stages]}


def _shape(state: Mapping[str, Tensor], key: str, source: str) -> tuple[int, ...]:
    if key not in state or not state[key].ndim:
        raise ValueError(f"{source}: no entry {key}")
    return tuple(state[key].shape)


def _skeleton(joints: int, given: str | None, source: str) -> str:
    if given is not None:
        return skeletons.find(given).name
    fitting = [name for name, one in SKELETONS.items() if len(one) == joints]
    if len(fitting) != 1:
        known = ", ".join(f"{name} ({len(one)})" for name, one in SKELETONS.items())
        raise ValueError(f"{source}: has {joints} joints; give skeleton=, one of {known}")
    return fitting[0]
