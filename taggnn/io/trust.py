"""What a file may name: code of taggnn and PyG, and code of the user's own only where its user says so.

A checkpoint holds no code, but names it: building a model imports and runs what stands under its dotted paths.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from graphs import Topology
from taggnn import names

TRUSTED = ("taggnn", "graphs", "torch_geometric")
# part of an architecture -> what a dotted path in it must lead to; anything in the others
_KINDS = {"backbone": nn.Module, "head": nn.Module, "conv": nn.Module, "readout": nn.Module, "topology": Topology}
# A topology may join several: "clique+mine.rules.Bones(joints=17)".
_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


def check(architecture: Mapping[str, Any], source: str, trust: bool = False) -> None:
    """Refuses an architecture that names code from outside of taggnn and PyG, before any of it is imported.

    Args:
        architecture: as a file holds it, see ``taggnn.model.build``.
        source: the file, for the message.
        trust: whether its user trusts it: everything is accepted then.

    Raises:
        ValueError: a dotted path that leads elsewhere, or inside those packages to something else than a class of theirs.
    """
    for part, path in () if trust else _paths(architecture):
        if path.partition(".")[0] not in TRUSTED:
            raise ValueError(
                f"{source}: its {part} is {path}, code that is not part of taggnn or torch_geometric; if you trust this file, "
                "load it with trust=True, or --trust on the command line"
            )
        found = names.imported(path, part)
        if not _is_class_of_theirs(found, _KINDS.get(part, object)):
            raise ValueError(f"{source}: its {part} is {path}, which is no class that a {part} can be made of")


def _paths(architecture: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(part, dotted path) of all that is imported where the architecture is built."""
    named = {
        "backbone": _inner(architecture, "backbone").get("name"),
        "input": _inner(architecture, "input").get("kind"),
    }
    head = _inner(architecture, "head")
    named["head"] = head.get("name")
    options = [(key, value) for key, value in _strings(head) if key != "name"]
    for part, value in [*named.items(), *options]:
        if part == "topology":
            yield from ((part, path) for path in _PATH.findall(str(value)))
        elif isinstance(value, str) and names.is_path(value):
            yield part, value


def _inner(architecture: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    found = architecture.get(part)
    return found if isinstance(found, Mapping) else {}


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """All texts of nested options, each with the nearest key above it."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _strings(inner, str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner, key)


def _is_class_of_theirs(found: object, kind: type) -> bool:
    # By where it was defined: a module that these packages import can be reached through them as well.
    return isinstance(found, type) and issubclass(found, kind) and found.__module__.partition(".")[0] in TRUSTED
