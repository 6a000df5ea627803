"""The keys of a checkpoint: where each is written, and its type.

    format, architecture, split_options, trained_on, optimisation, seed    ``header_of`` of cli/build.py
    model, optimiser, scaler, steps, averaged weights    ``Step.state_dict`` of training/step.py; training/ema.py
    progress, history, loggers    ``Trainer.save`` of training/loop.py
    calibration    ``calibrate`` of checkpoint.py, for ``taggnn.evaluate --calibrate``; absent before

Loading takes those of ``Content`` and ``LoadedFields``, resuming those of ``Resumable`` as well.
"""

from typing import Any

from torch import Tensor
from typing_extensions import NotRequired, TypedDict

from taggnn.io.calibrated import CalibrationFields
from taggnn.runtime.schema import Count


class ProgressFields(TypedDict):
    """Fields of ``taggnn.training.progress.Progress``."""

    epoch: Count
    position: NotRequired[Count]
    step: NotRequired[Count]
    clips: NotRequired[Count]
    losses: NotRequired[dict[str, list[float]]]


class TrainedOn(TypedDict):
    """What a run was trained on: fingerprints of its lists, identity of its tokens, training clips of each class."""

    clips: NotRequired[dict[str, str]]
    tokens: NotRequired[dict[str, Any] | None]
    counts: NotRequired[list[Count] | None]


class LoadedFields(TypedDict):
    """Fields that a loaded model keeps, and that exported files hold as well: ``Loaded.read`` and ``Loaded.plain``."""

    calibration: NotRequired[CalibrationFields | None]


class Content(LoadedFields):
    """The fields of a checkpoint that loading needs, besides those of ``architecture.Described``."""

    format: int
    model: dict[str, Tensor]
    progress: ProgressFields
    trained_on: TrainedOn


class HistoryFields(TypedDict):
    """``History.state_dict()``."""

    rows: list[dict[str, float]]
    skipped: dict[str, tuple[str, str, str, str]]
    spent: float


class Steps(TypedDict):
    """Steps that were skipped because of an overflow: all, and the last ones in a row."""

    left_out: Count
    overflows: Count


class OptimiserFields(TypedDict):
    """The state dict of an optimiser."""

    state: dict[int, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class Resumable(TypedDict):
    """The fields of a checkpoint that resuming needs besides."""

    progress: ProgressFields
    history: HistoryFields
    loggers: dict[str, str | None]
    steps: Steps
    optimiser: OptimiserFields
    scaler: dict[str, Any]
