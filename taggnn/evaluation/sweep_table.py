"""What a sweep found, for its table, its page and its files; made by `taggnn.cli.sweeping.table`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from taggnn.evaluation.variants import Variants


@dataclass(frozen=True)
class Cost:
    """Size of a model and its cost for one clip; a figure that is not known is None.

    Args:
        parameters, head_parameters: of the whole model, and of its head.
        macs, head_macs: multiply-adds, likewise.
        ms, head_ms: milliseconds, likewise, where they were measured.
    """

    parameters: int
    head_parameters: int
    macs: int | None
    head_macs: int | None
    ms: float | None = None
    head_ms: float | None = None


@dataclass(frozen=True)
class SweepTable:
    """The table of a sweep.

    Args:
        title: what was swept.
        keys: the keys that vary.
        values: variant -> key -> its value.
        found: means, spreads and differences; None while no run of the reference is finished.
        reference: the variant that the others are compared with.
        costs: variant -> its cost; a variant without a readable checkpoint has none.
        one_backbone: whether all variants have the same backbone, so that only heads differ in cost.
        planned: variant -> its seeds.
        left_out: why runs that are there were left out.
        measured_on: where the times were measured; None without times.
        folds: that each variant was trained on with every seed; 0 without folds.
        monitor: the figure by which each run chose its epoch.
        validation: variant -> the best value of that figure, mean over its runs, by which a variant is chosen without test clips.
    """

    title: str
    keys: list[str]
    values: Mapping[str, Mapping[str, str]]
    found: Variants | None
    reference: str
    costs: Mapping[str, Cost]
    one_backbone: bool
    planned: Mapping[str, list[int]]
    left_out: list[str]
    measured_on: str | None = None
    folds: int = 0
    monitor: str = ""
    validation: Mapping[str, float] = field(default_factory=dict)

    @property
    def finished(self) -> int:
        """Number of runs in the table."""
        return sum(len(row.seeds) for row in self.found.rows) * (self.folds or 1) if self.found else 0

    @property
    def runs(self) -> int:
        """Number of runs that are planned."""
        return sum(map(len, self.planned.values())) * (self.folds or 1)

    def notes(self) -> list[str]:
        """Sentences that a reader of the table must know."""
        runs = self.runs
        shown = []
        if self.finished < runs:
            shown.append(f"{self.finished} of {runs} runs are finished; the others are not in the table.")
        rows = self.found.rows if self.found else []
        compared = [row for row in rows if row.difference]
        alone = [row.name for row in compared if not row.over_seeds]
        if rows and max(len(row.seeds) for row in rows) == 1:
            shown.append(
                "One seed for each variant: an interval over seeds is not known. What is shown is over the clips only; another "
                "seed may change any of these figures by more."
            )
        elif alone:
            shown.append(
                f"{', '.join(alone)}: one seed in common with the reference, so that an interval over seeds is not known; it is "
                "over the clips only."
            )
        if few := sorted({len(row.paired) for row in compared if 1 < len(row.paired) < 5}):
            shown.append(
                f"With {' or '.join(map(str, few))} seeds the spread over seeds is known only roughly, and the intervals with it."
            )
        groups = {row.groups for row in compared if row.groups}
        if groups and min(groups) < 10:
            shown.append(
                f"{min(groups)} groups: the spread over groups is known only roughly, and intervals are somewhat too narrow."
            )
        if len(compared) > 1:
            shown.append(
                f"{len(compared)} variants are compared with the reference, each by itself: of 20 that do not differ, about one "
                "has an interval without 0."
            )
        shown += self.found.notes if self.found else []
        return shown + self.left_out
