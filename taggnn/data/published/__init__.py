"""Published data sets by name, read from the files of their publishers; one module for each.

A reader only turns files into rows. The common part is here: the version, the missing files, the published numbers. A new
data set is a small module with a ``Published`` and a line in ``PUBLISHED``.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from taggnn.data.clips import NAMED, ClipList, existing_root, locate
from taggnn.data.problems import KINDS, Problem
from taggnn.data.published.diving48 import DIVING48
from taggnn.data.published.diving48_skeleton import DIVING48_SKELETON
from taggnn.data.published.file_index import FileIndex
from taggnn.data.published.finegym import GYM99, GYM288
from taggnn.data.published.gym99_skeleton import GYM99_SKELETON
from taggnn.data.published.haa500 import HAA500
from taggnn.data.published.hmdb51 import HMDB51
from taggnn.data.published.kinetics import KINETICS
from taggnn.data.published.listing import Listing, Published, Request
from taggnn.data.published.ntu import NTU60, NTU120
from taggnn.data.published.nw_ucla import NW_UCLA
from taggnn.data.published.pku_mmd import PKU_MMD
from taggnn.data.published.ssv2 import SSV2
from taggnn.data.published.ucf101 import UCF101
from taggnn.names import unknown

PUBLISHED: dict[str, Published] = {
    "gym99": GYM99,
    "gym288": GYM288,
    "haa500": HAA500,
    "diving48": DIVING48,
    "ssv2": SSV2,
    "kinetics": KINETICS,
    "ucf101": UCF101,
    "hmdb51": HMDB51,
    "ntu60": NTU60,
    "ntu120": NTU120,
    "nw_ucla": NW_UCLA,
    "pku_mmd": PKU_MMD,
    "gym99_skeleton": GYM99_SKELETON,
    "diving48_skeleton": DIVING48_SKELETON,
}


def read_published(
    name: str,
    root: str | Path,
    version: str | None = None,
    annotations: str | Path | None = None,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    missing: str = "skip",
    problems: list[Problem] | None = None,
) -> tuple[dict[str, ClipList], tuple[str, ...]]:
    """Reads a published data set.

    Args:
        name: one of ``PUBLISHED``.
        root: folder of the clips, at any depth.
        version: one of the data set's, or the number in it ("1.1" for v1.1, "2" for split2); None: the first.
        annotations: folder of the publisher's lists; None: below the root.
        splits: the splits to read; None: all.
        classes: class names of a model in label order; None: the publisher's.
        missing: "skip" leaves missing clips out and names them; "error" raises.
        problems: collects problems of single rows, which are then left out. None with ``missing="skip"``: such rows are left
            out and named in the notes; with ``missing="error"`` the first raises.

    Returns:
        Split -> its clips, and sentences for the screen: version, coverage, problems.

    Raises:
        FileNotFoundError: if the root, a list or all clips of a split do not exist; with "error" if any clip is missing.
        ValueError: if the name or the version is unknown, a list is wrong, or no row of it can be used.
    """
    if name not in PUBLISHED:
        raise unknown("data set", name, PUBLISHED)
    known = PUBLISHED[name]
    version = _version(name, known, version)
    root = existing_root(root)
    if annotations is not None and not Path(annotations).is_dir():
        raise FileNotFoundError(f"data annotations {annotations}: no such folder")
    index = FileIndex(root, None if annotations is None else Path(annotations), known.endings)
    collected: list[Problem] | None = [] if problems is None and missing == "skip" else problems
    wanted = tuple(known.splits if splits is None else splits)
    lists = known.read(Request(index, version, wanted, None if classes is None else tuple(classes), collected))

    found: dict[str, ClipList] = {}
    parts, notes = [], list(lists.notes)
    for split, listing in lists.splits.items():
        # The index has each file: checking again would take as long as the walk.
        clips = locate(root, listing.source, listing.rows, lists.classes, missing, collected, exists=lambda path: True)
        clips = replace(clips, class_groups=lists.class_groups)
        if not len(clips) and problems is None:
            raise _no_clips(f"{name} {version}, {split}", clips, listing, collected or [], index)
        found[split] = clips
        parts.append(_coverage(split, clips, known.counts.get(version, {}).get(split)))
        published = known.counts.get(version, {}).get(split)
        if published not in (None, clips.listed):
            notes.append(
                f"{listing.source} lists {clips.listed:,} clips; {name} {version} has {published:,} in {split}"
            )
    published = known.classes.get(version)
    if published not in (None, len(lists.classes)):
        notes.append(f"{len(lists.classes)} classes were found; {name} {version} has {published}")
    if index.duplicates:
        first, second, *_ = next(iter(index.duplicates.values()))
        shown = f"{first}, also {Path(second).relative_to(root)}"
        notes.append(f"clips with several files, of which the first is used: {len(index.duplicates):,} ({shown}, ...)")
    if index.unreadable:
        notes.append(
            f"folders without read permission: {len(index.unreadable)} ({', '.join(index.unreadable[:NAMED])})"
        )
    if index.dangling:
        notes.append(
            f"links whose target does not exist: {len(index.dangling):,} ({', '.join(index.dangling[:NAMED])})"
        )
    if problems is None:
        notes += _problem_notes(collected or [])
    return found, (f"{name} {version}: {'; '.join(parts)}", *notes)


def _no_clips(what: str, clips: ClipList, listing: Listing, problems: list[Problem], index: FileIndex) -> Exception:
    """The error for a split without clips: none exists, or no row could be used."""
    wrong = [
        problem for problem in problems if problem.source.startswith(str(listing.source)) and problem.kind != "missing"
    ]
    more = f". Rows that cannot be used: {_shown(wrong)}" if wrong else ""
    if not listing.rows:
        return ValueError(
            f"{what}: {listing.source} " + (f"has no row that can be used{more}" if wrong else "is empty")
        )
    return FileNotFoundError(
        f"{what}: none of the {clips.listed:,} clips of {listing.source} is there. "
        f"Looked for such as {listing.rows[0].given}; {index.describe()}{more}"
    )


def _version(name: str, known: Published, given: str | None) -> str:
    if given is None:
        return known.versions[0]
    for version in known.versions:
        # "1.1" is v1.1, "2" is V2 or split2.
        if given == version or given == version.lstrip("vVsplit"):
            return version
    raise unknown(f"version of {name}", given, known.versions)


def _coverage(split: str, clips: ClipList, published: int | None) -> str:
    whole = "" if published in (None, clips.listed) else f" of {published:,} published"
    share = len(clips) / max(clips.listed, 1)
    # 99.99 % is not 100 %.
    shown = f"{share:.0%}" if share in (0, 1) or 0.01 <= share < 0.99 else f"{share:.2%}"
    return f"{split} {clips.listed:,} listed{whole}, {len(clips):,} found ({shown.replace('%', ' %')})"


def _problem_notes(problems: list[Problem]) -> list[str]:
    """Rows left out for other reasons than a missing file, a sentence for each list and kind."""
    notes = []
    for source in dict.fromkeys(problem.source for problem in problems):
        for kind in KINDS[1:]:
            some = [problem for problem in problems if (problem.source, problem.kind) == (source, kind)]
            if some:
                notes.append(f"{source}: rows left out as {kind}: {len(some)} ({_shown(some)})")
    return notes


def _shown(problems: list[Problem]) -> str:
    shown = "; ".join(f"line {problem.line}: {problem.message}" for problem in problems[:NAMED])
    return shown + (f" and {len(problems) - NAMED} more" if len(problems) > NAMED else "")
