"""Which code a file may name: the classes of taggnn and PyG that belong there; other code only with ``trust=True``.

Checkpoints, exported models, configurations and indices of tokens hold no code, but dotted paths: building what they describe
imports and runs what these name.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from torch import nn

from graphs import Topology
from taggnn import names

# True: everything; or the dotted paths that are allowed in addition to those of taggnn and PyG.
Trust = bool | Collection[str]

# part -> module and class that a dotted path in it may name; other parts may name nothing.
_ALLOWED: dict[str, list[tuple[str, type]]] = {
    "backbone": [("taggnn.backbones", nn.Module)],
    "head": [("taggnn.heads", nn.Module)],
    "conv": [("taggnn.nn", nn.Module), ("torch_geometric.nn", nn.Module)],
    "readout": [("taggnn.nn", nn.Module)],
    "topology": [("graphs", Topology)],
    "plug": [("taggnn.backbones.plugs", nn.Module)],
    "input": [("taggnn.data", object)],
}
# A topology may be a sum: "clique+mine.rules.Bones(joints=17)".
_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
# Keys of a configuration whose values are never imported; a file's own options of a backbone or source are for a name that is.
_PLAIN_KEYS = re.compile(
    r"recipe|runs?|devices?|loggers|monitor|backbone\.(weights|options|plug_options|freeze_stages)|art\.bank|video\.frame_cache|optim\.losses"
    r"|data\.(root|\w+_list|\w+_folder|classes|dataset|version|annotations|flip_pairs|source_options|tokens)"
)
_PARTS = {"backbone.name": "backbone", "compare": "head", "data.source": "input", "optim.loss": "loss"}


def check(architecture: Mapping[str, Any], source: str, trust: Trust = False) -> None:
    """Refuses an architecture that names code outside of taggnn and PyG, before any of it is imported.

    Args:
        architecture: of the file, see ``taggnn.model.build``.
        source: the file, for the message.
        trust: accept everything, or these dotted paths.

    Raises:
        ValueError: a dotted path outside of these packages, or in them to something other than a class for its part.
    """
    _check(_paths(architecture), source, trust)


def check_settings(settings: Mapping[str, Any], source: str, trust: Trust = False) -> None:
    """Refuses a configuration in a file likewise.

    Args:
        settings: key of the command line -> value, as the file has it.
        source: the file, for the message.
        trust: as for ``check``.

    Raises:
        ValueError: as ``check``.
    """
    _check(_paths_of_settings(settings), source, trust)


def named(architecture: Mapping[str, Any]) -> frozenset[str]:
    """The dotted paths in an architecture, for ``check`` of another file that may name the same."""
    return frozenset(path for _, path in _paths(architecture))


def named_in_settings(settings: Mapping[str, Any]) -> frozenset[str]:
    """The dotted paths in a configuration, as for ``check_settings``."""
    return frozenset(path for _, path in _paths_of_settings(settings))


def _check(found: Iterable[tuple[str, str]], source: str, trust: Trust) -> None:
    for part, path in () if trust is True else found:
        if not isinstance(trust, bool) and path in trust:
            continue
        allowed = _ALLOWED.get(part, [])
        if not any(path.startswith(f"{module}.") for module, _ in allowed):
            raise ValueError(
                f"{source}: its {part} is {path}, code that is not part of taggnn or torch_geometric, or of an unexpected kind; "
                "loading runs it: if you trust this file, use trust=True, or --trust on the command line"
            )
        kind = names.imported(path, part)
        if not any(_is_class_of(kind, module, base) for module, base in allowed):
            raise ValueError(f"{source}: its {part} is {path}, which is not a class of a {part}")


def _paths(architecture: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(part, dotted path) of everything that building the architecture imports."""
    head = _inner(architecture, "head")
    yield from _paths_in("backbone", _inner(architecture, "backbone").get("name"))
    yield from _paths_in("plug", _inner(architecture, "backbone").get("plug"))
    yield from _paths_in("input", _inner(architecture, "input").get("kind"))
    yield from _paths_in("head", head.get("name"))
    yield from _paths_in("", {key: value for key, value in head.items() if key != "name"})


def _paths_of_settings(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if not _PLAIN_KEYS.fullmatch(key):
            yield from _paths_in(_PARTS.get(key, key.rpartition(".")[2]), value)


def _paths_in(part: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and part == "topology":
        yield from ((part, path) for path in _PATH.findall(value))
    elif isinstance(value, str) and names.is_path(value):
        yield part, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            # A text bank is a file and its prompts, never imported.
            if name != "bank":
                yield from _paths_in(str(name), inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _paths_in(part, inner)


def _inner(architecture: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    found = architecture.get(part)
    return found if isinstance(found, Mapping) else {}


def _is_class_of(found: object, module: str, base: type) -> bool:
    # By its own module: others can be reached through the imports of these packages as well.
    if (
        not isinstance(found, type)
        or not issubclass(found, base)
        or not f"{found.__module__}.".startswith(f"{module}.")
    ):
        return False
    # Other modules of PyG compile or load what their arguments say.
    return not module.startswith("torch_geometric") or any(
        f"{one.__module__}.{one.__name__}" == "torch_geometric.nn.conv.message_passing.MessagePassing"
        for one in found.__mro__
    )
