"""The types of the fields of results.json; further keys are kept and not looked at."""

from typing import Annotated, Any

from typing_extensions import NotRequired, TypedDict

from taggnn.evaluation.metrics import METRICS, Scores
from taggnn.io.calibrated import CalibrationFields
from taggnn.runtime import schema
from taggnn.runtime.schema import Count, Range

Share = Annotated[float, Range(0, 1)]
Epoch = Annotated[int, Range(0, 10**9)]
Ends = tuple[float, float]


class SplitScores(TypedDict, total=False):
    """``Scores.as_dict()``, which ``Scores.read`` finds complete."""

    top1: Share
    classes_counted: Count
    classes: Count
    listed: Count
    missing: Count
    unreadable: Count
    measured: Count


class Intervals(TypedDict):
    """How the bootstrap was made; the interval of each figure has the name of its metric."""

    level: Share
    resamples: Count
    seed: Count


class GroupFields(TypedDict):
    """``longtail.Group``."""

    name: str
    classes: Count
    classes_counted: Count
    clips: Count
    training_clips: Count
    mca: float | None
    interval: NotRequired[Ends | None]


class PartFields(TypedDict):
    """``within.Part``."""

    name: str
    classes: Count
    clips: Count
    top1: Share | None
    within: Share | None
    found: Share | None


class WithinFields(TypedDict):
    """``within.Within``."""

    kind: str
    groups: Count
    within: Share
    interval: Ends
    class_mean: Share
    found: Share
    chance: Share
    parts: list[PartFields]


class Difference(TypedDict):
    """A difference of two heads, and its interval."""

    value: float
    low: float
    high: float


class Confused(TypedDict):
    """``confusions.ConfusedPair``: first is the model that the row's one is compared with."""

    one: str
    other: str
    clips: Count
    first: Count
    second: Count
    only_first: Count
    only_second: Count
    p: Share
    p_holm: Share


class Pair(TypedDict):
    """Two heads on the same clips."""

    name: str
    against: str
    clips: Count
    top1: Difference
    only_name: Count
    only_against: Count
    p: Share
    p_holm: NotRequired[Share | None]
    verdict: NotRequired[str]
    confused: NotRequired[list[Confused]]
    source: NotRequired[str]


class Compared(TypedDict):
    """One head of the table."""

    name: str
    chosen: NotRequired[bool]
    measured: NotRequired[Count | None]
    listed: NotRequired[Count | None]
    parameters: NotRequired[Count | None]
    seconds: NotRequired[float | None]
    source: NotRequired[str]


class Member(TypedDict):
    """One of several averaged runs."""

    name: str
    source: str
    weight: Share


class TestChoice(TypedDict):
    """What weights picked on the test clips would have claimed."""

    figure: str
    value: float
    weights: list[Share]


class Ensemble(TypedDict):
    """How predictions of several runs were averaged."""

    average: str
    members: list[Member]
    chosen: str
    figure: NotRequired[str]
    value: NotRequired[float]
    equal: NotRequired[float]
    clips: NotRequired[Count]
    step: NotRequired[Share]
    test_choice: NotRequired[TestChoice]


class GraphEffect(TypedDict):
    """The same weights with and without edges."""

    top1_with: Share
    top1_without: Share
    changed: Share
    relative_logits: NotRequired[float | None]
    p: NotRequired[Share | None]


class GraphTest(TypedDict):
    """McNemar's test and the interval of the same, where there is a p."""

    only_with: Count
    only_without: Count
    gain_low: float
    gain_high: float


class Measured(TypedDict):
    """The clips that were measured, at temperature 1, and at the threshold."""

    split: str
    loss: float
    ece: Share
    coverage: NotRequired[Share | None]
    risk: NotRequired[Share | None]


class Calibrated(CalibrationFields):
    """The calibration of the model, and what it does on the clips that were measured."""

    measured: NotRequired[Measured]


class Evaluation(TypedDict):
    """How an evaluation was made, and what it cost."""

    views: NotRequired[Count]
    crops: NotRequired[Count]
    average: NotRequired[str]
    processes: NotRequired[Count]
    clips_per_second: NotRequired[float | None]
    peak_memory: NotRequired[dict[str, Count]]


class Loss(TypedDict):
    """A named loss."""

    weight: NotRequired[float | None]
    last: NotRequired[float | None]


class Fields(TypedDict):
    """The fields of ``Results``."""

    title: NotRequired[str | None]
    subtitle: NotRequired[str | None]
    scores: NotRequired[dict[str, SplitScores] | None]
    intervals: NotRequired[dict[str, Intervals] | None]
    groups: NotRequired[dict[str, list[GroupFields] | None] | None]
    within: NotRequired[dict[str, list[WithinFields]] | None]
    class_groups: NotRequired[dict[str, dict[str, str]] | None]
    training_counts: NotRequired[dict[str, Count] | None]
    paired: NotRequired[list[Pair] | None]
    unmeasured: NotRequired[dict[str, list[str]] | None]
    headline: NotRequired[str | None]
    best_epoch: NotRequired[Epoch | None]
    comparison: NotRequired[list[Compared] | None]
    ensemble: NotRequired[Ensemble | None]
    graph_effect: NotRequired[GraphEffect | None]
    calibration: NotRequired[Calibrated | None]
    model: NotRequired[dict[str, Any] | None]
    environment: NotRequired[dict[str, Any] | None]
    evaluation: NotRequired[Evaluation | None]
    losses: NotRequired[dict[str, Loss] | None]
    durations: NotRequired[dict[str, float | None] | None]
    notes: NotRequired[list[str] | None]


def check(content: dict[str, Any], where: str) -> None:
    """Checks the content of results.json.

    Args:
        content: plain types.
        where: the file, for messages.

    Raises:
        ValueError: names the file and the field.
    """
    schema.check(content, Fields, where)
    for split, figures in (content.get("scores") or {}).items():
        try:
            Scores.read(figures)
        except ValueError as error:
            raise ValueError(f"{where}, scores.{split}: {error}") from error
    # Figures are named by the metrics, of which there may be any.
    for split, ends in (content.get("intervals") or {}).items():
        _check_metrics(ends, Ends | None, f"{where}, intervals.{split}")
    for number, row in enumerate(content.get("paired") or ()):
        _check_metrics(row, Difference | None, f"{where}, paired[{number}]")
    for number, row in enumerate(content.get("comparison") or ()):
        _check_metrics(row, float | None, f"{where}, comparison[{number}]")
    effect = content.get("graph_effect") or {}
    if effect.get("p") is not None:
        schema.check(effect, GraphTest, f"{where}, graph_effect")
    command = (content.get("environment") or {}).get("command", "")
    schema.check(command, str | list[str], f"{where}, environment.command")


def _check_metrics(row: dict[str, Any], kind: Any, where: str) -> None:
    for name in METRICS:
        if name in row:
            schema.check(row[name], kind, f"{where}.{name}")
