"""Any backbone as ordered stages, from the clip to the features: the units of freezing, learning rate decay and recomputation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn

# An nn.Sequential with a larger share of the parameters is opened into several stages.
_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Stage:
    """One stage of a backbone.

    Attributes:
        name: of its first part, dotted: "layer1", "blocks.3".
        parts: the submodules that belong to it, dotted.
        parameters: the names of its parameters.
    """

    name: str
    parts: tuple[str, ...]
    parameters: tuple[str, ...]


def stages(module: nn.Module) -> list[Stage]:
    """Cuts a backbone into stages, in the order in which a clip passes them.

    A module may state them itself: ``cut``, a sequence of sequences of dotted names. Otherwise [ours] the children that hold
    parameters are the stages, in the order in which the module made them. Opened instead of taken whole is a child that holds
    all parameters, an ``nn.ModuleList``, and an ``nn.Sequential`` that holds more than 90 % of them, with the plain
    ``nn.Sequential`` in it. A child without a matrix or a kernel, such as a norm or a table of positions, joins the stage
    before it, and the module's own parameters, such as a class token, join the first.

    Args:
        module: any module; nothing is changed.

    Returns:
        The stages; every parameter of the module is in exactly one.

    Raises:
        ValueError: ``cut`` names a part that is not there.
    """
    stated = getattr(module, "cut", None)
    groups = [list(group) for group in stated] if stated is not None else grouped(module)
    known = dict(module.named_modules())
    for part in (part for group in groups for part in group):
        if part not in known:
            raise ValueError(f"{type(module).__name__}.cut names {part!r}, which is no part of it")
    members: list[list[str]] = [[] for _ in groups]
    owner = {part: number for number, group in enumerate(groups) for part in group}
    for name, _ in module.named_parameters():
        path = name.split(".")[:-1]
        holders = (".".join(path[:depth]) for depth in range(len(path), 0, -1))
        members[next((owner[holder] for holder in holders if holder in owner), 0)].append(name)
    return [
        Stage(group[0], tuple(group), tuple(names))
        for group, names in zip(groups, members, strict=True)
        if group and names
    ]


def chosen(found: Sequence[Stage], wanted: int | Sequence[str], what: str) -> list[Stage]:
    """The stages selected by their number, counted from the first, or by names; a name also selects all stages below it.

    Raises:
        ValueError: a number out of range, or an unknown name.
    """
    names = [stage.name for stage in found]
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        if not 0 <= wanted < len(found):
            raise ValueError(
                f"{what}: {wanted} of {len(found)} stages cannot be taken, possible are 0 to {len(found) - 1} of "
                f"{', '.join(names)}; for all of them there is frozen"
            )
        return list(found[:wanted])
    wanted = [wanted] if isinstance(wanted, str) else cast(Sequence[str], wanted)
    for name in wanted:
        if not any(_below(stage, name) for stage in found):
            raise ValueError(f"{what}: no stage {name!r}; possible: {', '.join(names)}")
    return [stage for stage in found if any(_below(stage, name) for name in wanted)]


def _below(stage: Stage, name: str) -> bool:
    return stage.name == name or stage.name.startswith(f"{name}.")


def grouped(module: nn.Module, opened_from: float = _NEARLY_ALL) -> list[list[str]]:
    """Names of the submodules of each stage, by the rule of ``stages``.

    Args:
        module: any module.
        opened_from: share of the parameters, 0 to 1, above which an ``nn.Sequential`` is opened into several stages.
    """
    nodes, listed = _children("", module), isinstance(module, nn.ModuleList)
    while len(nodes) == 1 and not listed and _children(*nodes[0]):
        listed = isinstance(nodes[0][1], nn.ModuleList)
        nodes = _children(*nodes[0])
    total = sum(parameter.numel() for parameter in module.parameters())
    # An entry of a ModuleList is a stage: two pathways inside it run in parallel.
    opened = nodes if listed else [inner for node in nodes for inner in _opened(*node, total, opened_from)]
    if not opened:
        return [[""]]
    groups: list[list[str]] = []
    for name, part in opened:
        if groups and not _computes(part):
            groups[-1].append(name)
        else:
            groups.append([name])
    # What comes before the first stage of all belongs to it.
    if len(groups) > 1 and not _computes(dict(opened)[groups[0][0]]):
        groups[:2] = [[*groups[1], *groups[0]]]
    return groups


def _opened(name: str, module: nn.Module, total: int, opened_from: float) -> list[tuple[str, nn.Module]]:
    inner = _children(name, module)
    if isinstance(module, nn.ModuleList):
        return inner
    if len(inner) == 1 and sum(p.numel() for p in module.parameters(recurse=False)) == 0:
        # A wrapper around a list of blocks.
        below = _opened(*inner[0], total, opened_from)
        return below if len(below) > 1 else [(name, module)]
    share = sum(parameter.numel() for parameter in module.parameters()) / total
    if isinstance(module, nn.Sequential) and share > opened_from:
        return [found for node in inner for found in (_children(*node) if type(node[1]) is nn.Sequential else [node])]
    return [(name, module)]


def _children(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    below = ((f"{name}.{child}" if name else child, part) for child, part in module.named_children())
    return [(path, part) for path, part in below if any(True for _ in part.parameters())]


def _computes(module: nn.Module) -> bool:
    return any(name.rpartition(".")[2] == "weight" and p.ndim >= 2 for name, p in module.named_parameters())
