"""What an ensemble of runs leaves in its folder: predictions.csv, skipped.csv, and the content of results.json."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from taggnn.cli import run_titles
from taggnn.cli.prediction_files import VALIDATION, validation_of
from taggnn.evaluation.calibration import are_probabilities
from taggnn.evaluation.comparison import letter_of
from taggnn.evaluation.ensemble import Choice, choose, fused, shares
from taggnn.evaluation.matching import Aligned, aligned
from taggnn.evaluation.metrics import METRICS, log_loss, summarise
from taggnn.evaluation.paired_comparison import paired_rows
from taggnn.evaluation.predictions import (
    Predictions,
    Skipped,
    read_predictions,
    read_skipped,
    write_predictions,
    write_skipped,
)
from taggnn.evaluation.results import Results
from taggnn.nn.consensus import Average

# What rows of results.json call the average, and that with equal weights.
ENSEMBLE, EQUAL = "ensemble", "equal weights"


@dataclass(frozen=True)
class Members:
    """Runs that are averaged.

    Args:
        sources: what the user gave for each.
        files: their predictions.csv.
        names: "A: title", "B: ...".
        predictions: what the files hold.
        common: the same for the clips that all have.
        val: the predictions of their validation clips, on those that all have; ``None`` where they are not needed.
    """

    sources: list[str]
    files: list[Path]
    names: list[str]
    predictions: list[Predictions]
    common: Aligned
    val: Aligned | None

    def tables(self) -> list[Predictions]:
        """The predictions of each member for the common clips."""
        return [predictions_of(self.common, table) for table in self.common.probabilities]


@dataclass(frozen=True)
class Weights:
    """The weight of each run, with a sum of 1, and how they came about: "equal", "given" or "validation"."""

    shares: list[float]
    chosen: str
    choice: Choice | None = None
    figure: str | None = None


def read_members(sources: Sequence[str], files: Sequence[Path], validation: bool) -> Members:
    """Reads the predictions of every run, and finds the clips that all of them have.

    Args:
        sources: what the user gave.
        files: their predictions.csv.
        validation: whether the predictions of validation clips are read too.

    Raises:
        ValueError: other classes, clips or labels, a run given twice, or what are no probabilities; names the file.
        FileNotFoundError: no such file, or no predictions of validation clips.
    """
    resolved = [file.resolve() for file in files]
    for number, file in enumerate(resolved):
        if file in resolved[:number]:
            raise ValueError(f"{sources[number]}: given twice; a run with more weight gets it by --weights")
    predictions = [_checked(read_predictions(file), file) for file in files]
    common = aligned(predictions, sources)
    val = None
    if validation:
        of_val = validation_of(files, predictions)
        own = [str(file.parent / VALIDATION) for file in files]
        val = aligned([_checked(each, Path(name)) for each, name in zip(of_val, own, strict=True)], own)
        if set(val.classes) != set(common.classes):
            raise ValueError(f"{own[0]}: other classes than {sources[0]} has")
    titles = run_titles.titles(files)
    names = [
        f"{letter_of(number)}: {title or file.resolve().parent.name}"
        for number, (title, file) in enumerate(zip(titles, files, strict=True))
    ]
    return Members(list(sources), list(files), names, predictions, common, val)


def weights_of(members: Members, given: Sequence[float] | None, figure: str | None, average: Average) -> Weights:
    """The weights: given, chosen on the validation clips, or equal.

    Raises:
        ValueError: as `taggnn.evaluation.ensemble.shares` and `choose`.
    """
    if figure is not None:
        assert members.val is not None
        choice = choose(members.val.probabilities, members.val.labels, figure, average)
        return Weights(choice.weights, "validation", choice, figure)
    return Weights(shares(given or [], len(members.files)), "equal" if given is None else "given")


def write_ensemble(
    folder: Path, members: Members, weights: Weights, average: Average, split: str, test_choice: bool
) -> tuple[Results, Predictions]:
    """Writes predictions.csv and skipped.csv of the average, and those of its validation clips where they are known.

    Args:
        folder: where to write.
        members: the runs.
        weights: of each.
        average: what is averaged.
        split: name of the split.
        test_choice: also state what weights picked on these very clips would have claimed.

    Returns:
        The content of results.json, and the predictions.
    """
    common = members.common
    whole = predictions_of(common, fused(common.probabilities, weights.shares, average))
    write_predictions(folder / "predictions.csv", whole)
    if members.val is not None:
        of_val = predictions_of(members.val, fused(members.val.probabilities, weights.shares, average))
        write_predictions(folder / VALIDATION / "predictions.csv", of_val)
    skipped = _skipped(members, split)
    write_skipped(folder / "skipped.csv", skipped)
    tables = members.tables()
    stated = _ensemble(members, weights, average, test_choice)
    results = Results.from_predictions(
        split,
        whole,
        missing=_missing(members, split, len(skipped)),
        unreadable=len(skipped),
        loss=log_loss(whole.probabilities, whole.labels),
        training_counts=_training_counts(members),
        title=f"ensemble of {len(members.files)} runs",
        subtitle=f"{average} averaged clip by clip, {_how(weights)}",
        headline=split,
        comparison=_rows(members, weights, average, whole),
        paired=paired_rows([whole, *tables], [ENSEMBLE, *map(letter_of, range(len(tables)))]),
        ensemble=stated,
        notes=[*_notes(stated), *common.notes, *(members.val.notes if members.val else [])],
    )
    return replace(results, unmeasured=None), whole


def best_single(members: Members) -> tuple[int, str]:
    """The number of the run with the highest top-1, and on which clips: the validation clips where they are known."""
    clips, where = (members.val, "validation") if members.val else (members.common, "these")
    top1 = [summarise(table, clips.labels).top1 for table in clips.probabilities]
    return top1.index(max(top1)), where


def predictions_of(clips: Aligned, probabilities: Any) -> Predictions:
    """Probabilities of aligned clips as predictions."""
    return Predictions(clips.names, clips.paths, clips.labels, probabilities, clips.classes)


def _checked(predictions: Predictions, file: Path) -> Predictions:
    if predictions.names and not are_probabilities(predictions.probabilities):
        raise ValueError(
            f"{file}: its columns p: are no probabilities (rows of numbers from 0 to 1 with a sum of 1), which are averaged; "
            "write the softmax of its scores"
        )
    return predictions


def _skipped(members: Members, split: str) -> list[Skipped]:
    """Clips that some run has and another lacks, and clips that a run could not read, each once."""
    key = members.common.key
    kept = set(map(key, members.common.names))
    rows: dict[str, Skipped] = {}
    for predictions, names, source in zip(members.predictions, members.common.left_out, members.sources, strict=True):
        paths = dict(zip(predictions.names, predictions.paths, strict=True))
        for name in names:
            rows.setdefault(key(name), Skipped(name, paths[name], split, f"in {source}, and not in every run"))
    for file in members.files:
        path = file.parent / "skipped.csv"
        for row in read_skipped(path) if path.is_file() else []:
            if row.split == split and key(row.name) not in kept:
                # The reason of the run that could not read it is the better one.
                rows[key(row.name)] = row
    return list(rows.values())


def _missing(members: Members, split: str, skipped: int) -> int:
    """Listed clips that no run has: of the longest list that is stated, those that are neither averaged nor skipped."""
    listed = [
        scores[split]["listed"] for file in members.files if split in (scores := Results.read(file.parent).scores or {})
    ]
    return max(0, max(listed, default=0) - len(members.common.names) - skipped)


def _training_counts(members: Members) -> list[int] | None:
    """Training clips of each class where all runs were trained on as many."""
    counts = [Results.read(file.parent).counts_of(members.common.classes) for file in members.files]
    return counts[0] if all(one == counts[0] for one in counts) else None


def _rows(members: Members, weights: Weights, average: Average, whole: Predictions) -> list[dict[str, Any]]:
    """The rows of "comparison": the average, that with equal weights, and every run."""
    rows = [{"name": ENSEMBLE, "chosen": True, **_figures(whole)}]
    if weights.chosen != "equal":
        equal = fused(members.common.probabilities, shares([], len(members.files)), average)
        rows.append({"name": EQUAL, "chosen": False, **_figures(predictions_of(members.common, equal))})
    for name, table, weight in zip(members.names, members.tables(), weights.shares, strict=True):
        rows.append({"name": name, "chosen": False, **_figures(table), "weight": weight})
    return rows


def _figures(predictions: Predictions) -> dict[str, Any]:
    scores = summarise(predictions.probabilities, predictions.labels)
    return {**scores.headline(), "measured": scores.measured, "listed": scores.listed}


def _ensemble(members: Members, weights: Weights, average: Average, test_choice: bool) -> dict[str, Any]:
    rows = [
        {"name": name, "source": source, "weight": weight}
        for name, source, weight in zip(members.names, members.sources, weights.shares, strict=True)
    ]
    found: dict[str, Any] = {"average": average, "members": rows, "chosen": weights.chosen}
    if weights.choice is not None:
        assert members.val is not None
        choice = weights.choice
        found |= {"figure": weights.figure, "value": choice.value, "equal": choice.equal, "step": choice.step}
        found["clips"] = len(members.val.names)
    if test_choice:
        figure = weights.figure or "top1"
        picked = choose(members.common.probabilities, members.common.labels, figure, average)
        found["test_choice"] = {"figure": figure, "value": picked.value, "weights": picked.weights}
    return found


def _how(weights: Weights) -> str:
    shown = ", ".join(f"{share:.3g}" for share in weights.shares)
    how = {"equal": "equal weights", "given": f"weights given: {shown}", "validation": f"weights {shown}"}
    return how[weights.chosen] + (", chosen on validation clips" if weights.chosen == "validation" else "")


def _notes(stated: dict[str, Any]) -> list[str]:
    """Sentences on where the weights come from, and on those picked on the test clips."""
    notes = []
    if stated["chosen"] == "validation":
        notes.append(
            f"The weights have the best {_title(stated['figure'])} of the {stated['clips']:,} validation clips, "
            f"{stated['value']:.4f} ({stated['equal']:.4f} with equal weights), among multiples of {stated['step']:.3g}; no test "
            "clip was looked at."
        )
    elif stated["chosen"] == "given":
        notes.append(
            "The weights were given; where they were chosen is not known here. Chosen on test clips, they overstate."
        )
    if picked := stated.get("test_choice"):
        shown = ", ".join(f"{weight:.3g}" for weight in picked["weights"])
        notes.append(
            f"Not a valid figure: weights picked on the test clips themselves ({shown}) would have claimed "
            f"{_title(picked['figure'])} {picked['value']:.4f}."
        )
    return notes


def _title(figure: str) -> str:
    return METRICS[figure].title if figure in METRICS else figure
