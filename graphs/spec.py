"""Topologies by name, as recipes and command lines write them: ``clique+chain(reach=2)``."""

import re
from collections.abc import Iterable
from dataclasses import fields
from difflib import get_close_matches

from .grid import Chain, Clique
from .topology import NoEdges, Topology

RULES: dict[str, type[Topology]] = {"clique": Clique, "chain": Chain, "none": NoEdges}

_TERM = re.compile(r"(?P<name>[^()]*?)\s*(?:\((?P<options>[^()]*)\))?")


def parse(spec: str, reach: int = 1) -> Topology:
    """Reads a topology from its name; the inverse of ``str(topology)``.

    Args:
        spec: names of rules joined by ``+``, each with options in brackets where it has any: ``none``, ``clique``,
            ``chain``, ``clique+chain``, ``clique+chain(reach=2)``.
        reach: the reach in frames of every chain that does not state its own.

    Raises:
        ValueError: an unknown rule or option, or a value the rule refuses.
    """
    if not isinstance(spec, str):
        raise ValueError(f"topology is a text such as 'clique+chain', given {spec!r}")
    terms = [_rule(term.strip(), spec, reach) for term in spec.split("+")]
    return sum(terms, NoEdges())


def _rule(term: str, spec: str, reach: int) -> Topology:
    match = _TERM.fullmatch(term)
    if match is None or not match["name"]:
        raise ValueError(f"topology {spec!r}: {term!r} is not a rule such as 'clique' or 'chain(reach=2)'")
    if match["name"] not in RULES:
        raise _unknown("topology", match["name"], RULES, spec)
    rule = RULES[match["name"]]
    known = [field.name for field in fields(rule)]
    options = {"reach": reach} if "reach" in known else {}
    for option in (match["options"] or "").split(",") if (match["options"] or "").strip() else ():
        name, _, value = (part.strip() for part in option.partition("="))
        if not known:
            raise ValueError(f"topology {spec!r}: {match['name']} takes no options, given {option.strip()!r}")
        if name not in known:
            raise _unknown(f"option of {match['name']}", name, known, spec)
        if not re.fullmatch(r"-?\d+", value):
            raise ValueError(f"topology {spec!r}: {name} is an integer, given {value!r}")
        options[name] = int(value)
    return rule(**options)


def _unknown(kind: str, given: str, possible: Iterable[str], spec: str) -> ValueError:
    possible = list(possible)
    near = get_close_matches(given, possible, n=3, cutoff=0.5)
    where = "" if given == spec else f"topology {spec!r}: "
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    return ValueError(f"{where}unknown {kind} {given!r}{hint} Possible: {', '.join(possible) or 'none'}")
