"""What a scan learns of one file, of whatever kind, and the file that stores it, so that no file is scanned twice."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from taggnn.data.clips import Clip
from taggnn.data.image_folders import state_of
from taggnn.runtime.atomic import write_text

DEPTHS = ("packets", "decode")
# Of the stored results; a file of another format is not read.
FORMAT = 4
# (start, stop, origin) of a clip, see clips.Clip.
Cut = tuple[float | None, float | None, float | None]
# Between the path of a file and the name of a clip in it; no path has it.
_WITHIN = "\0"


@dataclass(frozen=True)
class FileFacts:
    """Properties of one file, or of one clip of a file that holds many; kinds of files add their own.

    Times are in the unit of cuts: seconds or, of sequences without any, frames.

    Args:
        kind: "" for a file that opens, else "missing", "unreadable" or "zero-frame".
        trouble: why it cannot be used; empty for a file that opens.
        size: bytes.
        changed: modification time in nanoseconds.
        depth: how far it was read, one of ``DEPTHS``.
        frames: number of frames.
        seconds: from the first frame to the end of the last one.
        fingerprint: equal for equal content.
        damage: what is wrong with a file that opens; empty for an undamaged one.
        sound_until: no frame before this time is missing; infinite for an undamaged file.
        corrupt: times of frames that are marked as corrupt, the first 100.
        cuts: ``cut_key`` -> number of frames in the cut, and the time of the original at which the file begins (0 without
            one).
        bad_cuts: ``cut_key`` -> why that part of the file cannot be used.
        remark: what deserves a look in a file that can be used; empty for nothing.
    """

    # What a file is, in messages.
    noun: ClassVar[str] = "sequence"

    kind: str = ""
    trouble: str = ""
    size: int = 0
    changed: int = 0
    depth: str = "packets"
    frames: int = 0
    seconds: float = 0.0
    fingerprint: str = ""
    damage: str = ""
    sound_until: float = math.inf
    corrupt: Sequence[float] = ()
    cuts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    bad_cuts: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""

    def numbers(self) -> dict[str, tuple[float, str]]:
        """Title -> (value, format), whose spread over all files is shown."""
        return {}

    def values(self) -> dict[str, str]:
        """Title -> value, of which the most frequent are shown."""
        return {}

    def cut(self, start: float, stop: float) -> str:
        """A cut in words, for messages."""
        return f"the cut from frame {start:g} to {stop:g}; the file has {self.frames} frames"

    def length(self, time: float) -> str:
        """A length of time in words."""
        return f"{time:g} frames"


Facts = TypeVar("Facts", bound=FileFacts)


def cut_key(start: float | None, stop: float | None, origin: float | None) -> str:
    """The key of a cut [start, stop), in the file or in its original, in ``FileFacts.cuts``."""
    return "-".join("" if time is None else repr(float(time)) for time in (start, stop, origin))


def file_key(clip: Clip) -> str:
    """What is scanned for a clip: its file or, where that holds many, the clip in it."""
    return clip.path if clip.member is None else f"{clip.path}{_WITHIN}{clip.member}"


def path_of(key: str) -> str:
    """The file of a ``file_key``."""
    return key.split(_WITHIN)[0]


def member_of(key: str) -> str | None:
    """The name of the clip inside the file of a ``file_key``; None for a file of its own."""
    return key.split(_WITHIN, 1)[1] if _WITHIN in key else None


def absolute(key: str) -> str:
    """The key in every working folder."""
    return _WITHIN.join([os.path.abspath(path_of(key)), *key.split(_WITHIN)[1:]])


def read_scan(path: Path, reader: str, kind: type[Facts]) -> dict[str, Facts]:
    """The stored results of an earlier scan: key -> facts; empty where there are none, or of another reader.

    Args:
        path: as written by ``write_scan``.
        reader: name and version of what read the files.
        kind: class of the facts.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["form"] != FORMAT or stored["decoder"] != reader:
            return {}
        return {name: kind(**facts) for name, facts in stored["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_scan(path: Path, known: Mapping[str, FileFacts], reader: str) -> None:
    """Stores the results of a scan, all or nothing.

    Files that could not be used are left out: the cause may be temporary, such as a disk that was not mounted.

    Raises:
        OSError: as ``atomic.replacing``.
    """
    files = {name: vars(facts) for name, facts in known.items() if not facts.kind}
    write_text(path, json.dumps({"form": FORMAT, "decoder": reader, "files": files}))


def is_current(facts: FileFacts, key: str, cuts: Sequence[Cut], depth: str) -> bool:
    """Whether a stored result is valid for the present file: same size and time, all cuts, sufficient depth."""
    try:
        state = state_of(path_of(key))
    except OSError:
        return False
    return (
        (facts.size, facts.changed) == state
        and DEPTHS.index(facts.depth) >= DEPTHS.index(depth)
        and all(cut_key(*cut) in facts.cuts or cut_key(*cut) in facts.bad_cuts for cut in cuts)
    )


def opened(key: str, depth: str) -> dict[str, Any]:
    """The facts of a file that exist before it is read: size, modification time; or why it cannot be opened, as a kind."""
    try:
        size, changed = state_of(path_of(key))
    except OSError as error:
        return {
            "kind": "missing" if isinstance(error, FileNotFoundError) else "unreadable",
            "trouble": why(error),
            "depth": depth,
        }
    return {"size": size, "changed": changed, "depth": depth}


def why(error: OSError) -> str:
    """Why a file cannot be opened."""
    return f"cannot be opened ({error.strerror or error})"
