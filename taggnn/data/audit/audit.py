"""The audit of labelled clips, from the lists and the results of a scan: findings, cleaned lists, and coverage of the classes.

A clip that training could not or should not use is removed from the cleaned lists; one that only deserves a look stays.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from taggnn.data.audit.facts import Cut, FileFacts, cut_key, file_key
from taggnn.data.clips import Clip, ClipList
from taggnn.data.lists.leakage import overlap
from taggnn.data.problems import Problem
from taggnn.data.video.timeline import at_or_after

# Seconds (or frames) that a cut may exceed its file: lists are rounded, and a frame lasts about 0.04.
SLACK = 0.1
# Two cuts that share this part are the same clip, in spite of rounding in lists.
SAME = 0.9
# Of two splits that share a clip the higher rank keeps it, so that the evaluation does not change.
RANK = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Args:
        title: heading.
        meaning: what it is, and what happened to the clips.
        left_out: whether its clips are removed from the cleaned lists.
        wrong: whether it counts as a problem; else it is a remark.
    """

    title: str
    meaning: str
    left_out: bool = True
    wrong: bool = True


# By importance to the reader.
KINDS = {
    "two splits": Kind(
        "The same clip in two splits",
        "A model is measured on what it was trained on, and scores too well. Test keeps its clip before val, and val before "
        "train; the other split loses it.",
    ),
    "mislabelled": Kind(
        "Labels that contradict each other",
        "The same content with different labels, or a class folder or name that contradicts the label. Only a person can decide "
        "which is right: all are left out.",
    ),
    "missing": Kind("Missing files", "Listed, but not in the root."),
    "unreadable": Kind("Unreadable files", "They cannot be decoded up to the end of the clip; each with its reason."),
    "zero-frame": Kind("Files without a frame", "Their headers can be read, but no frame follows."),
    "cut outside": Kind("Cuts outside the file", "No frame lies between start and stop."),
    "unfit": Kind("Files that do not fit the model's input", "They can be read, but are of another kind; each with its reason."),
    "malformed": Kind("Rows that cannot be understood", "A column is empty or has an impossible value."),
    "repeated": Kind("Rows listed twice", "The first one stays."),
    "duplicate": Kind(
        "The same content more than once",
        "Equal frames under several names, independent of file names, titles and containers. The first one stays.",
    ),
    "cut beyond": Kind(
        "Cuts that reach beyond the file",
        "Kept: training uses the existing part. Such a list was often made for another copy of the file.",
        left_out=False,
    ),
    "damaged": Kind(
        "Damaged files whose clips end before the damage", "Kept: nothing of the clip is missing.", left_out=False
    ),
    "short": Kind(
        "Shorter than the model's input",
        "Kept: frames are repeated until there are enough, so the model sees fewer different ones.",
        left_out=False,
        wrong=False,
    ),
    "one frame": Kind(
        "Clips of a single frame", "Kept: they have no motion at all.", left_out=False, wrong=False
    ),
    "incomplete": Kind(
        "Clips of which much is missing", "Kept: what is missing is filled in.", left_out=False, wrong=False
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """Something about one clip or one row.

    Args:
        kind: a key of ``KINDS``.
        split: "train", "val", "test", or empty if unknown.
        source: the list file or folder.
        line: line in it; 0 if unknown.
        name: the clip, as in predictions and reports, or the row as written.
        label: name of its class; empty if unknown.
        message: what is wrong.
    """

    kind: str
    split: str
    source: str
    line: int
    name: str
    label: str
    message: str


@dataclass(frozen=True)
class Coverage:
    """How many clips of one class and split remain at each step.

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
        frames: frames of each kept clip: split -> list in the order of ``kept``.
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
    """What to scan: ``file_key`` -> the different cuts of its clips."""
    files: dict[str, dict[Cut, None]] = {}
    for clip in clips:
        cuts = files.setdefault(file_key(clip), {})
        if (clip.start, clip.stop) != (None, None):
            cuts[clip.start, clip.stop, clip.origin] = None
    return {path: list(cuts) for path, cuts in files.items()}


def audit(
    splits: Mapping[str, ClipList],
    info: Mapping[str, FileFacts],
    problems: Sequence[Problem],
    frames: int,
    unfit: Callable[[Any], str] = lambda facts: "",
) -> Audit:
    """Audits every clip.

    Args:
        splits: the different lists: a val list that is the test list too is given once.
        info: every file of the clips, as scanned for ``cuts_of``.
        problems: problems of rows from reading the lists.
        frames: T, frames of a clip that the model sees.
        unfit: why a file does not fit the model's input, see ``Inspection``.
    """
    found = _of_rows(problems, splits)
    entries = [_Entry.of(split, clips, clip, info[file_key(clip)]) for split, clips in splits.items() for clip in clips]
    contradicted = {
        (problem.source, problem.against or problem.name) for problem in problems if problem.kind == "mislabelled"
    }
    # Index of an entry -> (kind, sentence); most have none.
    issues: dict[int, list[tuple[str, str]]] = defaultdict(list)
    readable = []
    for number, entry in enumerate(entries):
        # Of two contradicting rows only the second is a problem to the reader of lists.
        if (entry.source, entry.clip.name) in contradicted:
            issues[number].append(("mislabelled", f"labelled {entry.label} here, and otherwise in another row"))
        troubles = entry.troubles(frames, unfit)
        issues[number] += troubles
        if not any(KINDS[kind].left_out for kind, _ in troubles):
            readable.append(number)
    groups: dict[tuple, list[int]] = defaultdict(list)
    for number in readable:
        groups[entries[number].info.fingerprint, entries[number].info.frames].append(number)
    for group in groups.values():
        if len(group) > 1:
            _compare(group, entries, issues)
    for number, text in _by_folder(entries):
        issues[number].append(("mislabelled", text))
    for number, entry in enumerate(entries):
        for kind, text in dict(reversed(issues[number])).items():
            found.append(Finding(kind, entry.split, entry.source, 0, entry.clip.name, entry.label, text))

    out = {number for number, each in issues.items() if any(KINDS[kind].left_out for kind, _ in each)}
    stays = {
        split: [number for number, entry in enumerate(entries) if entry.split == split and number not in out]
        for split in splits
    }
    kept = {
        split: replace(
            clips, clips=tuple(entries[number].clip for number in stays[split]), missing=(), missing_labels=()
        )
        for split, clips in splits.items()
    }
    order = list(KINDS)
    return Audit(
        tuple(sorted(found, key=lambda finding: order.index(finding.kind))),
        kept,
        tuple(_coverage(splits, entries, set(readable), kept)),
        {split: [entries[number].frames for number in numbers] for split, numbers in stays.items()},
    )


@dataclass(frozen=True)
class _Entry:
    """A clip with its file; start and stop in times of the file, which begins at time ``begin`` of its original."""

    split: str
    source: str
    label: str
    clip: Clip
    info: FileFacts
    start: float
    stop: float
    frames: int
    begin: float

    @classmethod
    def of(cls, split: str, clips: ClipList, clip: Clip, info: FileFacts) -> "_Entry":
        # A file that cannot be used has no counts.
        cut = info.cuts.get(cut_key(clip.start, clip.stop, clip.origin), (0, clip.origin or 0.0))
        frames, begin = (info.frames, 0.0) if (clip.start, clip.stop) == (None, None) else cut
        first = 0.0 if clip.start is None else clip.start - begin
        last = info.seconds if clip.stop is None else clip.stop - begin
        return cls(split, clips.source, clips.classes[clip.label], clip, info, first, last, int(frames), begin)

    def troubles(self, frames: int, unfit: Callable[[Any], str]) -> list[tuple[str, str]]:
        """Kind and sentence of everything wrong with this clip alone."""
        info = self.info
        if info.kind:
            return [(info.kind, info.trouble)]
        if other := unfit(info):
            return [("unfit", other)]
        if bad_cut := info.bad_cuts.get(cut_key(self.clip.start, self.clip.stop, self.clip.origin)):
            return [("unreadable", bad_cut)]
        # As in read_frames: a cut that ends before the damage can be used.
        if info.damage and (self.clip.stop is None or self.clip.stop > self.begin + info.sound_until):
            return [("unreadable", info.damage)]
        bad = next((second for second in info.corrupt if self._holds(second)), None)
        if bad is not None:
            return [("unreadable", f"damaged: the picture at {bad:.2f} s is corrupt")]
        cut = info.cut(self.start, self.stop)
        if self.frames == 0:
            return [("cut outside", f"no frame in {cut}")]
        found = []
        if self.start < -SLACK or self.stop > info.seconds + SLACK:
            found.append(("cut beyond", cut))
        if info.damage or info.corrupt:
            found.append(("damaged", info.damage or f"the picture at {info.corrupt[0]:.2f} s is corrupt"))
        if self.frames == 1:
            found.append(("one frame", "1 frame"))
        elif self.frames < frames:
            found.append(("short", f"{self.frames} frames; the model sees {frames}"))
        if info.remark:
            found.append(("incomplete", info.remark))
        return found

    def _holds(self, second: float) -> bool:
        return at_or_after(second, self.start) and not at_or_after(second, self.stop)

    def shown(self) -> str:
        return f"{self.clip.name} ({self.split}, {self.label})"


def _compare(group: Sequence[int], entries: Sequence[_Entry], issues: dict[int, list[tuple[str, str]]]) -> None:
    """Finds duplicates, contradictions and leakage among clips of one content; linear where all cuts are equal."""
    by_cut: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number in group:
        by_cut[round(100 * entries[number].start), round(100 * entries[number].stop)].append(number)
    for same in by_cut.values():
        first: dict[tuple[str, str], int] = {}
        for number in same:
            entry = entries[number]
            original = first.setdefault((entry.split, entry.label), number)
            if original != number:
                issues[number].append(("duplicate", f"the same {entry.info.noun} as {entries[original].clip.name}"))
        if len(first) > 1:
            _across(same, list(first.values()), entries, issues, f"the same {entries[same[0]].info.noun} as", one=True)
    active: list[list[int]] = []
    for here in sorted(by_cut.values(), key=lambda same: entries[same[0]].start):
        start, stop = entries[here[0]].start, entries[here[0]].stop
        active = [other for other in active if entries[other[0]].stop > start]
        for other in active:
            begun, ended = entries[other[0]].start, entries[other[0]].stop
            shared = overlap((start, stop), (begun, ended))
            if shared:
                one = shared >= SAME * (max(stop, ended) - begun)
                info = entries[here[0]].info
                text = f"shares {info.length(shared)} of its {info.noun} with"
                for mine, theirs in ((here, other), (other, here)):
                    kinds = {(entries[number].split, entries[number].label): number for number in reversed(theirs)}
                    _across(mine, list(kinds.values()), entries, issues, text, one)
        active.append(here)


def _across(
    mine: Sequence[int],
    theirs: Sequence[int],
    entries: Sequence[_Entry],
    issues: dict[int, list[tuple[str, str]]],
    text: str,
    one: bool,
) -> None:
    """Notes leakage of clips into the splits of others, and, where both are one clip, contradicting labels."""
    best = max(theirs, key=lambda number: RANK[entries[number].split])
    for number in mine:
        entry = entries[number]
        if RANK[entries[best].split] > RANK[entry.split]:
            issues[number].append(("two splits", f"{text} {entries[best].shown()}"))
        other = next((other for other in theirs if entries[other].label != entry.label), None)
        if one and other is not None:
            issues[number].append(("mislabelled", f"{text} {entries[other].shown()}"))


def _by_folder(entries: Sequence[_Entry]) -> list[tuple[int, str]]:
    """Clips whose folder has the name, or mostly the clips, of another class than their label."""
    folders = [Path(entry.clip.path).parent.name for entry in entries]
    classes = {entry.label for entry in entries}
    # A class number is no name: folders 0, 1, 2 may be disks.
    names = {entry.label for entry in entries if entry.label != str(entry.clip.label)}
    if not names.isdisjoint(folders):
        return [
            (number, f"its folder is {folder}, its label {entry.label}")
            for number, (folder, entry) in enumerate(zip(folders, entries, strict=True))
            if folder in names and folder != entry.label
        ]
    # Labels without names: folders are classes if there are as many, each with nearly all clips of one own label.
    tally: dict[str, Counter[str]] = defaultdict(Counter)
    for folder, entry in zip(folders, entries, strict=True):
        tally[folder][entry.label] += 1
    most = {folder: labels.most_common(1)[0] for folder, labels in tally.items()}
    pure = all(count >= SAME * tally[folder].total() for folder, (_, count) in most.items())
    if (
        len(most) < 2
        or not pure
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
    """Problems of rows as findings; clips in two splits are found by the scan, which knows equal files too."""
    found = []
    by_source: dict[str, list[str]] = defaultdict(list)
    label_of: dict[tuple[str, str], str] = {}
    for split, clips in splits.items():
        by_source[clips.source].append(split)
        for name, number in zip(clips.missing, clips.missing_labels, strict=True):
            label_of[clips.source, name] = clips.classes[number]
    for problem in problems:
        if problem.kind == "two splits":
            continue
        sources = by_source[problem.source]
        split = sources[0] if len(sources) == 1 else ""
        label = label_of.get((problem.source, problem.name), "") if problem.kind == "missing" else ""
        found.append(Finding(problem.kind, split, problem.source, problem.line, problem.name, label, problem.message))
    return found


def _coverage(
    splits: Mapping[str, ClipList], entries: Sequence[_Entry], readable: set[int], kept: Mapping[str, ClipList]
) -> Iterable[Coverage]:
    found = Counter((entry.split, entry.clip.label) for entry in entries if entry.info.kind != "missing")
    read = Counter((entries[number].split, entries[number].clip.label) for number in readable)
    for split, clips in splits.items():
        for label, (listed, stays) in enumerate(zip(clips.listed_counts, kept[split].counts, strict=True)):
            key = (split, label)
            yield Coverage(label, clips.classes[label], split, listed, found[key], read[key], stays)
