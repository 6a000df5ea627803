"""The chosen head compared with the others of the same run, on the same test clips."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from taggnn.evaluation.confusions import confused_pairs
from taggnn.evaluation.matching import matched
from taggnn.evaluation.predictions import Predictions, read_predictions
from taggnn.evaluation.significance import Difference, differences, holm, top1_test, verdict


def paired_comparison(run_dirs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """The rows of "paired" in results.json: first head minus each other one, with intervals and McNemar's test.

    Args:
        run_dirs: head -> the folder with its predictions.csv, the chosen head first; fewer than two have no row.

    Raises:
        ValueError: as `taggnn.evaluation.matching.matched`.
    """
    if len(run_dirs) < 2:
        return []
    return paired_rows([read_predictions(run_dir / "predictions.csv") for run_dir in run_dirs.values()], list(run_dirs))


def paired_rows(files: Sequence[Predictions], names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of "paired" in results.json: the first predictions minus each of the others.

    Args:
        files: predictions, two or more.
        names: what rows call them.

    Raises:
        ValueError: as `taggnn.evaluation.matching.matched`.
    """
    both = matched(files, names)
    chosen, others = both.answers[0], both.answers[1:]
    apart = differences(both.answers, both.scores)
    tests = [top1_test(other, chosen) for other in others]
    corrected = holm([test.p for test in tests])
    return [
        {
            "name": names[0],
            "against": other,
            "clips": len(both.names),
            # The differences are of the others minus the first; 0 - 0 is 0, where its negative would print as -0.0.
            **{key: asdict(Difference(0 - row.value, 0 - row.high, 0 - row.low)) for key, row in found.items()},
            "only_name": test.only_second,
            "only_against": test.only_first,
            "p": test.p,
            "p_holm": p,
            "verdict": verdict(test, p, other, names[0]),
            # Of the other one first, as everywhere "with" follows "without".
            "confused": [asdict(row) for row in confused_pairs(model, chosen, both.classes)],
        }
        for other, model, found, test, p in zip(names[1:], others, apart, tests, corrected, strict=True)
    ]
