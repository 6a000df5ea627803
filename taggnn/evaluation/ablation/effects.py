"""What interventions do to the answers of a trained model: accuracy, logits, classes.

Axes: M clips, K classes, D draws.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from taggnn.data.clips import ClipList
from taggnn.evaluation.ablation import INTERVENTIONS, Altered, NotApplicable
from taggnn.evaluation.intervals import Answers, wilson
from taggnn.evaluation.metrics import predicted_classes
from taggnn.evaluation.predictions import Skipped
from taggnn.evaluation.seeds import difference_over_seeds
from taggnn.evaluation.significance import Difference, recalls, top1_difference
from taggnn.model import as_output
from taggnn.names import unknown
from taggnn.types import Batch

# The sentence that stands above every table of such figures.
MEANING = (
    "The weights are those of the trained model and nothing is trained again: a row says what these weights use, not whether a "
    "network trained that way would do as well."
)


@dataclass(frozen=True)
class ClassDrop:
    """A class, and how many of its clips are right with the intact model and, on average over the draws, with the changed one."""

    name: str
    clips: int
    intact: int
    altered: float

    @property
    def drop(self) -> float:
        """Recall of the intact model minus that of the changed one."""
        return (self.intact - self.altered) / self.clips


@dataclass(frozen=True)
class Effect:
    """One intervention on all clips; every figure is the mean over its draws.

    Args:
        name: of `INTERVENTIONS`.
        title: for tables.
        draws: D; 0 where it does not apply.
        reason: why it does not apply; empty where it does.
        top1: accuracy.
        lowest, highest: accuracy of single draws.
        difference: accuracy minus that of the intact model, with its paired 95 % interval, over clips and draws.
        only_intact: clips that only the intact model has right.
        only_altered: clips that only the changed one has right.
        shift: mean over clips of the L2 distance between the logits of both.
        relative: the same as a part of the intact logits: square root of sum |l - l0|^2 / sum |l|^2.
        changed: share of clips with another predicted class.
        classes: every class that occurs, the largest drop first.
        facts: what the intervention says of itself, such as the edges it leaves.
    """

    name: str
    title: str
    draws: int = 0
    reason: str = ""
    top1: float = math.nan
    lowest: float = math.nan
    highest: float = math.nan
    difference: Difference | None = None
    only_intact: float = math.nan
    only_altered: float = math.nan
    shift: float = math.nan
    relative: float = math.nan
    changed: float = math.nan
    classes: list[ClassDrop] = field(default_factory=list)
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ablation:
    """All interventions on one model and one list of clips.

    Args:
        clips: M, those that could be read.
        classes: names of the classes.
        top1: accuracy of the intact model.
        low, high: Wilson's 95 % interval of it.
        effects: in the order of `INTERVENTIONS`.
        skipped: clips that could not be read.
        seed: added to the number of each draw.
    """

    clips: int
    classes: Sequence[str]
    top1: float
    low: float
    high: float
    effects: list[Effect]
    skipped: list[Skipped]
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """The same as plain types, for JSON; without figures of what does not apply."""
        rows = []
        for effect in self.effects:
            row: dict[str, Any] = {"name": effect.name, "title": effect.title, "draws": effect.draws}
            if effect.reason:
                rows.append({**row, "not_applicable": effect.reason})
                continue
            known = {key: value for key, value in asdict(effect).items() if key not in (*row, "reason")}
            known["relative"] = None if math.isnan(effect.relative) else effect.relative
            known["classes"] = [{**asdict(each), "drop": each.drop} for each in effect.classes]
            rows.append({**row, **known})
        interval = {"low": self.low, "high": self.high}
        about = {"clips": self.clips, "skipped": len(self.skipped), "classes": len(self.classes), "seed": self.seed}
        return {"meaning": MEANING, **about, "intact": {"top1": self.top1, **interval}, "rows": rows}


def check(names: Sequence[str], draws: int) -> None:
    """Refuses unknown interventions and impossible numbers of draws, before long work starts.

    Raises:
        ValueError: names the option.
    """
    for name in names:
        if name not in INTERVENTIONS:
            raise unknown("intervention", name, INTERVENTIONS, "--rows")
    if draws < 1:
        raise ValueError(f"--draws {draws}: expected 1 or more")


@torch.inference_mode()
def measure(
    model: nn.Module,
    batches: Iterable[Batch],
    clips: ClipList,
    split: str,
    names: Sequence[str] = (),
    draws: int = 3,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Ablation:
    """Answers every clip with the intact model and with each intervention, in one pass over the clips.

    Interventions on the head share the tokens of one run of the backbone; each draw of one on the input takes another run.

    Args:
        model: it is moved to ``device`` and put into evaluation mode; its weights and parts are as before afterwards.
        batches: of the list, one view of each clip.
        clips: the list itself.
        split: its name.
        names: of `INTERVENTIONS`; none (default) for all.
        draws: D of the random ones (default 3).
        seed: of them (default 0).
        device: where to compute.

    Raises:
        ValueError: an unknown name, fewer than one draw, or no clip could be read.
    """
    check(names, draws)
    model.to(device).eval()
    chosen = [name for name in INTERVENTIONS if not names or name in names]
    altered, reasons = _made(model, chosen, draws, seed)
    found: dict[str, list[list[Tensor]]] = {name: [[] for _ in each] for name, each in altered.items()}
    intact: list[Tensor] = []
    labels: list[Tensor] = []
    skipped: list[Skipped] = []
    bar = tqdm(desc=split, total=len(clips), unit="clip", file=sys.stderr, leave=False, disable=None)
    with bar, _calls_of(model) as call:
        for batch in batches:
            skipped += [Skipped(bad.name, bad.path, split, bad.reason) for bad in batch.skipped]
            if not len(batch):
                continue
            x = batch.x.to(device)
            intact.append(_logits(model, x))
            labels.append(batch.label)
            tokens = list(call)
            for name, each in altered.items():
                for number, one in enumerate(each):
                    found[name][number].append(_altered(model, one, x, batch.index, tokens))
            bar.update(len(batch))
    if not intact:
        raise ValueError(f"none of the {len(clips)} {split} clips could be read; the first: {skipped[0].reason}")
    truth, whole = torch.cat(labels).cpu(), torch.cat(intact)
    first = _answers(truth, whole)
    effects = [
        Effect(name, INTERVENTIONS[name].title, reason=reasons[name])
        if name in reasons
        else _effect(name, altered[name], clips.classes, first, whole, [torch.cat(part) for part in found[name]])
        for name in chosen
    ]
    top1 = first.right.double().mean().item()
    return Ablation(len(truth), clips.classes, top1, *wilson(top1, len(truth)), effects, skipped, seed)


def _made(
    model: nn.Module, names: Sequence[str], draws: int, seed: int
) -> tuple[dict[str, list[Altered]], dict[str, str]]:
    """The draws of the interventions that apply, and why the others do not."""
    altered, reasons = {}, {}
    for name in names:
        row = INTERVENTIONS[name]
        try:
            altered[name] = [row.make(model, seed + number) for number in range(draws if row.random else 1)]
        except NotApplicable as reason:
            reasons[name] = str(reason)
    return altered, reasons


@contextmanager
def _calls_of(model: nn.Module) -> Iterator[list[Any]]:
    """The arguments of the head's last call while the block runs; none where the model has no head."""
    call: list[Any] = []
    head = getattr(model, "head", None)
    if head is None:
        yield call
        return

    def store(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        call[:] = [given, named]

    hook = head.register_forward_pre_hook(store, with_kwargs=True)
    try:
        yield call
    finally:
        hook.remove()


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).logits.float().cpu()


