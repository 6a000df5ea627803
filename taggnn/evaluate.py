"""``python -m taggnn.evaluate --checkpoint X --data.root DIR``: how well a checkpoint does on labelled videos.

Writes predictions.csv, skipped.csv, confusion.png, results.json and report.html into a folder, and prints the figures.
"""

import sys
from collections.abc import Sequence

from taggnn.cli import calibrating, launch, rescoring, terminal
from taggnn.cli.evaluating import evaluate, parser
from taggnn.evaluation.predictions import read_predictions
from taggnn.evaluation.results import Results
from taggnn.reporting.console import print_evaluation


def main(arguments: Sequence[str]) -> None:
    if rescoring.is_requested(arguments):
        return rescoring.main(arguments)
    with launch.silence_other_ranks():
        given = parser().parse_args(arguments)
        calibrating.check(given)
    folder = evaluate(given, arguments)
    if folder is not None:
        predictions = read_predictions(folder / "predictions.csv")
        report = folder / "report.html"
        print_evaluation(Results.read(folder).to_json(), given.split, predictions, folder, report)


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.evaluate"))
