"""The report of a run: one HTML file made from the files of the run folder, and from nothing else.

``python -m taggnn.report RUN_DIR`` makes it again at any time. Every file is optional; what is absent is left out.

    config.yaml      shown as it is
    metrics.csv      the history: a column "epoch" and any of train/loss, val/loss, train/top1, val/top1, val/mca, lr,
                     seconds, ...; train/<name> for each part of the loss; several rows of one epoch are merged, the last value
                     of each column counts
    predictions.csv  of the headline split (`taggnn.evaluation.predictions`): confusion matrix and per-class figures
    skipped.csv      clips that could not be used (`taggnn.evaluation.predictions`)
    results.json     everything else, see `taggnn.evaluation.results.Results`

Besides ``report.html`` it writes the pictures alone, ``curves.png`` and ``confusion.png``.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from taggnn.evaluation.metrics import (
    METRICS,
    Scores,
    confusion_matrix,
    per_class,
    summarise,
    unmeasured_note,
    wilson,
    worst_confusions,
    worst_pairs,
)
from taggnn.evaluation.predictions import Predictions, Skipped, read_predictions, read_skipped
from taggnn.evaluation.results import Results, headline
from taggnn.evaluation.significance import McNemar, verdict
from taggnn.names import unknown
from taggnn.reporting import bars, diagrams, page
from taggnn.reporting.loss_parts import parts_of, parts_table
from taggnn.reporting.pictures import DARK, LIGHT, confusion, curves
from taggnn.reporting.report_statistics import between, calibration_section, figure, groups_section, paired_rows
from taggnn.runtime.atomic import write_bytes, write_text
from taggnn.training.history import read_history

TITLES = {
    "name": "",
    "measured": "Clips",
    "seconds": "Time",
    "parameters": "Parameters",
}


def write_report(run_dir: str | os.PathLike) -> Path:
    """Makes ``report.html``, ``curves.png`` and ``confusion.png`` from the files of a run folder; see this file's head.

    Returns:
        The path of ``report.html``.

    Raises:
        FileNotFoundError: no such folder, or none of the files in it.
        ValueError: a file that cannot be read as what it should be; names it.
        OSError: as `taggnn.runtime.atomic.replacing`.
    """
    folder = Path(run_dir)
    sources = ("results.json", "metrics.csv", "predictions.csv", "skipped.csv", "config.yaml")
    if not any((folder / name).is_file() for name in sources):
        found = "is not there" if not folder.is_dir() else "is no run folder"
        raise FileNotFoundError(f"{folder} {found}: a report needs at least one of {', '.join(sources)} in it")
    results = Results.read(folder).to_json()
    history = read_history(folder / "metrics.csv") if (folder / "metrics.csv").is_file() else []
    skipped = read_skipped(folder / "skipped.csv") if (folder / "skipped.csv").is_file() else []
    predictions = read_predictions(folder / "predictions.csv") if (folder / "predictions.csv").is_file() else None
    if predictions is not None and not predictions.names:
        predictions = None
    config = folder / "config.yaml"

    title = str(results.get("title") or folder.resolve().name)
    body = [
        f"<style>{bars.STYLE}{diagrams.STYLE}</style>",
        _headline(results, predictions, skipped),
        groups_section(results.get("groups", {}).get(headline(results))),
        _comparison(results.get("comparison"), results.get("paired")),
        _graph(results.get("graph_effect")),
        _curves(folder, history, results),
        _calibration(results, predictions),
        *(_classes(folder, predictions, _unmeasured(results)) if predictions is not None else ()),
        _skipped(skipped),
        _setup(results, config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""),
    ]
    return write_text(folder / "report.html", page.page(title, "taggnn run report", results.get("subtitle", ""), body))


def _headline(results: dict, predictions: Predictions | None, skipped: Sequence[Skipped]) -> str:
    scores = {split: _scores(split, figures) for split, figures in results.get("scores", {}).items()}
    split = headline(results)
    if scores and split not in scores:
        raise unknown("split", split, scores, where="results.json, headline")
    notes = list(results.get("notes") or ())
    if predictions is not None:
        # Without a stated split, rows of several splits cannot be told to belong to these clips.
        ours = [row for row in skipped if split in (None, row.split)]
        unreadable = len(ours) if len({row.split for row in ours}) == 1 else 0
        again = summarise(predictions.probabilities, predictions.labels, unreadable=unreadable)
        split, stated = split or "predictions.csv", scores.get(split)
        if stated is None:
            scores[split] = again
        elif stated.measured != again.measured or abs(stated.top1 - again.top1) > 1e-6:
            notes.append(
                f"results.json and predictions.csv disagree: top-1 {page.percent(stated.top1, 2)} of {stated.measured} "
                f"clips against {page.percent(again.top1, 2)} of {again.measured}. One of the two is of another run or split."
            )
        else:
            # Files of earlier versions lack some of the figures.
            known = {name: value for name, value in stated.figures.items() if value is not None}
            scores[split] = replace(stated, figures={**again.figures, **known})
    if not scores:
        return page.section("Notes", *(_note(text) for text in notes))
    rows = [
        (
            "chosen" if name == split and len(scores) > 1 else "",
            [
                page.cell(name),
                *(page.cell(figure(s.figures.get(key), row), "n") for key, row in METRICS.items()),
                page.cell(f"{s.classes_counted} of {s.classes}", "n"),
                page.cell(_clips(s.measured, s.listed), "n"),
                page.cell(page.number(s.missing), "n"),
                page.cell(page.number(s.unreadable), "n"),
                page.cell(page.number(s.loss), "n"),
            ],
        )
        for name, s in scores.items()
    ]
    titles = ["Split", *(row.heading for row in METRICS.values()), "Classes counted"]
    titles += ["Clips", "Missing", "Unreadable", "Loss"]
    splits = page.table([(title, "n" if place else "") for place, title in enumerate(titles)], rows)
    shown = scores[split]
    heading = f"Accuracy on {split}"
    if not shown.complete:
        heading += f": {_clips(shown.measured, shown.listed)} clips"
        notes.insert(0, _partial(split, shown, _unmeasured(results)))
    ends = results.get("intervals", {}).get(split, {})
    return page.section(
        heading, _tiles(shown, ends), *(_note(text) for text in notes), splits if len(scores) > 1 else ""
    )


def _unmeasured(results: Mapping) -> list[str]:
    return list(results.get("unmeasured", {}).get(headline(results)) or ())


def _partial(split: str, scores: Scores, unmeasured: Sequence[str]) -> str:
    """Says what the figures of a partial set are about."""
    said = f"The figures of {split} are about {scores.coverage()}."
    return f"{said} Also {unmeasured_note(unmeasured, most=None)}." if unmeasured else said


def _clips(measured: int | None, listed: int | None) -> str:
    if listed is None or measured == listed:
        return page.number(measured)
    return f"{page.number(measured)} of {page.number(listed)}"


def _scores(split: str, figures: Mapping) -> Scores:
    try:
        return Scores.read(figures)
    except ValueError as error:
        raise ValueError(f"results.json, scores.{split}: {error}") from error


def _tiles(scores: Scores, ends: Mapping) -> str:
    found = []
    for name, row in METRICS.items():
        value = scores.figures.get(name)
        if value is None:
            continue
        if row.interval == "wilson":
            right = f"{round(value * scores.measured):,} right".replace(",", "\u202f")
            low, high = wilson(value, scores.measured)
            below = f"{right}; 95 % interval {100 * low:.1f}\u00a0to\u00a0{page.percent(high)}"
        else:
            said = between(ends.get(name), row)
            below = row.summary.format(**scores.as_dict()) + (f"; {said}" if said else "")
        found.append(page.tile(figure(value, row), row.heading, below))
    left_out = [
        f"{page.number(clips)} {why}"
        for clips, why in ((scores.missing, "missing"), (scores.unreadable, "unreadable"))
        if clips
    ]
    below = f"{', '.join(left_out)}; counted nowhere" if left_out else "every clip of the list"
    label = "Clips measured" if scores.complete else f"Clips measured of {page.number(scores.listed)} listed"
    found.append(page.tile(page.number(scores.measured), label, below))
    return page.tiles(found)


def _calibration(results: dict, predictions: Predictions | None) -> str:
    if predictions is None:
        return ""
    split = headline(results)
    ece = results.get("scores", {}).get(split, {}).get("ece")
    return calibration_section(predictions, ece, results.get("intervals", {}).get(split, {}).get("ece"))


def _comparison(rows: Sequence[Mapping] | None, paired: Sequence[Mapping] | None) -> str:
    if not rows:
        return ""
    first = ["name", *(key for key in METRICS if any(key in row for row in rows))]
    first += ["measured", "parameters", "seconds"]
    keys = list(dict.fromkeys([*first, *(key for row in rows for key in row if key not in ("chosen", "listed"))]))
    keys = [key for key in keys if any(row.get(key) is not None for row in rows)]
    header = [
        (
            METRICS[key].heading if key in METRICS else TITLES.get(key, key.replace("_", " ").capitalize()),
            "n bar" if key == "top1" else "" if key in ("name", "note") else "n",
        )
        for key in keys
    ]
    lines = []
    for row in rows:
        cells = []
        for key in keys:
            value = row.get(key)
            if key == "top1":
                cells.append(page.bar(value))
            elif key in METRICS:
                cells.append(page.cell(figure(value, METRICS[key]), "n"))
            elif key == "measured":
                cells.append(page.cell(_clips(value, row.get("listed")), "n"))
            elif key == "seconds":
                cells.append(page.cell(page.duration(value), "n"))
            else:
                cells.append(page.cell(page.number(value), "t" if key in ("name", "note") else "n"))
        lines.append(("chosen" if row.get("chosen") else "", cells))
    lead = "The same data and budget under other heads." if len(rows) > 1 else ""
    return page.section("Beside the baseline", page.table(header, lines), paired_rows(paired), lead=lead)


def _graph(effect: Mapping | None) -> str:
    if not effect:
        return ""
    found = []
    if effect.get("top1_with") is not None and effect.get("top1_without") is not None:
        found.append(page.tile(page.percent(effect["top1_with"]), "Top-1 with its edges"))
        found.append(page.tile(page.percent(effect["top1_without"]), "Top-1 without edges"))
    changed, moved = effect.get("changed"), effect.get("relative_logits")
    if changed is not None:
        clips = f"of {page.number(effect['clips'])} clips" if effect.get("clips") else ""
        found.append(page.tile(page.percent(changed), "Predictions that change", clips))
    if moved is not None:
        figure = page.percent(moved) if moved >= 1e-3 else f"{moved:.1e}"
        found.append(page.tile(figure, "Move of the logits", "relative to their size"))
    verdict = ""
    if changed is not None:
        verdict = (
            "No prediction depends on the graph: this model decides as a pooled encoder would."
            if changed == 0
            else "Hardly any prediction depends on the graph."
            if changed < 0.01
            else f"The graph decides {page.percent(changed)} of the predictions."
        )
    below = _graph_test(effect) if changed and effect.get("p") is not None else ""
    lead = f"The trained weights, asked once with the edges and once without any. {page.escape(verdict)}"
    return page.section("What the graph does", page.tiles(found) if found else "", below, lead=lead)


def _graph_test(effect: Mapping) -> str:
    test = McNemar(effect["only_without"], effect["only_with"], effect["p"])
    gain = effect["top1_with"] - effect["top1_without"]
    which = verdict(test, test.p, "the model without edges", "the model with edges")
    said = (
        f"{which[0].upper()}{which[1:]} Top-1 {page.points(gain)} points by its edges "
        f"(95 % interval {page.points(effect['gain_low'])} to {page.points(effect['gain_high'])}; McNemar, "
        f"{page.p_value(test.p)})."
    )
    return f"<p>{page.escape(said)}</p>"


def _curves(folder: Path, history: list[dict[str, float]], results: Mapping) -> str:
    if not history:
        return ""
    best = results.get("best_epoch")
    best = _best_epoch(history) if best is None else int(best)
    parts = parts_of(history, results)
    light = curves(history, best, LIGHT, list(parts))
    drawing = ""
    if light is not None:
        write_bytes(folder / "curves.png", light)
        caption = f"The dotted line marks epoch {best}, whose weights were kept." if best is not None else ""
        drawing = page.picture(
            light, curves(history, best, DARK, list(parts)), "Loss and accuracy over the epochs", caption
        )
    keys = list(dict.fromkeys(key for row in history for key in row))
    rows = [
        ("chosen" if row["epoch"] == best else "", [page.cell(_figure(key, row.get(key)), "n") for key in keys])
        for row in history
    ]
    epochs = page.table([(key, "n") for key in keys], rows, tall=True)
    table = parts_table(parts, history, best, results.get("losses"))
    return page.section(
        "Training",
        drawing,
        table,
        page.details(f"All {len(history)} epochs" if len(history) > 1 else "The epoch", epochs),
    )


def _figure(key: str, value: float | None) -> str:
    metric = METRICS.get(key.rsplit("/")[-1])
    if value is not None and metric is not None:
        return figure(value, metric)
    return page.number(int(value) if value is not None and value.is_integer() and abs(value) < 1e15 else value)


def _best_epoch(history: list[dict[str, float]]) -> int | None:
    for key, sign in (("val/top1", 1), ("val/loss", -1)):
        rows = [row for row in history if math.isfinite(row.get(key, math.nan))]
        if rows:
            return int(max(rows, key=lambda row: sign * row[key])["epoch"])
    return None


def _classes(folder: Path, predictions: Predictions, unmeasured: Sequence[str]) -> list[str]:
    names = predictions.classes
    matrix = confusion_matrix(predictions.probabilities, predictions.labels)
    light = confusion(matrix, names, LIGHT)
    write_bytes(folder / "confusion.png", light)
    caption = (
        '<span class="swatch" style="background:var(--right)"></span> right, '
        '<span class="swatch" style="background:var(--wrong)"></span> mistaken; the deeper the colour, the larger the '
        "share of the row's clips. Rows are the truth, columns what it was taken for."
    )
    absent = int((matrix.sum(dim=1) == 0).sum())
    if absent:
        caption += f" Hatched rows: {absent} {'class' if absent == 1 else 'classes'} without a clip."
    drawing = page.picture(light, confusion(matrix, names, DARK), f"Confusion matrix of {len(names)} classes", caption)
    return [page.section("Confusion", drawing), _mistakes(matrix, names), _per_class(matrix, names, unmeasured)]


def _mistakes(matrix, names: Sequence[str]) -> str:
    worst = worst_confusions(matrix, 12)
    if not worst:
        lead = "No clip was mistaken." if len(names) > 1 else "With a single class nothing can be mistaken."
        return page.section("Worst confusions", f"<p>{lead}</p>")
    support = matrix.sum(dim=1).tolist()
    rows = [
        (
            "",
            [
                _name(c.true, names),
                _name(c.predicted, names),
                page.cell(f"{c.count} of {support[c.true]}", "n"),
                page.bar(c.share, "wrong"),
            ],
        )
        for c in worst
    ]
    header = [("Truth", "t"), ("Taken for", "t"), ("Clips", "n"), ("Share of the truth", "n bar")]
    parts = [page.table(header, rows)]
    both = []
    for p in worst_pairs(matrix, 12):
        clips = support[p.first] + support[p.second]
        cells = [
            _name(p.first, names),
            _name(p.second, names),
            page.cell(f"{p.count} of {clips}", "n"),
            page.bar(p.share, "wrong"),
        ]
        both.append(("", cells))
    header = [("One", "t"), ("The other", "t"), ("Clips", "n"), ("Share of both", "n bar")]
    parts.append(page.details("Pairs most often taken for one another, both directions", page.table(header, both)))
    return page.section("Worst confusions", *parts)


def _per_class(matrix, names: Sequence[str], unmeasured: Sequence[str]) -> str:
    rows = []
    # Worst first; classes without clips, which have no recall, at the end.
    table = sorted(per_class(matrix), key=lambda row: (row.recall is None, row.recall or 0.0, -row.support, row.label))
    for row in table:
        other = "" if row.confused_with is None else f"{row.confused} × {names[row.confused_with]}"
        if names[row.label] in unmeasured:
            other = "not measured: every clip of it is missing or unreadable"
        cells = [
            _name(row.label, names),
            page.cell(page.number(row.support), "n"),
            page.bar(row.recall),
            page.cell(page.percent(row.precision), "n"),
            page.cell("–" if row.f1 is None else f"{row.f1:.3f}", "n"),
            page.cell(other, "t q"),
        ]
        rows.append(("" if row.support else "absent", cells))
    header = [
        ("Class", "t"),
        ("Clips", "n"),
        ("Recall", "n bar"),
        ("Precision", "n"),
        ("F1", "n"),
        ("Most often taken for", "t"),
    ]
    lead = "Sorted by recall, the hardest class first."
    return page.section("Class by class", page.table(header, rows, tall=len(rows) > 25), lead=lead)


def _name(label: int, names: Sequence[str]) -> str:
    return f'<td class="t"><span class="q">{label}</span>&ensp;{page.escape(names[label])}</td>'


def _skipped(skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return ""
    rows = [("", [page.cell(s.split), page.cell(s.path or s.name, "t"), page.cell(s.reason, "t")]) for s in skipped]
    header = [("Split", ""), ("Clip", "t"), ("Reason", "t")]
    clips = "1 clip" if len(skipped) == 1 else f"{page.number(len(skipped))} clips"
    count = f"{clips} could not be used and counted in no figure"
    return page.section(
        "Skipped", page.details(count, page.table(header, rows, tall=len(rows) > 25), opened=len(rows) <= 10)
    )


def _setup(results: dict, config: str) -> str:
    environment = dict(results.get("environment", {}))
    command = environment.pop("command", None)
    if isinstance(command, list):
        command = " ".join(command)
    times = [(f"{part} took", page.duration(seconds)) for part, seconds in results.get("durations", {}).items()]
    described = (*results.get("model", {}).items(), *_evaluated(results.get("evaluation", {})), *environment.items())
    known = [(key.replace("_", " "), value) for key, value in described]
    return page.section(
        "How it was made",
        page.code(command) if command else "",
        page.facts([*known, *times]),
        page.details("Configuration", page.code(config.rstrip())) if config.strip() else "",
    )


def _evaluated(evaluation: Mapping) -> list[tuple[str, str]]:
    """How clips were looked at and what it took, as facts."""
    facts = [(key, evaluation[key]) for key in ("views", "crops", "average", "processes") if key in evaluation]
    if evaluation.get("clips_per_second"):
        facts.append(("clips per second", f"{evaluation['clips_per_second']:.1f}"))
    sizes = [f"{kind} {size / 2**30:.2f} GiB" for kind, size in evaluation.get("peak_memory", {}).items()]
    return [*facts, ("peak memory", ", ".join(sizes))] if sizes else facts


def _note(text: str) -> str:
    return f'<p class="note">{page.escape(text)}</p>'
