"""The files that one evaluation leaves in a folder, and its entries of results.json."""

from collections.abc import Sequence
from pathlib import Path

from taggnn.cli.prediction_files import VALIDATION
from taggnn.data.clips import ClipList
from taggnn.evaluation.predictions import Skipped, write_predictions, write_skipped
from taggnn.evaluation.results import Results
from taggnn.evaluation.scoring import Scored
from taggnn.runtime import distributed


def write_scored(
    folder: Path,
    scored: Scored,
    clips: ClipList,
    split: str,
    training_counts: Sequence[int] | None,
    skipped: Sequence[Skipped] = (),
) -> Results:
    """Computes the figures of an evaluation; the first process writes ``predictions.csv`` and ``skipped.csv``.

    Args:
        folder: where to write.
        scored: the predictions.
        clips: the list that was scored.
        split: its name.
        training_counts: training clips of each class, for the long-tail groups; None if they are not known.
        skipped: further clips that could not be read, of other splits.

    Returns:
        What results.json has about these predictions.

    Raises:
        ValueError: no clip could be read.
    """
    predictions = scored.predictions
    if distributed.is_main_process():
        write_skipped(folder / "skipped.csv", [*skipped, *scored.skipped])
    if predictions is None:
        raise ValueError(f"none of the {len(clips)} {split} clips could be read; see {folder / 'skipped.csv'}")
    if distributed.is_main_process():
        write_predictions(folder / "predictions.csv", predictions)
    return Results.from_predictions(
        split,
        predictions,
        missing=len(clips.missing),
        unreadable=len(scored.skipped),
        loss=scored.loss,
        listed_counts=clips.listed_counts,
        training_counts=training_counts,
        class_groups=clips.class_groups,
        graph_effect=scored.graph_effect,
    )


def write_validation(folder: Path, scored: Scored) -> None:
    """Writes the predictions of the validation clips, by which `taggnn.ensemble` can choose weights: ``val/predictions.csv``.

    Args:
        folder: the run.
        scored: the predictions; nothing is written where no clip could be read.
    """
    if scored.predictions is not None and distributed.is_main_process():
        write_predictions(folder / VALIDATION / "predictions.csv", scored.predictions)
