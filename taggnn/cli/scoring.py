"""The files that one evaluation leaves in a folder, and its entries of results.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taggnn.data.clips import ClipList
from taggnn.evaluation import metrics
from taggnn.evaluation.predictions import Skipped, write_predictions, write_skipped
from taggnn.evaluation.results import figures_of
from taggnn.evaluation.scoring import Scored
from taggnn.runtime import distributed


def write_scored(
    folder: Path,
    scored: Scored,
    clips: ClipList,
    split: str,
    training_counts: Sequence[int] | None,
    skipped: Sequence[Skipped] = (),
) -> dict[str, Any]:
    """Computes the figures of an evaluation; the first process writes ``predictions.csv`` and ``skipped.csv``.

    Args:
        folder: where to write.
        scored: the predictions.
        clips: the list that was scored.
        split: its name.
        training_counts: training clips of each class, for the long-tail groups; None if they are not known.
        skipped: further clips that could not be read, of other splits.

    Returns:
        The entries of results.json.

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
    scores = metrics.summarise(
        predictions.probabilities,
        predictions.labels,
        missing=len(clips.missing),
        unreadable=len(scored.skipped),
        loss=scored.loss,
    )
    labels = metrics.unmeasured(predictions.labels, clips.listed_counts)
    effect = {} if scored.graph_effect is None else {"graph_effect": scored.graph_effect}
    return {
        **figures_of(split, predictions, scores, training_counts),
        "unmeasured": {split: [clips.classes[label] for label in labels]},
        **effect,
    }
