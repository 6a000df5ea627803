"""The page of a check: what was found, what is kept, what to do next. One file that needs no network, light and dark."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

from taggnn.data.audit.audit import KINDS, Audit, Coverage, Finding
from taggnn.data.audit.probe import VideoInfo
from taggnn.data.clips import ClipList
from taggnn.evaluation import longtail
from taggnn.reporting import bars, page

# Rows of a table on the page; the tables beside it have all of them.
ROWS, CLASSES = 200, 1000
# Values of sizes, rates and codecs that are named.
NAMED = 8
SHORT_LIST = 12


@dataclass(frozen=True)
class About:
    """What a page says beside the findings.

    Args:
        root: folder of the videos.
        splits: the lists as they were read.
        frames: T, frames of a clip that the model sees.
        depth: how files were looked at.
        seconds: how long the scan took.
        known: files whose facts came from an earlier scan.
        notes: choices that were made in reading the lists.
        command: the words of what trains on the cleaned lists; empty where nothing is left to train on.
        folder: where page and lists lie.
        files: names of the files beside the page, with what they are.
        decoder: PyAV's version.
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
    decoder: str


def check_page(audit: Audit, facts: Mapping[str, VideoInfo], about: About) -> str:
    """Builds the whole document."""
    listed, kept = totals(audit)
    wrong = audit.wrong
    verdict = (
        "Nothing was found wrong."
        if not wrong
        else f"{page.number(wrong)} problem{' was' if wrong == 1 else 's were'} found."
    )
    return page.page(
        f"Check of {about.root}",
        "taggnn data check",
        f"{page.number(listed)} clips listed, {page.number(kept)} of them fit for training. {verdict}",
        [
            f"<style>{bars.STYLE}{_STYLE}</style>",
            _summary(audit, facts, about),
            _next(audit, about),
            _problems(audit.findings),
            _splits(audit, about),
            _classes(audit),
            _videos(audit, facts, about),
            _how(about, facts),
            f"<script>{_SCRIPT}</script>",
        ],
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


def _summary(audit: Audit, facts: Mapping[str, VideoInfo], about: About) -> str:
    listed, kept = totals(audit)
    tally = Counter(finding.kind for finding in audit.findings)
    remarks = len(audit.findings) - audit.wrong
    opened = sum(not one.kind for one in facts.values())
    leaks, (lost_classes, unlisted) = tally["two splits"], untrained(audit)
    empty = len(lost_classes) + len(unlisted)
    lost = f"{page.number(listed - kept)} left out" if kept < listed else "none left out"
    per_split = ", ".join(f"{split} {page.number(len(clips))}" for split, clips in audit.kept.items())
    tiles = [
        page.tile(page.percent(kept / listed if listed else None), "Clips kept", f"{page.number(kept)}; {lost}"),
        page.tile(page.number(audit.wrong), "Problems", f"and {page.number(remarks)} remarks"),
        page.tile(page.number(leaks), "Clips in two splits", "a leak" if leaks else "splits are apart"),
        page.tile(page.number(opened), "Videos that open", f"of {page.number(len(facts))} files there"),
        page.tile(
            page.number(len(next(iter(about.splits.values())).classes)),
            "Classes",
            f"{empty} without a training clip" if empty else per_split,
        ),
    ]
    notes = []
    if leaks:
        notes.append(
            f"<strong>Leak, clips in two splits: {page.number(leaks)}.</strong> Figures measured on these lists are too "
            "good. The cleaned lists keep each of them once: in test before val, in val before train."
        )
    if unlisted:
        notes.append(
            f"<strong>Classes that the train list has no clip of: {_named(unlisted)}.</strong> No model can learn them."
        )
    if lost_classes:
        notes.append(
            f"<strong>Classes whose training clips are all missing or left out: {_named(lost_classes)}.</strong> No model can "
            "learn them from what is there."
        )
    return page.section("At a glance", page.tiles(tiles), *(f'<p class="note">{note}</p>' for note in notes))


def _named(classes: Sequence[str]) -> str:
    more = f" and {len(classes) - SHORT_LIST} more" if len(classes) > SHORT_LIST else ""
    return page.escape("; ".join(classes[:SHORT_LIST]) + more)


def _next(audit: Audit, about: About) -> str:
    listed, kept = totals(audit)
    if not about.command:
        train = "The cleaned lists hold nothing to train on: put the files right that are named below, and check again."
        body = [f"<p>{train}</p>"]
    else:
        what = "The lists are clean; this trains on them" if kept == listed else "Trains on what is sound"
        body = [f"<p>{what}, from the folder in which the check ran:</p>", page.code(_lines(about.command))]
    doubtful = Counter(finding.kind for finding in audit.findings)
    advice = []
    if doubtful["missing"]:
        advice.append(
            "Missing files that turn up later are taken in by another check; files that are known are not read again."
        )
    if doubtful["unreadable"] or doubtful["zero-frame"]:
        advice.append("Unreadable files are often downloads that broke off: fetch them again, then check again.")
    if doubtful["mislabelled"]:
        advice.append("Contradictory labels: look at the videos, put the list right, then check again.")
    if about.depth == "packets":
        advice.append(
            "Every packet of every file was read, no picture was decoded. <code>--depth decode</code> also finds pictures that "
            "are damaged inside, and takes many times as long."
        )
    body.append("<ul>" + "".join(f"<li>{text}</li>" for text in advice) + "</ul>" if advice else "")
    rows = [("", [page.cell(name), page.cell(what, "t")]) for name, what in about.files]
    body.append(page.details("Files beside this page", page.table([("File", ""), ("What it is", "t")], rows)))
    return page.section("What to do next", *body)


def _lines(command: Sequence[str]) -> str:
    """A command with each option on a line of its own, as a shell takes it."""
    return "".join((" \\\n    " if word.startswith("--") else " ") + shlex.quote(word) for word in command).strip()


def _problems(findings: Sequence[Finding]) -> str:
    if not findings:
        return page.section("Findings", "<p>None: every listed clip is there, opens, and is listed once.</p>")
    tally = Counter(finding.kind for finding in findings)
    body = []
    for kind, about in KINDS.items():
        if not tally[kind]:
            continue
        some = [finding for finding in findings if finding.kind == kind][:ROWS]
        rest = f" The first {ROWS} are shown; problems.csv has all." if tally[kind] > ROWS else ""
        inside = f"<p>{page.escape(about.meaning)}{rest}</p>" + _finding_table(some)
        title = f"{about.title}: {page.number(tally[kind])}" + ("" if about.wrong else " (a remark)")
        body.append(
            page.details(title, inside, opened=kind == "two splits" or (about.wrong and tally[kind] <= SHORT_LIST))
        )
    return page.section("Findings", *body, lead="The gravest first. A click on a column's head sorts by it.")


def _finding_table(findings: Iterable[Finding]) -> str:
    findings = list(findings)
    lines = any(finding.line for finding in findings)
    header = [("Clip", "t"), ("What", "t"), ("Split", ""), ("Class", ""), *([("Line", "n")] if lines else [])]
    rows = []
    for finding in findings:
        cells = [page.cell(finding.name, "t"), page.cell(finding.message, "t")]
        cells += [page.cell(finding.split), page.cell(finding.label)]
        cells += [page.cell(finding.line or "", "n")] if lines else []
        rows.append(("", cells))
    return page.table(header, rows, tall=len(rows) > SHORT_LIST)


def _splits(audit: Audit, about: About) -> str:
    rows = []
    for split, clips in about.splits.items():
        mine = [row for row in audit.coverage if row.split == split]
        listed, found, readable, kept = (
            sum(getattr(row, step) for row in mine) for step in ("listed", "found", "readable", "kept")
        )
        cells = [page.cell(split), page.cell(clips.source, "t")]
        cells += [page.cell(page.number(figure), "n") for figure in (listed, found, readable, kept)]
        cells += [page.bar(kept / listed if listed else None)]
        rows.append(("", cells))
    header = [
        ("Split", ""),
        ("From", "t"),
        ("Listed", "n"),
        ("Found", "n"),
        ("Readable", "n"),
        ("Kept", "n"),
        ("", "n bar"),
    ]
    notes = "".join(f"<li>{page.escape(note)}</li>" for note in about.notes)
    return page.section("Splits", page.table(header, rows), f"<ul>{notes}</ul>" if notes else "")


def _classes(audit: Audit) -> str:
    of: dict[int, dict[str, Coverage]] = {}
    for row in audit.coverage:
        of.setdefault(row.label, {})[row.split] = row
    splits = list(audit.kept)
    main = "train" if "train" in splits else splits[0]
    counts = [(rows[main].name, rows[main].kept, rows[main].listed) for rows in of.values()]
    parts = balance(audit)
    facts = ""
    if parts is not None:
        ratio = parts["largest"] / parts["smallest"]
        times = f"{ratio:.1f}" if ratio < 10 else page.number(round(ratio))
        facts = page.facts(
            [
                ("largest class", f"{page.number(parts['largest'])} training clips"),
                ("smallest class", f"{page.number(parts['smallest'])} training clips, {times} times fewer"),
                (f"classes > {longtail.MANY_ABOVE}", f"{parts['many']} (many-shot)"),
                ("classes between", f"{parts['medium']} (medium-shot)"),
                (f"classes < {longtail.FEW_BELOW}", f"{parts['few']} (few-shot)"),
                ("classes of none", sum(map(len, untrained(audit)))),
            ]
        )
    rows = []
    for label, mine in sorted(of.items())[:CLASSES]:
        name = next(iter(mine.values())).name
        cells = [page.cell(label, "n"), page.cell(name, "t")]
        for split in splits:
            row = mine[split]
            tip = f"{row.listed} listed, {row.found} found, {row.readable} readable, {row.kept} kept"
            cells.append(f'<td class="n" title="{tip}">{page.number(row.kept)}{_of(row)}</td>')
        share = mine[main].kept / mine[main].listed if mine[main].listed else None
        cells.append(page.bar(share, "right" if share and share >= 0.9 else "wrong"))
        rows.append(("absent" if not mine[main].kept else "", cells))
    header = [("No.", "n"), ("Class", "t"), *((split, "n") for split in splits), (f"kept of {main}", "n bar")]
    more = f"The first {CLASSES} of {len(of)}; " if len(of) > CLASSES else ""
    table = page.details(
        f"All {len(of)} classes", f"<p>{more}classes.csv has every step.</p>" + page.table(header, rows, tall=True),
        opened=len(of) <= 2 * SHORT_LIST,
    )  # fmt: skip
    lead = (
        f'Clips of {main}: <span class="swatch" style="background:var(--right)"></span> kept, '
        '<span class="swatch lost"></span> listed and left out.'
    )
    return page.section("Classes", bars.skyline(counts), facts, table, lead=lead)


def _of(row: Coverage) -> str:
    return "" if row.kept == row.listed else f' <span class="q">of {page.number(row.listed)}</span>'


def _videos(audit: Audit, facts: Mapping[str, VideoInfo], about: About) -> str:
    frames = [count for counts in audit.frames.values() for count in counts]
    files = list(dict.fromkeys(clip.path for clips in audit.kept.values() for clip in clips))
    used = [facts[path] for path in files]
    if not used:
        return ""
    rows = [
        _spread("frames of a clip", frames, "{:.0f}"),
        _spread("seconds of a file", [one.seconds for one in used], "{:.2f}"),
        _spread("frames a second", [one.rate for one in used], "{:.2f}"),
        _spread("shorter side, pixels", [min(one.width, one.height) for one in used], "{:.0f}"),
        _spread("megabytes of a file", [one.size / 1e6 for one in used], "{:.3f}"),
    ]
    header = [("", ""), ("Smallest", "n"), ("5 %", "n"), ("Median", "n"), ("95 %", "n"), ("Largest", "n")]
    common = [
        ("Picture sizes", Counter(f"{one.width} × {one.height}" for one in used)),
        ("Frame rates", Counter(f"{one.rate:.2f}" for one in used)),
        ("Codecs", Counter(one.codec for one in used)),
    ]
    tables = "".join(f"<div><h3>{title}</h3>{_common(tally)}</div>" for title, tally in common)
    lead = f"Of the {page.number(len(frames))} kept clips in {page.number(len(used))} files."
    drawn = bars.histogram(frames, "frames of a clip", about.frames, f"the model sees {about.frames}")
    return page.section(
        "The videos", drawn, page.table(header, rows), f'<div class="beside">{tables}</div>', lead=lead
    )  # fmt: skip


def _spread(title: str, values: Sequence[float], form: str) -> tuple[str, list[str]]:
    cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
    shown = (min(values), cuts[0], cuts[9], cuts[18], max(values))
    return "", [page.cell(title), *(page.cell(form.format(value), "n") for value in shown)]


def _common(tally: Counter[str]) -> str:
    total = tally.total()
    rows = [
        ("", [page.cell(value), page.cell(page.number(count), "n"), page.bar(count / total)])
        for value, count in tally.most_common(NAMED)
    ]
    others = len(tally) - NAMED
    if others > 0:
        rest = total - sum(count for _, count in tally.most_common(NAMED))
        rows.append(
            ("absent", [page.cell(f"{others} others"), page.cell(page.number(rest), "n"), page.bar(rest / total)])
        )
    return page.table([("", ""), ("Files", "n"), ("", "n bar")], rows)


def _how(about: About, facts: Mapping[str, VideoInfo]) -> str:
    looked = {"packets": "every packet read, no picture decoded", "decode": "every picture decoded"}[about.depth]
    pairs = [
        ("depth", f"{about.depth}: {looked}"),
        ("files", f"{page.number(len(facts))}, {page.number(about.known)} of them known from an earlier scan"),
        ("time", page.duration(about.seconds)),
        ("decoder", about.decoder),
        ("folder", about.folder),
    ]
    limits = (
        "Videos count as the same when their coded pictures are equal, byte for byte; the same scene coded anew, scaled or cut "
        "into another file is not recognised."
    )
    return page.section("How it was checked", page.facts(pairs), f"<p>{limits}</p>")


_STYLE = """
.lost { background: var(--wrong); opacity: .6; }
.scroll + dl, .scroll + .scroll { margin-top: 18px; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 0 32px; }
pre code { white-space: pre-wrap; overflow-wrap: anywhere; }
ul { margin: 12px 0 0; padding-left: 1.2em; max-width: 56em; }
li { margin-bottom: 6px; overflow-wrap: anywhere; }
th[role=button] { cursor: pointer; }
th[aria-sort=ascending]::after { content: " ↑"; }
th[aria-sort=descending]::after { content: " ↓"; }
.filter { display: block; width: 100%; max-width: 22em; margin: 0 0 10px; padding: 6px 10px; font: inherit; font-size: 14px;
  color: var(--ink); background: var(--page); border: 1px solid var(--line); border-radius: 6px; }
"""

# Without a script the page says the same; with one its tables sort, and the long ones can be searched.
_SCRIPT = """
const figure = text => parseFloat(text.replace(/[\\u202f\\s,]/g, ""));
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], rows = [...body.rows];
  if (rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!head.textContent) return;
    head.tabIndex = 0;
    head.setAttribute("role", "button");
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
      const text = row => row.cells[column].textContent, n = head.classList.contains("n");
      const order = (a, b) => n
        ? (isNaN(figure(a)) ? -1 : figure(a)) - (isNaN(figure(b)) ? -1 : figure(b))
        : a.localeCompare(b, undefined, {numeric: true});
      body.append(...rows.sort((a, b) => down * order(text(a), text(b))));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
  });
  if (rows.length <= 12) continue;
  const box = document.createElement("input");
  box.type = "search"; box.className = "filter"; box.placeholder = "show only rows with …";
  box.setAttribute("aria-label", "filter the rows of this table");
  box.addEventListener("input", () => {
    const wanted = box.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  table.parentNode.before(box);
}
"""
