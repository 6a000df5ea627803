"""How every part of taggnn refuses a name it does not know: what was given, what is near, what is possible."""

from collections.abc import Iterable
from difflib import get_close_matches

# Possible names that a message lists before it only counts them.
LISTED = 20


def unknown(kind: str, given: str, possible: Iterable[str], where: str = "") -> ValueError:
    """Builds the error for an unknown name, so that all of them read alike.

    Args:
        kind: what the name names, in the singular ("convolution", "head", "backbone").
        given: the name as the user wrote it.
        possible: every name that would have been accepted; the message lists the first 20.
        where: the file, row or key that held the name; left out when empty.

    Returns:
        A ``ValueError`` for the caller to raise.
    """
    possible = list(possible)
    near = get_close_matches(str(given), possible, n=3, cutoff=0.5)
    message = f"{where}: " if where else ""
    message += f"unknown {kind} {given!r}"
    if near:
        message += "; did you mean " + " or ".join(repr(name) for name in near) + "?"
    else:
        message += "."
    more = f" ... and {len(possible) - LISTED} more" if len(possible) > LISTED else ""
    return ValueError(message + f" Possible: {', '.join(possible[:LISTED]) or 'none'}{more}")
