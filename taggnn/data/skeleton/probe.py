"""What a check learns of files of skeletons: they are read as in training, whole and at every cut.

Each scanning process is ``python -m taggnn.data.skeleton.probe``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from taggnn.data.audit.facts import Cut, FileFacts, cut_key, member_of, opened, path_of, why
from taggnn.data.audit.inspection import Inspection
from taggnn.data.audit.scan import serve
from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats
from taggnn.data.skeleton.formats.recording import Recording

# Part of the main person's joints: where more are missing, the clip deserves a look.
MUCH = 0.2
# Of the readers, stored with the facts: facts of another one are read again.
READER = "skeleton formats 1"


@dataclass(frozen=True)
class SequenceFacts(FileFacts):
    """Properties of one skeleton sequence: ``FileFacts``, in frames, and those of its bodies.

    Args:
        format: name of its format, see ``formats.FORMATS``.
        persons: M.
        joints: V.
        dimensions: C.
        missing: part of the main person's joints that are missing, over all frames.
    """

    format: str = ""
    persons: int = 0
    joints: int = 0
    dimensions: int = 0
    missing: float = 0.0

    def numbers(self) -> dict[str, tuple[float, str]]:
        return {
            "frames of a file": (self.frames, "{:.0f}"),
            "persons": (self.persons, "{:.0f}"),
            "missing joints of the main person, %": (100 * self.missing, "{:.1f}"),
        }

    def values(self) -> dict[str, str]:
        return {
            "Persons": f"{self.persons}",
            "Joints": f"{self.joints} × {self.dimensions} coordinates",
            "Formats": self.format,
        }


def inspection(joints: int, dimensions: int) -> Inspection:
    """How a check examines the files of a source.

    Args:
        joints: V of the source's skeleton.
        dimensions: smallest C that it takes.
    """

    def unfit(facts: SequenceFacts) -> str:
        if facts.joints != joints:
            return f"{facts.joints} joints; the skeleton has {joints}"
        if facts.dimensions < dimensions:
            return f"{facts.dimensions} coordinates a joint; skeleton.dimensions is {dimensions}"
        return ""

    return Inspection(
        facts=SequenceFacts,
        module="taggnn.data.skeleton.probe",
        reader=lambda: READER,
        depths={"packets": "every file read whole, as in training"},
        same="Files count as the same when all their coordinates are equal; the same motion moved, scaled or cut otherwise is "
        "not recognised.",
        unfit=unfit,
    )


def probe(key: str, cuts: Sequence[Cut] = (), depth: str = "packets") -> SequenceFacts:
    """Reads a sequence, and every cut of it.

    Args:
        key: ``facts.file_key`` of the file.
        cuts: (start, stop, origin) of clips, in frames.
        depth: of no meaning here.
    """
    seen = opened(key, depth)
    if "kind" in seen:
        return SequenceFacts(**seen)
    clip = Clip(path_of(key), 0, key, member=member_of(key))
    counted: dict[str, list[float]] = {}
    bad: dict[str, str] = {}
    parts = []
    for start, stop, origin in cuts:
        try:
            part = formats.read_arrays(replace(clip, start=start, stop=stop))
        except (ValueError, OSError) as error:
            bad[cut_key(start, stop, origin)] = _reason(error)
        else:
            counted[cut_key(start, stop, origin)] = [part.coordinates.shape[1], 0.0]
            parts.append(part)
    try:
        whole = formats.read_arrays(clip)
    except (ValueError, OSError) as error:
        if not parts:
            return SequenceFacts("unreadable", _reason(error), **seen)
        # Clips that do not reach the damage can be used; of the file only their part is known.
        stops = [stop for _, stop, _ in cuts if stop is not None]
        last = int(max(stops, default=0))
        known = replace(_facts(parts[0], clip.path), **seen, frames=last, seconds=float(last), damage=_reason(error))
        return replace(known, cuts=counted, bad_cuts=bad)
    return replace(_facts(whole, clip.path), **seen, cuts=counted, bad_cuts=bad)


def _facts(read: Recording, path: str) -> SequenceFacts:
    x = read.coordinates
    persons, frames, joints, dimensions = x.shape
    missing = float(np.isnan(x[0]).any(-1).mean())
    remark = f"{missing:.0%} of the main person's joints are missing" if missing > MUCH else ""
    return SequenceFacts(
        frames=frames,
        seconds=float(frames),
        fingerprint=sha256(repr(tuple(x.shape)).encode() + x.tobytes()).hexdigest(),
        remark=remark,
        format=formats.format_of(path),
        persons=persons,
        joints=joints,
        dimensions=dimensions,
        missing=missing,
    )


def _reason(error: ValueError | OSError) -> str:
    if isinstance(error, formats.FormatError):
        return error.reason
    return why(error) if isinstance(error, OSError) else str(error)


if __name__ == "__main__":
    serve(probe)
