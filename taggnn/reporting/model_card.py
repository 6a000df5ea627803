"""MODEL_CARD.md of an exported model: what it is, how to load it, what it was trained and measured on, its limits.

Source: Mitchell et al., "Model Cards for Model Reporting", https://arxiv.org/abs/1810.03993. Everything in it comes from the
checkpoint and from the files of its run; what they do not say is listed as not known.
"""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from taggnn import papers
from taggnn.data import sources
from taggnn.data.capabilities import capabilities_of
from taggnn.evaluation.intervals import wilson
from taggnn.evaluation.longtail import FEW_BELOW
from taggnn.evaluation.metrics import METRICS, Scores, confusion_matrix, worst_pairs
from taggnn.evaluation.predictions import Predictions, read_predictions
from taggnn.evaluation.results import Results, headline
from taggnn.io.exporters import Written
from taggnn.io.loaded import Loaded
from taggnn.reporting.page import between, count, figure, number, p_value, points
from taggnn.reporting.theme import clean

FILE = "MODEL_CARD.md"
# Pairs of classes, and class names, at most.
PAIRS, CLASSES = 5, 1000


def model_card(loaded: Loaded, written: Mapping[str, Written]) -> str:
    """The text of the card.

    Args:
        loaded: from a checkpoint; results.json and predictions.csv in its folder are those of its run.
        written: format -> its file, as `taggnn.io.exporters.export` returns them.

    Raises:
        ValueError: a file of the run cannot be read; names it.
    """
    folder = Path(loaded.source).parent
    results, predictions, doubts = _measured(loaded, folder)
    found = dict(loaded.model.found)
    entries = papers.entries_of(found.pop("papers", "").split(", "))
    parts = [
        _front(loaded),
        f"# {_text(results.get('title') or f'A model of {len(loaded.classes)} classes')}",
        *_section("What it is", _what(loaded, found)),
        *_section("Files", _files(written)),
        *_section("How to load it", _loading(written, loaded)),
        *_section("What it was trained on", _trained(loaded, results)),
        *_section("What it was measured on", _figures(results, predictions)),
        *_section("Limits", _limits(loaded, results)),
        *_section("What is not known", [f"- {_text(doubt)}" for doubt in (*doubts, *_unknown(loaded, results))]),
        *_section("Papers to cite", [f"```bibtex\n{entries}\n```"] if entries else []),
        *_section("Classes", _classes(loaded)),
    ]
    return "\n\n".join(parts) + "\n"


def _measured(loaded: Loaded, folder: Path) -> tuple[dict[str, Any], Predictions | None, list[str]]:
    """The results of the run, its test predictions, and what makes them those of other weights."""
    results = Results.read(folder).to_json()
    if not results.get("scores"):
        return results, None, [f"How good it is: there are no figures in {folder.name}/results.json."]
    best = results.get("best_epoch")
    if best is not None and loaded.epoch is not None and best != loaded.epoch:
        why = f"the figures of its run are those of epoch {best}, and these weights are of epoch {loaded.epoch}"
        return (
            {key: results[key] for key in ("title", "subtitle", "environment") if key in results},
            None,
            [f"How good it is: {why}."],
        )
    table = folder / "predictions.csv"
    predictions = read_predictions(table) if table.is_file() else None
    return results, predictions if predictions is not None and predictions.names else None, []


def _front(loaded: Loaded) -> str:
    kind = "pipeline_tag: video-classification\n" if loaded.spec.kind == "video" else ""
    return f"---\nlibrary_name: taggnn\n{kind}tags: [action-recognition, {loaded.spec.kind}]\n---"


def _what(loaded: Loaded, found: Mapping[str, str]) -> list[str]:
    rows = [*found.items(), ("classes", number(len(loaded.classes)))]
    if loaded.epoch is not None:
        rows.append(("epochs", number(loaded.epoch)))
    steps = capabilities_of(sources.of(loaded.spec)).preprocessing()
    made = "\n".join(f"- {_text(step)}" for step in steps)
    return [_table(("part", "fact"), rows), *(["How an input is made:", made] if steps else [])]


def _files(written: Mapping[str, Written]) -> list[str]:
    rows = [
        (f"`{row.file}`", name, f"{row.size / 2**20:.1f}", f"{row.difference:.0e}", f"{row.same} of {row.clips}")
        for name, row in written.items()
    ]
    columns = ("file", "format", "MiB", "largest difference of a logit", "same first class")
    return [
        _table(columns, rows, plain=False),
        "Compared with the checkpoint on one real clip and on shifted and flipped copies.",
    ]


def _loading(written: Mapping[str, Written], loaded: Loaded) -> list[str]:
    files = [row.file for row in written.values()]
    ending = ".mp4" if loaded.spec.kind == "video" else ""
    if not files:
        return ["No file was written."]
    code = f'import taggnn\n\nloaded = taggnn.load("{files[0]}")\nprint(loaded.predict("clip{ending}"))'
    parts = [f"```python\n{code}\n```", f"```bash\npython -m taggnn.predict clip{ending} --checkpoint {files[0]}\n```"]
    if "onnx" in written and loaded.spec.kind == "video":
        parts.append("Without taggnn and PyTorch: `python infer.py clip.mp4`, with av, numpy and onnxruntime.")
    return parts