def _altered(model: nn.Module, one: Altered, x: Tensor, index: Tensor, call: Sequence[Any]) -> Tensor:
    if one.inputs is not None:
        return _logits(model, one.inputs(x, index))
    assert one.head is not None
    head: Any = model.head
    with one.head():
        return as_output(head(*call[0], **call[1]), head).logits.float().cpu()


def _answers(labels: Tensor, logits: Tensor) -> Answers:
    return Answers(labels, predicted_classes(logits.softmax(1)), None, logits.shape[1])


def _effect(
    name: str, altered: Sequence[Altered], classes: Sequence[str], first: Answers, whole: Tensor, drawn: list[Tensor]
) -> Effect:
    """**Shapes:** whole (M, K), drawn D of (M, K)"""
    answers = [_answers(first.labels, logits) for logits in drawn]
    top1 = [each.right.double().mean().item() for each in answers]
    if len(answers) == 1:
        difference, _ = top1_difference(first, answers[0])
    else:
        difference = difference_over_seeds([first] * len(answers), answers)
    moved = torch.stack([(logits.double() - whole.double()).norm(dim=1) for logits in drawn])
    size = whole.double().norm(dim=1).square().sum().item()
    support, right = recalls(first)
    each_right = torch.stack([recalls(each)[1] for each in answers]).double().mean(0)
    rows = zip(classes, support.tolist(), right.tolist(), each_right.tolist(), strict=True)
    drops = [ClassDrop(*row) for row in rows if row[1]]
    facts = [one.facts for one in altered]
    return Effect(
        name,
        INTERVENTIONS[name].title,
        draws=len(answers),
        top1=sum(top1) / len(top1),
        lowest=min(top1),
        highest=max(top1),
        difference=difference,
        only_intact=_mean([(first.right & ~each.right).sum() for each in answers]),
        only_altered=_mean([(each.right & ~first.right).sum() for each in answers]),
        shift=moved.mean().item(),
        relative=math.sqrt(moved.square().mean(0).sum().item() / size) if size else math.nan,
        changed=_mean([(each.predicted != first.predicted).double().mean() for each in answers]),
        classes=sorted(drops, key=lambda row: (-row.drop, -row.clips, row.name)),
        facts={key: sum(one[key] for one in facts) / len(facts) for key in facts[0]},
    )


def _mean(values: Sequence[Tensor]) -> float:
    return sum(float(value) for value in values) / len(values)
