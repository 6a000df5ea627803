"""A short mark of every clip of a list, so that a run that goes on can tell whether it is still the same list."""

from collections import Counter
from hashlib import sha256

from taggnn.data.clips import ClipList

# Hexadecimal digits of a clip: a changed one is missed once in four thousand million times.
_DIGITS = 8


def fingerprint(clips: ClipList) -> str:
    """The marks of all clips, one behind the other: each follows from the clip's name, label and cut."""
    rows = ((clip.name, clip.label, clip.start, clip.stop, clip.origin) for clip in clips.clips)
    return "".join(sha256(repr(row).encode()).hexdigest()[:_DIGITS] for row in rows)


def describe_changes(then: str, now: str) -> str | None:
    """How two lists differ, by their marks: how many clips came and went; None where they are the same.

    A clip with another label or cut has gone and come.
    """
    if then == now:
        return None
    before, after = (Counter(text[at : at + _DIGITS] for at in range(0, len(text), _DIGITS)) for text in (then, now))
    came, went = (after - before).total(), (before - after).total()
    return f"{came} came and {went} went" if came or went else "they stand in another order"
