"""What is wrong with labelled clips, from the lists and the facts of a scan: findings, what is kept, and how much of each class.

A clip that training could not use, or should not, is left out of the cleaned lists; one that only deserves a look is kept.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from taggnn.data.audit.probe import Cut, VideoInfo, cut_key
from taggnn.data.clips import Clip, ClipList
from taggnn.data.lists.leakage import overlap
from taggnn.data.problems import Problem
from taggnn.data.video.timeline import at_or_after

# Seconds that a cut may reach beyond its video: lists round, and a frame lasts about 0.04.
SLACK = 0.1
# Two cuts of which so large a part is shared are the same clip, whatever a list rounded.
SAME = 0.9
# Of two splits that share a clip the one with the higher rank keeps it, so that what is measured stays the same.
RANK = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Args:
        title: heading.
        meaning: what it is, and what became of the clips.
        left_out: whether its clips are left out of the cleaned lists.
        wrong: whether it counts as a problem; else it is a remark.
    """

    title: str
    meaning: str
    left_out: bool = True
    wrong: bool = True


# In the order of a reader's interest.
KINDS = {
    "two splits": Kind(
        "The same clip in two splits",
        "A model is measured on what it was trained on, and scores too well. Test keeps its clip before val, and val before "
        "train; the other split loses it.",
    ),
    "mislabelled": Kind(
        "Labels that contradict each other",
        "The same video under different labels, a class folder or a name that says something else than the label. Which of "
        "them is right only a person can tell: all are left out.",
    ),
    "missing": Kind("Missing files", "Listed, and no such file lies in the root."),
    "unreadable": Kind("Unreadable files", "They cannot be decoded as far as the clip needs; each with its reason."),
    "zero-frame": Kind("Videos without a picture", "Their headers can be read, and no picture follows."),
    "cut outside": Kind("Cuts outside the video", "No picture lies between start and stop."),
    "malformed": Kind("Rows that cannot be understood", "A column is empty, or says something that is not possible."),
    "repeated": Kind("Rows listed twice", "The first one stays."),
    "duplicate": Kind(
        "The same video more than once",
        "Equal coded pictures under several names, whatever the file names, titles and containers. The first one stays.",
    ),
    "cut beyond": Kind(
        "Cuts that reach beyond the video",
        "Kept: training uses the part that is there. Such a list was often made for another copy of the video.",
        left_out=False,
    ),
    "damaged": Kind(
        "Damaged files whose clips end before the damage", "Kept: nothing of the clip is missing.", left_out=False
    ),
    "short": Kind(
        "Shorter than the model's input",
        "Kept: frames are repeated until there are enough, so the model sees less than it could.",
        left_out=False,
        wrong=False,
    ),
    "one frame": Kind(
        "Clips of a single picture", "Kept: they hold no motion at all.", left_out=False, wrong=False
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """Something about one clip or one row.

    Args:
        kind: a key of ``KINDS``.
        split: "train", "val", "test", or empty where that is not known.
        source: the list file or folder.
        line: where in it; 0 where that is not known.
        name: the clip, as predictions and reports call it, or the row as it was written.
        label: name of its class; empty where that is not known.
        said: what is wrong.
    """

    kind: str
    split: str
    source: str
    line: int
    name: str
    label: str
    said: str


@dataclass(frozen=True)
class Coverage:
    """How many clips of one class and split are left at each step.

    Args:
        label: class number.
        name: class name.
        split: "train", "val" or "test".
        listed: rows that name a clip.
        found: of these, files that exist.
        readable: of these, clips that training can read.
        kept: of these, clips in the cleaned list.
    """

    label: int
    name: str
    split: str
    listed: int
    found: int
    readable: int
    kept: int


@dataclass(frozen=True)
class Audit:
    """The result of a check.

    Args:
        findings: in the order of ``KINDS``, then of the lists.
        kept: split -> its cleaned list.
        coverage: a row for each split and class.
        frames: pictures in each kept clip: split -> list in the order of ``kept``.
    """

    findings: tuple[Finding, ...]
    kept: Mapping[str, ClipList]
    coverage: tuple[Coverage, ...]
    frames: Mapping[str, Sequence[int]]

    @property
    def wrong(self) -> int:
        """Number of findings that are problems, not remarks."""
        return sum(KINDS[finding.kind].wrong for finding in self.findings)


def cuts_of(clips: Iterable[Clip]) -> dict[str, list[Cut]]:
    """What is to be scanned: file -> the cuts that the clips make in it, each once."""
    files: dict[str, dict[Cut, None]] = {}
    for clip in clips:
        cuts = files.setdefault(clip.path, {})
        if (clip.start, clip.stop) != (None, None):
            cuts[clip.start, clip.stop, clip.origin] = None
    return {path: list(cuts) for path, cuts in files.items()}


def audit(
    splits: Mapping[str, ClipList], facts: Mapping[str, VideoInfo], problems: Sequence[Problem], frames: int
) -> Audit:
    """Judges every clip.

    Args:
        splits: the lists that differ: a val list that serves as test too is given once.
        facts: every file of the clips, as scanned for ``cuts_of``.
        problems: what was wrong with rows as they were read.
        frames: T, frames of a clip that the model sees.
    """
    found = _of_rows(problems, splits)
    entries = [_Entry.of(split, clips, clip, facts[clip.path]) for split, clips in splits.items() for clip in clips]
    contradicted = {
        (problem.source, problem.against or problem.name) for problem in problems if problem.kind == "mislabelled"
    }
    # An entry's findings, most of them none.
    said: dict[int, list[tuple[str, str]]] = defaultdict(list)
    readable = []
    for number, entry in enumerate(entries):
        # Of two rows that contradict each other only the second is a problem to the reader.
        if (entry.source, entry.clip.name) in contradicted:
            said[number].append(("mislabelled", f"labelled {entry.label} here, and otherwise in another row"))
        troubles = entry.troubles(frames)
        said[number] += troubles
        if not any(KINDS[kind].left_out for kind, _ in troubles):
            readable.append(number)
    groups: dict[tuple, list[int]] = defaultdict(list)
    for number in readable:
        groups[entries[number].facts.fingerprint, entries[number].facts.frames].append(number)
    for group in groups.values():
        if len(group) > 1:
            _compare(group, entries, said)
    for number, text in _by_folder(entries):
        said[number].append(("mislabelled", text))
    for number, entry in enumerate(entries):
        for kind, text in dict(reversed(said[number])).items():
            found.append(Finding(kind, entry.split, entry.source, 0, entry.clip.name, entry.label, text))

    out = {number for number, each in said.items() if any(KINDS[kind].left_out for kind, _ in each)}
    stays = {
        split: [number for number, entry in enumerate(entries) if entry.split == split and number not in out]
        for split in splits
    }
    kept = {
        split: replace(clips, clips=tuple(entries[number].clip for number in stays[split]), **_NO_MISSING)
        for split, clips in splits.items()
    }
    order = list(KINDS)
    return Audit(
        tuple(sorted(found, key=lambda finding: order.index(finding.kind))),
        kept,
        tuple(_coverage(splits, entries, set(readable), kept)),
        {split: [entries[number].frames for number in numbers] for split, numbers in stays.items()},
    )


_NO_MISSING = {"missing": (), "missing_labels": ()}


@dataclass(frozen=True)
class _Entry:
    """A clip with all that is known of it; start and stop in seconds of its file, which begins at ``begin`` of its original."""

    split: str
    source: str
    label: str
    clip: Clip
    facts: VideoInfo
    start: float
    stop: float
    frames: int
    begin: float

    @classmethod
    def of(cls, split: str, clips: ClipList, clip: Clip, facts: VideoInfo) -> "_Entry":
        # A file that cannot be used has no counts.
        counted = facts.cuts.get(cut_key(clip.start, clip.stop, clip.origin), (0, clip.origin or 0.0))
        frames, begin = (facts.frames, 0.0) if (clip.start, clip.stop) == (None, None) else counted
        first = 0.0 if clip.start is None else clip.start - begin
        last = facts.seconds if clip.stop is None else clip.stop - begin
        return cls(split, clips.source, clips.classes[clip.label], clip, facts, first, last, frames, begin)

    def troubles(self, frames: int) -> list[tuple[str, str]]:
        """Kind and sentence of all that is wrong with this clip by itself."""
        facts = self.facts
        if facts.kind:
            return [(facts.kind, facts.trouble)]
        # As video.read_frames has it: a cut that ends before the damage can be used.
        if facts.damage and (self.clip.stop is None or self.clip.stop > self.begin + facts.sound_until):
            return [("unreadable", facts.damage)]
        bad = next((second for second in facts.corrupt if self._holds(second)), None)
        if bad is not None:
            return [("unreadable", f"damaged: the picture at {bad:.2f} s is corrupt")]
        cut = f"the cut from {self.start:g} to {self.stop:g} s of the file; the video lasts {facts.seconds:.2f} s"
        if self.frames == 0:
            return [("cut outside", f"no picture in {cut}")]
        found = []
        if self.start < -SLACK or self.stop > facts.seconds + SLACK:
            found.append(("cut beyond", cut))
        if facts.damage or facts.corrupt:
            found.append(("damaged", facts.damage or f"the picture at {facts.corrupt[0]:.2f} s is corrupt"))
        if self.frames == 1:
            found.append(("one frame", "1 frame"))
        elif self.frames < frames:
            found.append(("short", f"{self.frames} frames; the model sees {frames}"))
        return found

    def _holds(self, second: float) -> bool:
        return at_or_after(second, self.start) and not at_or_after(second, self.stop)

    def shown(self) -> str:
        return f"{self.clip.name} ({self.split}, {self.label})"


def _compare(group: Sequence[int], entries: Sequence[_Entry], said: dict[int, list[tuple[str, str]]]) -> None:
    """Finds duplicates, contradictions and leaks among clips of one video; linear where all are alike."""
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number in group:
        alike[round(100 * entries[number].start), round(100 * entries[number].stop)].append(number)
    for same in alike.values():
        first: dict[tuple[str, str], int] = {}
        for number in same:
            entry = entries[number]
            original = first.setdefault((entry.split, entry.label), number)
            if original != number:
                said[number].append(("duplicate", f"the same video as {entries[original].clip.name}"))
        if len(first) > 1:
            _across(same, list(first.values()), entries, said, "the same video as", one=True)
    active: list[list[int]] = []
    for here in sorted(alike.values(), key=lambda same: entries[same[0]].start):
        start, stop = entries[here[0]].start, entries[here[0]].stop
        active = [other for other in active if entries[other[0]].stop > start]
        for other in active:
            begun, ended = entries[other[0]].start, entries[other[0]].stop
            shared = overlap((start, stop), (begun, ended))
            if shared:
                one = shared >= SAME * (max(stop, ended) - begun)
                text = f"shares {shared:.2f} s of its video with"
                for mine, theirs in ((here, other), (other, here)):
                    kinds = {(entries[number].split, entries[number].label): number for number in reversed(theirs)}
                    _across(mine, list(kinds.values()), entries, said, text, one)
        active.append(here)


def _across(
    mine: Sequence[int],
    theirs: Sequence[int],
    entries: Sequence[_Entry],
    said: dict[int, list[tuple[str, str]]],
    text: str,
    one: bool,
) -> None:
    """Notes leaks of my clips into splits of theirs, and, where both are one clip, other labels."""
    best = max(theirs, key=lambda number: RANK[entries[number].split])
    for number in mine:
        entry = entries[number]
        if RANK[entries[best].split] > RANK[entry.split]:
            said[number].append(("two splits", f"{text} {entries[best].shown()}"))
        other = next((other for other in theirs if entries[other].label != entry.label), None)
        if one and other is not None:
            said[number].append(("mislabelled", f"{text} {entries[other].shown()}"))


def _by_folder(entries: Sequence[_Entry]) -> list[tuple[int, str]]:
    """Clips whose folder is named, or filled, as another class than their label says."""
    folders = [Path(entry.clip.path).parent.name for entry in entries]
    classes = {entry.label for entry in entries}
    # A class that has but its number is no name: folders 0, 1, 2 may be disks.
    names = {entry.label for entry in entries if entry.label != str(entry.clip.label)}
    if not names.isdisjoint(folders):
        return [
            (number, f"its folder is {folder}, its label {entry.label}")
            for number, (folder, entry) in enumerate(zip(folders, entries, strict=True))
            if folder in names and folder != entry.label
        ]
    # Labels without names: folders are classes where there are as many, each nearly all of one label of its own.
    tally: dict[str, Counter[str]] = defaultdict(Counter)
    for folder, entry in zip(folders, entries, strict=True):
        tally[folder][entry.label] += 1
    most = {folder: labels.most_common(1)[0] for folder, labels in tally.items()}
    told = all(count >= SAME * tally[folder].total() for folder, (_, count) in most.items())
    if (
        len(most) < 2
        or not told
        or len({label for label, _ in most.values()}) != len(most)
        or len(most) != len(classes)
    ):
        return []
    return [
        (number, f"its label is {entry.label}; {most[folder][1]} of {tally[folder].total()} in {folder} have {most[folder][0]}")
        for number, (folder, entry) in enumerate(zip(folders, entries, strict=True))
        if entry.label != most[folder][0]
    ]  # fmt: skip


def _of_rows(problems: Sequence[Problem], splits: Mapping[str, ClipList]) -> list[Finding]:
    """Problems of rows as findings; clips in two splits are left to the scan, which knows equal files as well."""
    found = []
    by_source: dict[str, list[str]] = defaultdict(list)
    label_of: dict[tuple[str, str], str] = {}
    for split, clips in splits.items():
        by_source[clips.source].append(split)
        for name, label in zip(clips.missing, clips.missing_labels, strict=True):
            label_of[clips.source, name] = clips.classes[label]
    for problem in problems:
        if problem.kind == "two splits":
            continue
        of = by_source[problem.source]
        split = of[0] if len(of) == 1 else ""
        label = label_of.get((problem.source, problem.name), "") if problem.kind == "missing" else ""
        found.append(Finding(problem.kind, split, problem.source, problem.line, problem.name, label, problem.said))
    return found


def _coverage(
    splits: Mapping[str, ClipList], entries: Sequence[_Entry], readable: set[int], kept: Mapping[str, ClipList]
) -> Iterable[Coverage]:
    found = Counter((entry.split, entry.clip.label) for entry in entries if entry.facts.kind != "missing")
    read = Counter((entries[number].split, entries[number].clip.label) for number in readable)
    for split, clips in splits.items():
        for label, (listed, stays) in enumerate(zip(clips.listed_counts, kept[split].counts, strict=True)):
            key = (split, label)
            yield Coverage(label, clips.classes[label], split, listed, found[key], read[key], stays)