def _trained(loaded: Loaded, results: Mapping[str, Any]) -> list[str]:
    environment = results.get("environment") or {}
    rows = [("data", results.get("subtitle"))]
    if counts := loaded.training_counts:
        spread = f"{min(counts)} to {max(counts)}, median {statistics.median(counts):g}"
        rows += [("training clips", number(sum(counts))), ("clips of a class", spread)]
    rows += [(key, loaded.split_options.get(key)) for key in ("dataset", "version")]
    rows += [(key, environment.get(key)) for key in ("date", "seed", "device", "taggnn", "torch")]
    command = environment.get("command")
    shown = [_table(("", ""), [(key, value) for key, value in rows if value not in (None, "")])]
    if command:
        text = " ".join(command) if isinstance(command, list) else str(command)
        shown.append(f"```bash\n{clean(text).replace('```', '')}\n```")
    return shown


def _figures(results: Mapping[str, Any], predictions: Predictions | None) -> list[str]:
    split = headline(results)
    if not results.get("scores") or split is None:
        return []
    scores = Scores.read(results["scores"][split])
    ends = (results.get("intervals") or {}).get(split) or {}
    rows = []
    for name, row in METRICS.items():
        value = scores.figures.get(name)
        if value is not None:
            interval = wilson(value, scores.measured) if row.interval == "wilson" else ends.get(name)
            rows.append((row.heading, figure(value, row), between(interval, row)))
    parts = [
        f"{number(scores.measured)} of {number(scores.listed)} listed clips of the split {_text(split)}, "
        f"{scores.classes_counted} of {scores.classes} classes.",
        _table(("figure", "value", "95 % interval"), rows),
    ]
    for row in results.get("paired") or ():
        top1 = row["top1"]
        parts.append(
            f"Compared with {_text(row['against'])} on the same clips: top-1 {points(top1['value'])} points "
            f"({points(top1['low'])} to {points(top1['high'])}; McNemar, {p_value(row['p'])})."
        )
    if predictions is not None:
        parts += _confused(predictions)
    return parts


def _confused(predictions: Predictions) -> list[str]:
    matrix = confusion_matrix(predictions.probabilities, predictions.labels)
    support, names = matrix.sum(dim=1).tolist(), predictions.classes
    rows = [
        (names[one.first], names[one.second], f"{one.count} of {support[one.first] + support[one.second]}")
        for one in worst_pairs(matrix, PAIRS)
    ]
    return ["Most confused:", _table(("one", "the other", "clips of both"), rows)] if rows else []


def _limits(loaded: Loaded, results: Mapping[str, Any]) -> list[str]:
    classes = len(loaded.classes)
    threshold = None if loaded.calibration is None else loaded.calibration.threshold
    if threshold is None:
        always = (
            f"It answers with one of its {count(classes, 'class', 'classes')}, also where none of them is to be seen;"
        )
        limits = [f"{always} a threshold for that is chosen by taggnn.evaluate --calibrate --risk R."]
    else:
        limits = [f"Below the probability {threshold:.3f} its answer counts as none (taggnn.predict --reject)."]
    few = [name for name, clips in zip(loaded.classes, loaded.training_counts or (), strict=False) if clips < FEW_BELOW]
    if few:
        limits.append(
            f"{count(len(few), 'class has', 'classes have')} fewer than {FEW_BELOW} training clips: {_some(few)}."
        )
    absent = (results.get("unmeasured") or {}).get(headline(results) or "") or []
    if absent:
        limits.append(f"Not one clip was measured of {count(len(absent), 'class', 'classes')}: {_some(absent)}.")
    effect = results.get("graph_effect") or {}
    if effect.get("changed") is not None and effect["changed"] < 0.01:
        limits.append("Hardly any prediction depends on the edges of its graph.")
    if loaded.calibration is None:
        limits.append("Its probabilities are not calibrated.")
    limits += results.get("notes") or ()
    return [f"- {_text(limit)}" for limit in limits]


def _unknown(loaded: Loaded, results: Mapping[str, Any]) -> list[str]:
    doubts = []
    if results.get("scores") and not results.get("paired"):
        doubts.append("Whether another model is better on the same clips: it was compared with none.")
    if loaded.training_counts is None:
        doubts.append("How many clips of each class it was trained on.")
    return [
        *doubts,
        "How it does on other data than those above: other people, rooms, cameras, frame rates.",
        "Whether it does equally well for all groups of people: the files of the run do not say who is in a clip.",
        "Whether the people in the clips agreed to this use, and under which licences the clips and the published weights that "
        "it began with are: their publishers say so.",
        "How fast it is on other machines; export.json has the time on the one that exported it.",
    ]


def _classes(loaded: Loaded) -> list[str]:
    names = list(loaded.classes)
    shown = "\n".join(f"{label}. {_text(name)}" for label, name in enumerate(names[:CLASSES]))
    more = f"\n\nand {len(names) - CLASSES} more, in the model's file" if len(names) > CLASSES else ""
    return [
        f"<details><summary>{count(len(names), 'class', 'classes')}, by number</summary>\n\n{shown}{more}\n\n</details>"
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - PAIRS} more" if len(names) > PAIRS else ""
    return ", ".join(names[:PAIRS]) + more


def _section(title: str, parts: Iterable[str]) -> list[str]:
    given = list(parts)
    # Consecutive items make one list.
    joined = re.sub(r"(\n- [^\n]*)\n(?=\n- )", r"\1", "\n" + "\n\n".join(given))[1:]
    return [f"## {title}", joined] if given else []


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]], plain: bool = True) -> str:
    lines = [columns, ["---"] * len(columns)]
    lines += [[_text(str(cell)) if plain else str(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: Any) -> str:
    """A text as Markdown shows it: on one line, and nothing in it is markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(clean(str(text)).split()))
