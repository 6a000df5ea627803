"""``python -m taggnn.report RUN --against OTHER``: a run compared with another one, such as without a plug, in its own report."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from taggnn.cli import run_titles
from taggnn.cli.prediction_files import file_of, split_of
from taggnn.evaluation.matching import matched
from taggnn.evaluation.metrics import Scores
from taggnn.evaluation.paired_comparison import paired_rows
from taggnn.evaluation.predictions import read_predictions
from taggnn.evaluation.results import Results
from taggnn.evaluation.significance import holm


def add_comparison(run_dir: str, others: list[str]) -> list[str]:
    """Adds comparisons with other runs to the results.json of a run; those with the same runs are replaced.

    Args:
        run_dir: the run.
        others: run folders, evaluation folders or predictions.csv files.

    Returns:
        Sentences on clips that were left out.

    Raises:
        FileNotFoundError: a run without predictions.
        ValueError: the run itself, another split, or what cannot be compared; names the file.
    """
    files = [file_of(run) for run in (run_dir, *others)]
    split_of(files)
    for other, file in zip(others, files[1:], strict=True):
        if file.resolve() == files[0].resolve():
            raise ValueError(f"--against {other}: the run itself")
    folder = files[0].parent
    results = Results.read(folder)
    notes: list[str] = []
    paired = [row for row in results.paired or [] if row.get("source") not in others]
    comparison = [row for row in results.comparison or [] if row.get("source") not in others]
    own = read_predictions(files[0])
    for source, file in zip(others, files[1:], strict=True):
        predictions = read_predictions(file)
        both = matched([own, predictions], [run_dir, source])
        notes += both.notes
        first, second = _names(files[0], file)
        (row,) = paired_rows([own, predictions], [first, second])
        paired.append({**row, "source": source})
        if not comparison:
            comparison.append(_row(first, both.scores[0], True))
        comparison.append({**_row(second, both.scores[1], False), "source": source})
    corrected = holm([row["p"] for row in paired])
    paired = [{**row, "p_holm": p} for row, p in zip(paired, corrected, strict=True)]
    replace(results, paired=paired, comparison=comparison).write(folder)
    return notes


def _names(own: Path, other: Path) -> list[str]:
    """What the two are called: their titles with what differs, or their folders."""
    files = [own, other]
    found = [title or file.resolve().parent.name for title, file in zip(run_titles.titles(files), files, strict=True)]
    return found if found[0] != found[1] else [f"{found[0]} ({file.resolve().parent.name})" for file in files]


def _row(name: str, scores: Scores, chosen: bool) -> dict[str, Any]:
    return {
        "name": name,
        "chosen": chosen,
        **scores.headline(),
        "measured": scores.measured,
        "listed": scores.listed,
    }
