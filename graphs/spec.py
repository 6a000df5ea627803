"""Topologies by name, as recipes and command lines write them: ``clique+chain(reach=2)``, ``bones(skeleton=coco)+chain``."""

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from .bones import Bones
from .clique_chain import Chain, Clique
from .names import unknown
from .only import Only
from .rewired import Rewired
from .topology import NoEdges, Topology
from .tracklet import Tracklets

RULES: dict[str, type[Topology]] = {
    "clique": Clique,
    "chain": Chain,
    "bones": Bones,
    "tracklets": Tracklets,
    "only": Only,
    "rewired": Rewired,
    "none": NoEdges,
}

_TERM = re.compile(r"(?P<name>[^()]*?)\s*(?:\((?P<options>.*)\))?", re.DOTALL)


def parse(spec: str, reach: int = 1) -> Topology:
    """Reads a topology from its name; the inverse of ``str(topology)``.

    Args:
        spec: names of rules joined by ``+``, each with options in brackets where it has any: ``none``, ``clique``, ``chain``,
            ``clique+chain(reach=2)``, ``bones(skeleton=coco)+chain``. A rule of your own is named by the dotted path of its
            class, and its options are Python literals: ``clique+mine.rules.Limbs(joints=17)``.
        reach: the reach in frames of every chain that does not state its own.

    Raises:
        ValueError: an unknown rule or option, a value the rule refuses, or a dotted path that leads to no topology.
    """
    if not isinstance(spec, str):
        raise ValueError(f"topology is a text such as 'clique+chain', given {spec!r}")
    terms = [_rule(term.strip(), spec, reach) for term in _split(spec, "+")]
    return sum(terms, NoEdges())


def _rule(term: str, spec: str, reach: int) -> Topology:
    match = _TERM.fullmatch(term)
    if match is None or not match["name"]:
        raise ValueError(f"topology {spec!r}: {term!r} is not a rule such as 'clique' or 'chain(reach=2)'")
    name, named = match["name"], RULES.get(match["name"])
    rule = named or _imported(name, spec)
    known = [field.name for field in fields(rule) if field.init]
    options: dict[str, Any] = {"reach": reach} if named and "reach" in known else {}
    for option in _split(match["options"], ",") if (match["options"] or "").strip() else ():
        key, _, value = (part.strip() for part in option.partition("="))
        if not known:
            raise ValueError(f"topology {spec!r}: {name} takes no options, given {option.strip()!r}")
        if key not in known:
            raise unknown(f"option of {name}", key, known, spec)
        options[key] = _value(rule, key, value, spec, reach) if named else _literal(key, value, spec)
    try:
        return rule(**options)
    except TypeError as error:
        raise ValueError(f"topology {spec!r}: {error}; options of {name}: {', '.join(known) or 'none'}") from error


def _imported(path: str, spec: str) -> type[Topology]:
    """The rule that a dotted path names; its last parts may be a class inside a class."""
    parts = path.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise unknown("topology", path, [*RULES, "the dotted path of a Topology"], spec)
    for count in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:count])
        try:
            found: Any = importlib.import_module(module)
            break
        except ModuleNotFoundError as error:
            # An ImportError inside an existing module is reported as such.
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise ValueError(f"topology {spec!r}: cannot import {module!r}: {error}") from error
        except (Exception, SystemExit) as error:
            raise ValueError(f"topology {spec!r}: cannot import {module!r}: {type(error).__name__}: {error}") from error
    else:
        raise ValueError(f"topology {spec!r}: cannot import {path!r}: No module named {parts[0]!r}")
    for number, name in enumerate(parts[count:], count):
        if not hasattr(found, name):
            rules = [key for key, value in vars(found).items() if _is_rule(value)]
            raise unknown(f"topology in {'.'.join(parts[:number])}", name, rules, spec)
        found = getattr(found, name)
    if not _is_rule(found):
        raise ValueError(f"topology {spec!r}: {path} is no class of graphs.Topology but {found!r}")
    return found


def _is_rule(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Topology)


def _split(text: str, at: str) -> Iterator[str]:
    """Splits a text at a separator outside brackets and quotes."""
    start, depth, quote = 0, 0, ""
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == at and depth == 0:
            yield text[start:index]
            start = index + 1
        else:
            depth += (character in "([{") - (character in ")]}")
    yield text[start:]


def _value(rule: type[Topology], key: str, value: str, spec: str, reach: int) -> int | str | Topology:
    """An option of a rule of ours: a whole number, a topology, or a name with or without quotes."""
    kind = next(field.type for field in fields(rule) if field.name == key)
    if kind is Topology:
        return parse(value, reach)
    return value.strip("'\"") if kind in (str, "str") else _integer(key, value, spec)


def _integer(key: str, value: str, spec: str) -> int:
    if not re.fullmatch(r"-?\d+", value):
        raise ValueError(f"topology {spec!r}: {key} is an integer, given {value!r}")
    return int(value)


def _literal(key: str, value: str, spec: str) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(
            f"topology {spec!r}: {key} is a Python literal such as 2, 0.5, True, 'text' or (1, 2), given {value!r}"
        ) from error
