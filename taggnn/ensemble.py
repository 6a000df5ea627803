"""``python -m taggnn.ensemble RUN RUN ...``: the predictions of runs, averaged clip by clip, with a report like that of any run.

Streams of one skeleton set, or an RGB and a skeleton model of the same clips; models and clips are not needed. Weights are equal,
given, or chosen on validation clips, never on the test. Writes predictions.csv, skipped.csv, results.json and report.html.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from taggnn.cli import ensembling, terminal
from taggnn.cli.parser import Parser
from taggnn.cli.prediction_files import file_of, split_of
from taggnn.evaluation.ensemble import check_figure, shares
from taggnn.evaluation.metrics import METRICS
from taggnn.evaluation.results import Results
from taggnn.io import environment
from taggnn.io.run_folder import new_folder, writable
from taggnn.nn.consensus import Average
from taggnn.reporting.console import print_evaluation
from taggnn.reporting.page import p_value
from taggnn.reporting.run_page import write_report
from taggnn.runtime.printable import one_line


def main(arguments: Sequence[str]) -> None:
    built = parser()
    given = built.parse_args(built.as_lists(arguments))
    if len(given.runs) < 2:
        raise ValueError(f"{given.runs[0]}: an ensemble needs two runs or more")
    if given.weights is not None and given.choose is not None:
        raise ValueError("--weights and --choose both say how much each run counts: give one of them")
    if given.choose is not None:
        check_figure(given.choose)
    shares(given.weights or [], len(given.runs))
    files = [file_of(run) for run in given.runs]
    split = split_of(files)
    members = ensembling.read_members(given.runs, files, validation=given.choose is not None)
    weights = ensembling.weights_of(members, given.weights, given.choose, given.average)
    folder = writable(Path(given.out)) if given.out else new_folder(Path("runs") / "ensemble")
    results, predictions = ensembling.write_ensemble(
        *(folder, members, weights, given.average, split, given.show_test_choice)
    )
    results = replace(results, environment=environment.describe(torch.device("cpu"), seed=0))
    results.write(folder)
    for line in lines(results, ensembling.best_single(members)):
        print(one_line(line))
    print_evaluation(results.to_json(), split, predictions, folder, write_report(folder))


def lines(results: Results, best: tuple[int, str]) -> list[str]:
    """The runs with their weights, what is to be known, and the comparison with the best of them, for the screen."""
    assert results.comparison is not None
    assert results.paired is not None
    shown = [f"{'':9} weight     top-1"]
    for row in results.comparison:
        weight = f"{row['weight']:6.3f}" if "weight" in row else " " * 6
        shown.append(f"{'':9} {weight}  {METRICS['top1'].text(row['top1']):>8}  {row['name']}")
    shown += [f"{'':9} {note}" for note in results.notes or ()]
    number, where = best
    row = results.paired[number]
    p = f"McNemar {p_value(row['p'])}, {p_value(row['p_holm'])} after Holm"
    points = " to ".join(f"{100 * row['top1'][end]:+.2f}" for end in ("low", "high"))
    shown += [
        f"{row['name']} against the best single run ({row['against']}, by {METRICS['top1'].title} on {where} clips):",
        f"  top-1 {100 * row['top1']['value']:+.2f} points ({points}); {p}",
        f"  {row['verdict']}",
    ]
    return shown


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.ensemble", description="Averages the predictions of runs for the same clips.")
    add, option = built.add_argument, built.option
    add("runs", nargs="+", type=str, help="run folders, evaluation folders or predictions.csv files")
    option("--weights", list[float] | None, None, "one for each run, 0 or more; null: equal ones")
    figures = ", ".join([*METRICS, "loss"])
    option("--choose", str | None, None, f"choose weights by this figure of the validation clips: {figures}")
    option(
        "--average",
        Average,
        "probabilities",
        "what is averaged: probabilities, or logits (and a softmax of the average)",
    )
    option("--show_test_choice", bool, False, "also state what weights picked on the test clips would have claimed")
    option("--out", str | None, None, "folder of the results; null: runs/ensemble/<time>")
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.ensemble"))
