"""The page of a check: what was found, what is kept, what to do next. One file that needs no network, light and dark."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from taggnn.data.audit.audit import KINDS, Audit, Coverage, Finding
from taggnn.data.audit.facts import FileFacts, file_key
from taggnn.data.audit.inspection import Inspection
from taggnn.data.clips import ClipList
from taggnn.evaluation import longtail
from taggnn.reporting.figures import histogram, skyline
from taggnn.reporting.page import GROUPS, count, duration, number, percent, render
from taggnn.reporting.theme import svg

# Rows of a table on the page; the tables next to the page have all of them.
ROWS, CLASSES = 200, 1000
# Values of sizes, rates and codecs that are named.
NAMED = 8
SHORT_LIST = 12


@dataclass(frozen=True)
class About:
    """What a page shows in addition to the findings.

    Args:
        root: folder of the clips.
        splits: the lists as they were read.
        frames: T, frames of a clip that the model sees.
        depth: how files were examined.
        seconds: how long the scan took.
        known: files whose facts came from an earlier scan.
        notes: choices that were made in reading the lists.
        command: the command that trains on the cleaned lists; empty where nothing is left to train on.
        folder: where page and lists lie.
        files: names of the files next to the page, with what they are.
        inspection: how files were examined.
    """

    root: str
    splits: Mapping[str, ClipList]
    frames: int
    depth: str
    seconds: float
    known: int
    notes: Sequence[str]
    command: Sequence[str]
    folder: str
    files: Sequence[tuple[str, str]]
    inspection: Inspection


def check_page(audit: Audit, facts: Mapping[str, FileFacts], about: About) -> str:
    """Builds the whole document."""
    listed, kept = totals(audit)
    problems = f"{count(audit.wrong, 'problem')} {'was' if audit.wrong == 1 else 'were'} found."
    clips = f"{number(listed)} clips listed, {number(kept)} of them fit for training."
    return render(
        "check.html.j2",
        title=f"Check of {about.root}",
        eyebrow="taggnn data check",
        subtitle=f"{clips} {problems if audit.wrong else 'Nothing was found wrong.'}",
        about=about,
        tally=Counter(finding.kind for finding in audit.findings),
        tiles=_tiles(audit, facts, about),
        untrained=[_named(classes) for classes in untrained(audit)],
        complete=kept == listed,
        command=_lines(about.command),
        findings=_findings(audit.findings),
        splits=_splits(audit, about),
        classes=_classes(audit),
        contents=_contents(audit, facts, about),
        same=about.inspection.same,
        provenance=_provenance(about, facts),
        rows=ROWS,
        most_classes=CLASSES,
        short=SHORT_LIST,
    )


def totals(audit: Audit) -> tuple[int, int]:
    """Clips listed, and clips kept, over all splits."""
    return sum(row.listed for row in audit.coverage), sum(row.kept for row in audit.coverage)


def untrained(audit: Audit) -> tuple[list[str], list[str]]:
    """Classes of the lists that train keeps no clip of: those whose clips were lost, and those that train does not list.

    Both are empty without a train split.
    """
    train = {row.label: row for row in audit.coverage if row.split == "train"}
    listed = dict(sorted((row.label, row.name) for row in audit.coverage if row.listed))
    empty = [label for label in listed if label in train and not train[label].kept]
    return (
        [listed[label] for label in empty if train[label].listed],
        [listed[label] for label in empty if not train[label].listed],
    )


def balance(audit: Audit) -> dict[str, int] | None:
    """Classes of many, medium and few training clips, and the largest and smallest class; None without training clips."""
    counts = [row.kept for row in audit.coverage if row.split == "train" and row.kept]
    if not counts:
        return None
    return {
        "largest": max(counts),
        "smallest": min(counts),
        **{name: int(mask.sum()) for name, mask in longtail.masks(counts).items()},
    }


def _tiles(audit: Audit, facts: Mapping[str, FileFacts], about: About) -> list[tuple[str, str, str]]:
    """(figure, label, text below) of each."""
    listed, kept = totals(audit)
    leaks = sum(finding.kind == "two splits" for finding in audit.findings)
    empty = sum(map(len, untrained(audit)))
    lost = f"{number(listed - kept)} left out" if kept < listed else "none left out"
    per_split = ", ".join(f"{split} {number(len(clips))}" for split, clips in audit.kept.items())
    classes = len(next(iter(about.splits.values())).classes)
    opened = sum(not one.kind for one in facts.values())
    return [
        (percent(kept / listed if listed else None), "Clips kept", f"{number(kept)}; {lost}"),
        (number(audit.wrong), "Problems", f"and {count(len(audit.findings) - audit.wrong, 'remark')}"),
        (number(leaks), "Clips in two splits", "a leak" if leaks else "no clip is shared"),
        (number(opened), "Files that open", f"of {number(len(facts))} files found"),
        (number(classes), "Classes", f"{empty} without a training clip" if empty else per_split),
    ]


def _named(classes: Sequence[str]) -> str:
    more = f" and {len(classes) - SHORT_LIST} more" if len(classes) > SHORT_LIST else ""
    return "; ".join(classes[:SHORT_LIST]) + more


def _lines(command: Sequence[str]) -> str:
    """A command with each option on a line of its own, as a shell takes it."""
    return "".join((" \\\n    " if word.startswith("--") else " ") + shlex.quote(word) for word in command).strip()


def _findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings of each kind, the gravest first."""
    found = []
    for kind, about in KINDS.items():
        some = [finding for finding in findings if finding.kind == kind]
        if some:
            found.append(
                {
                    "kind": about,
                    "title": f"{about.title}: {number(len(some))}{'' if about.wrong else ' (a remark)'}",
                    "open": kind == "two splits" or (about.wrong and len(some) <= SHORT_LIST),
                    "cut": len(some) > ROWS,
                    "rows": some[:ROWS],
                    "lines": any(finding.line for finding in some[:ROWS]),
                }
            )
    return found


