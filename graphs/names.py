"""The error for an unknown name."""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(kind: str, given: str, possible: Iterable[str], spec: str = "") -> ValueError:
    """Builds the error.

    Args:
        kind: what the name stands for, in the singular.
        given: the name.
        possible: the names that would have been accepted.
        spec: the text with the name, where it is part of one.
    """
    possible = list(possible)
    near = get_close_matches(given, possible, n=3, cutoff=0.5)
    where = f"topology {spec!r}: " if spec not in ("", given) else ""
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    return ValueError(f"{where}unknown {kind} {given!r}{hint} Possible: {', '.join(possible) or 'none'}")
