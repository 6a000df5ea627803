"""Which code a file may name: that of taggnn and PyG; other code only with ``trust=True``.

A checkpoint holds no code, but dotted paths: building its model imports and runs what they name.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from graphs import Topology
from taggnn import names

TRUSTED = ("taggnn", "graphs", "torch_geometric")
# part of an architecture -> the class that a dotted path in it must name; other parts may name any
_KINDS = {"backbone": nn.Module, "head": nn.Module, "conv": nn.Module, "readout": nn.Module, "topology": Topology}
# A topology may be a sum: "clique+mine.rules.Bones(joints=17)".
_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


def check(architecture: Mapping[str, Any], source: str, trust: bool = False) -> None:
    """Refuses an architecture that names code outside of taggnn and PyG, before any of it is imported.

    Args:
        architecture: of the file, see ``taggnn.model.build``.
        source: the file, for the message.
        trust: accept everything.

    Raises:
        ValueError: a dotted path outside of these packages, or in them to something other than one of their classes.
    """
    for part, path in () if trust else _paths(architecture):
        if path.partition(".")[0] not in TRUSTED:
            raise ValueError(
                f"{source}: its {part} is {path}, code that is not part of taggnn or torch_geometric; if you trust this file, "
                "load it with trust=True, or --trust on the command line"
            )
        found = names.imported(path, part)
        if not _is_class_of_theirs(found, _KINDS.get(part, object)):
            raise ValueError(f"{source}: its {part} is {path}, which is not a class of a {part}")


def _paths(architecture: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(part, dotted path) of everything that building the architecture imports."""
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
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _strings(inner, str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner, key)


def _is_class_of_theirs(found: object, kind: type) -> bool:
    # By its module: other modules can be reached through the imports of these packages as well.
    return isinstance(found, type) and issubclass(found, kind) and found.__module__.partition(".")[0] in TRUSTED