def _splits(audit: Audit, about: About) -> list[tuple[str, str, list[int], float | None]]:
    """(name, source, counts of each step, share kept) of each split."""
    rows = []
    for split, clips in about.splits.items():
        mine = [row for row in audit.coverage if row.split == split]
        counts = [sum(getattr(row, step) for row in mine) for step in ("listed", "found", "readable", "kept")]
        rows.append((split, clips.source, counts, counts[-1] / counts[0] if counts[0] else None))
    return rows


def _classes(audit: Audit) -> dict[str, Any]:
    """Chart, balance and table of the classes."""
    coverage: dict[int, dict[str, Coverage]] = {}
    for row in audit.coverage:
        coverage.setdefault(row.label, {})[row.split] = row
    main = "train" if "train" in audit.kept else next(iter(audit.kept))
    first = [rows[main] for rows in coverage.values()]
    return {
        "main": main,
        "splits": list(audit.kept),
        "chart": svg(skyline([(row.name, row.kept, row.listed) for row in first]), f"clips of {len(first)} classes"),
        "balance": _balance_facts(audit),
        "rows": sorted(coverage.items())[:CLASSES],
        "count": len(coverage),
    }


def _balance_facts(audit: Audit) -> list[tuple[str, Any]]:
    parts = balance(audit)
    if parts is None:
        return []
    ratio = parts["largest"] / parts["smallest"]
    times = f"{ratio:.1f}" if ratio < 10 else number(round(ratio))
    return [
        ("largest class", f"{number(parts['largest'])} training clips"),
        ("smallest class", f"{number(parts['smallest'])} training clips, {times} times fewer"),
        (f"classes > {longtail.MANY_ABOVE}", f"{parts['many']} ({GROUPS['many']})"),
        ("classes between", f"{parts['medium']} ({GROUPS['medium']})"),
        (f"classes < {longtail.FEW_BELOW}", f"{parts['few']} ({GROUPS['few']})"),
        ("classes of none", sum(map(len, untrained(audit)))),
    ]


def _contents(audit: Audit, facts: Mapping[str, FileFacts], about: About) -> dict[str, Any] | None:
    frames = [length for lengths in audit.frames.values() for length in lengths]
    used = [
        facts[key] for key in dict.fromkeys(file_key(clip) for clips in audit.kept.values() for clip in clips.clips)
    ]
    if not used:
        return None
    numbers = [one.numbers() for one in used]
    spreads: list[tuple[str, Sequence[float], str]] = [("frames of a clip", frames, "{:.0f}")]
    spreads += [(title, [each[title][0] for each in numbers], form) for title, (_, form) in numbers[0].items()]
    spreads.append(("megabytes of a file", [one.size / 1e6 for one in used], "{:.3f}"))
    values = [one.values() for one in used]
    common = {title: Counter(each[title] for each in values) for title in values[0]}
    chart = histogram(frames, "frames of a clip", about.frames, f"the model sees {about.frames}")
    return {
        "lead": f"Of the {number(len(frames))} kept clips in {number(len(used))} files.",
        "chart": svg(chart, "how often each number of frames of a clip occurs"),
        "spreads": [(title, [form.format(cut) for cut in _cuts(values)]) for title, values, form in spreads],
        "common": [(title, len(tally), tally.most_common(NAMED)) for title, tally in common.items()],
        "files": len(used),
    }


def _cuts(values: Sequence[float]) -> list[float]:
    """Smallest, 5 %, median, 95 % and largest."""
    cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
    return [min(values), cuts[0], cuts[9], cuts[18], max(values)]


def _provenance(about: About, facts: Mapping[str, FileFacts]) -> list[tuple[str, str]]:
    return [
        ("depth", f"{about.depth}: {about.inspection.depths[about.depth]}"),
        ("files", f"{number(len(facts))}, {number(about.known)} of them known from an earlier scan"),
        ("time", duration(about.seconds)),
        ("decoder", about.inspection.reader()),
        ("folder", about.folder),
    ]
