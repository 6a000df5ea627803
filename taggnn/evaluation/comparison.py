"""Several recognisers: the figures of each, and how each differs from the first.

Axes: S clips that all of them answered to, K classes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from taggnn.evaluation.confusions import ConfusedPair, OnConfused, confused_pairs, hardest, most_confused, on_confused
from taggnn.evaluation.intervals import LEVEL, RESAMPLES, Answers
from taggnn.evaluation.matching import Matched
from taggnn.evaluation.metrics import Scores
from taggnn.evaluation.results import intervals_of
from taggnn.evaluation.significance import (
    ONE_RUN_EACH,
    Difference,
    McNemar,
    differences,
    holm,
    recalls,
    top1_test,
    verdict,
)


@dataclass(frozen=True)
class Model:
    """One of those compared.

    Args:
        letter: "A", "B", ...
        source: the file.
        title: of its results.json; empty without one.
        scores: its figures on the common clips.
        intervals: [low, high] of each figure.
    """

    letter: str
    source: str
    title: str
    scores: Scores
    intervals: dict[str, list[float]]


@dataclass(frozen=True)
class ClassChange:
    """Clips of a class, and how many of them each of two models has right."""

    name: str
    clips: int
    first: int
    second: int

    @property
    def gain(self) -> float:
        """Recall of the second minus that of the first."""
        return (self.second - self.first) / self.clips


@dataclass(frozen=True)
class ClipChange:
    """A clip that two models predict differently: ``change`` is "gained", "lost" or "other" (both are wrong)."""

    name: str
    truth: str
    first: str
    second: str
    change: str


@dataclass(frozen=True)
class Pair:
    """One model against the first.

    Args:
        first: letter of the first.
        second: letter of the other.
        differences: second minus first, by figure.
        test: McNemar's, on top-1.
        p_holm: its p-value, corrected for the number of models that are compared with the first.
        both_right: clips that both have right.
        both_wrong: clips that both have wrong.
        classes: every class that occurs, those that gained most first.
        changed: every clip with another predicted class, in the order of the list.
        confused: the pairs of classes that both together confuse most.
        on_confused: accuracy on the clips of the classes of the first ``hardest`` of them; ``None`` where nothing is confused.
    """

    first: str
    second: str
    differences: dict[str, Difference]
    test: McNemar
    p_holm: float
    both_right: int
    both_wrong: int
    classes: list[ClassChange]
    changed: list[ClipChange]
    confused: list[ConfusedPair]
    on_confused: OnConfused | None

    @property
    def verdict(self) -> str:
        """The result of the test, in a sentence."""
        return verdict(self.test, self.p_holm, self.first, self.second)


@dataclass(frozen=True)
class Comparison:
    """Everything that comparison.json holds.

    Args:
        clips: S.
        classes: K.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        level: share of resamples inside an interval.
        notes: sentences a reader must know.
        models: in the order given.
        pairs: every model but the first, against the first.
    """

    clips: int
    classes: int
    resamples: int
    seed: int
    level: float
    notes: list[str]
    models: list[Model]
    pairs: list[Pair]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain types, for JSON; with the verdicts."""
        plain = asdict(self)
        for pair, row in zip(self.pairs, plain["pairs"], strict=True):
            row["verdict"] = pair.verdict
        for model, row in zip(self.models, plain["models"], strict=True):
            row["scores"] = model.scores.as_dict()
        return plain


def compared(
    both: Matched, sources: Sequence[str], titles: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Compares every model with the first.

    Args:
        both: their predictions for the common clips.
        sources: the file of each.
        titles: of each.
        resamples: of the bootstrap (default 2000).
        seed: of the bootstrap (default 0).
    """
    letters = [letter_of(number) for number in range(len(both.answers))]
    models = [
        Model(letter, source, title, scores, intervals_of(model, scores, resamples, seed)[0])
        for letter, source, title, scores, model in zip(
            letters, sources, titles, both.scores, both.answers, strict=True
        )
    ]
    apart = differences(both.answers, both.scores, resamples, seed)
    first, others = both.answers[0], both.answers[1:]
    tests = [top1_test(first, other) for other in others]
    corrected = holm([test.p for test in tests])
    pairs = [
        _pair(both, letters[0], letter, first, other, found, test, p)
        for letter, other, found, test, p in zip(letters[1:], others, apart, tests, corrected, strict=True)
    ]
    return Comparison(
        len(both.names), len(both.classes), resamples, seed, LEVEL, [*both.notes, ONE_RUN_EACH], models, pairs
    )


def letter_of(number: int) -> str:
    """0 -> "A", 25 -> "Z", 26 -> "AA"."""
    return (letter_of(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def _pair(
    both: Matched,
    letter: str,
    other_letter: str,
    first: Answers,
    second: Answers,
    found: dict[str, Difference],
    test: McNemar,
    p_holm: float,
) -> Pair:
    support, right = recalls(first)
    rows = zip(both.classes, support.tolist(), right.tolist(), recalls(second)[1].tolist(), strict=True)
    classes = [ClassChange(*row) for row in rows if row[1]]
    changed, first_right, second_right = [], first.right.tolist(), second.right.tolist()
    for clip in (first.predicted != second.predicted).nonzero().flatten().tolist():
        change = "gained" if second_right[clip] else "lost" if first_right[clip] else "other"
        truth, one, two = (
            both.classes[int(numbers[clip])] for numbers in (first.labels, first.predicted, second.predicted)
        )
        changed.append(ClipChange(both.names[clip], truth, one, two, change))
    return Pair(
        first=letter,
        second=other_letter,
        differences=found,
        test=test,
        p_holm=p_holm,
        both_right=int((first.right & second.right).sum()),
        both_wrong=int((~first.right & ~second.right).sum()),
        classes=sorted(classes, key=lambda row: (-row.gain, -row.clips, row.name)),
        changed=changed,
        confused=confused_pairs(first, second, both.classes),
        on_confused=on_confused(first, second, most_confused([first, second], hardest(first.classes))),
    )
