"""A fingerprint of a clip list, so that a resumed run can check that its list is unchanged."""

from collections import Counter
from hashlib import sha256

from taggnn.data.clips import ClipList

# Hexadecimal digits of each clip: the chance of missing a change is one in 4 billion.
_DIGITS = 8


def fingerprint(clips: ClipList) -> str:
    """The hashes of all clips, concatenated; each depends on the clip's name, label, cut and name inside its file."""
    rows = (
        (clip.name, clip.label, clip.start, clip.stop, clip.origin, *((clip.member,) if clip.member else ()))
        for clip in clips.clips
    )
    return "".join(sha256(repr(row).encode()).hexdigest()[:_DIGITS] for row in rows)


def describe_changes(old: str, new: str) -> str | None:
    """How two lists differ, by their fingerprints: how many clips were added and removed; None where they are equal.

    A clip with another label or cut counts as removed and added.
    """
    if old == new:
        return None
    before, after = (Counter(text[at : at + _DIGITS] for at in range(0, len(text), _DIGITS)) for text in (old, new))
    added, removed = (after - before).total(), (before - after).total()
    return f"{added} added and {removed} removed" if added or removed else "the order differs"
