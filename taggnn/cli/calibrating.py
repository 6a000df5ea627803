"""``taggnn.evaluate --calibrate``: a temperature and a rejection threshold from validation clips, written into the checkpoint.

Axes: M clips, K classes.
"""

import os
from dataclasses import replace
from typing import Any

import torch
from jsonargparse import Namespace
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from taggnn.cli.evaluation_setup import published
from taggnn.cli.parser import Parser
from taggnn.data import sources
from taggnn.data.clips import ClipList
from taggnn.data.loader import ClipData
from taggnn.evaluation.calibration import expected_calibration_error
from taggnn.evaluation.rejection import at_threshold, risk_coverage, threshold_for
from taggnn.evaluation.scoring import Scored
from taggnn.evaluation.temperature import fit_temperature
from taggnn.io import checkpoint
from taggnn.io.calibrated import Calibration, is_checkpoint
from taggnn.io.loaded import Loaded
from taggnn.runtime.printable import one_line

VALIDATION = "val"


def add_options(parser: Parser) -> None:
    """Adds ``--calibrate`` and what belongs to it."""
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="fit a temperature and a rejection threshold on the validation clips, and keep them in the checkpoint",
    )
    parser.option("--calibration_list", str | None, None, "list of the validation clips; null: the root's own")
    parser.option("--risk", float, 0.05, "share of wrong answers, 0 to 1, that the rejection threshold is chosen for")


def check(given: Namespace) -> None:
    """Refuses a calibration that cannot be made, before a clip is read.

    Raises:
        ValueError: the figures would be about the validation clips, several processes, an impossible risk, a file that holds no
            calibration, or an option of a calibration without one.
    """
    if not given.calibrate:
        if given.calibration_list is not None:
            raise ValueError("--calibration_list is an option of --calibrate, which is missing")
        return
    if given.split == VALIDATION:
        raise ValueError(
            "--split val: the validation clips are those that --calibrate fits on, and figures about them would be too good; "
            "possible are test and train"
        )
    if not 0 <= given.risk <= 1:
        raise ValueError(f"--risk {given.risk}: possible are 0 to 1, a share of the answers")
    if (given.devices or 1) > 1:
        raise ValueError(f"--devices {given.devices}: --calibrate works in one process; evaluate in several afterwards")
    if given.dataset is not None or not is_checkpoint(given.checkpoint):
        raise ValueError(
            f"--calibrate: {given.checkpoint} is no checkpoint of taggnn.train; calibrate the checkpoint, and export it again"
        )


def calibrate(given: Namespace, loaded: Loaded, measured: ClipList, device: torch.device) -> Loaded:
    """Fits on the validation clips, writes the checkpoint, and returns the calibrated model.

    Args:
        given: the command line.
        loaded: the model.
        measured: the clips that the figures are about.
        device: where to compute.

    Raises:
        ValueError: no validation clip, one that is measured as well, none that can be read, or all of them are right.
        OSError: the checkpoint cannot be written.
    """
    data = _validation(given, loaded)
    clips = data.val_clips
    assert clips is not None
    _check_apart(clips, measured)
    logits, labels, skipped = logits_of(loaded.to(device), data)
    for name, reason in skipped:
        print(one_line(f"calibration: {name} could not be read and is left out: {reason}"))
    if not len(labels):
        raise ValueError(f"--calibrate: none of the {len(clips)} validation clips could be read")
    try:
        found = fitted(logits, labels, given.risk)
    except ValueError as error:
        raise ValueError(f"--calibrate, {clips.source}: {error}") from error
    checkpoint.calibrate(loaded.source, found)
    print(
        f"calibrated  temperature {found.temperature:.3f} on {found.clips:,} validation clips: calibration error "
        f"{found.ece_before:.4f} "
        f"-> {found.ece_after:.4f}, loss {found.loss_before:.4f} -> {found.loss_after:.4f}; written into "
        f"{one_line(loaded.source)}"
    )
    if found.threshold is None:
        print(
            f"            no threshold has a risk of at most {100 * given.risk:.1f} % on them; --reject needs a number then"
        )
    return replace(loaded, calibration=found)


def fitted(logits: Tensor, labels: Tensor, risk: float) -> Calibration:
    """The calibration of validation clips.

    Args:
        logits: of the model.
        labels: true classes.
        risk: wanted share of wrong answers.

    **Shapes:** logits (M, K), labels (M,)
    """
    temperature = fit_temperature(logits, labels)
    wide = logits.double()
    before, after = (_confidence(wide / scale, labels) for scale in (1.0, temperature))
    return Calibration(
        temperature,
        len(labels),
        float(F.cross_entropy(wide, labels)),
        float(F.cross_entropy(wide / temperature, labels)),
        expected_calibration_error(*before),
        expected_calibration_error(*after),
        risk,
        threshold_for(risk_coverage(*after), risk),
    )


def logits_of(loaded: Loaded, data: ClipData) -> tuple[Tensor, Tensor, list[tuple[str, str]]]:
    """Logits and labels of the validation clips, and the clips that could not be read, with the reason.

    **Shapes:** -> (M, K), (M,)
    """
    logits, labels, skipped = [torch.empty(0, len(loaded.classes))], [torch.empty(0, dtype=torch.long)], []
    with tqdm(desc="calibration", total=len(data.val_clips or ()), unit="clip", leave=False, disable=None) as bar:
        for batch in data.eval_dataloader(VALIDATION, 1, 1):
            skipped += [(clip.name, clip.reason) for clip in batch.skipped]
            if len(batch):
                logits.append(loaded.logits(batch.x).cpu())
                labels.append(batch.label)
            bar.update(len(batch) + len(batch.skipped))
    return torch.cat(logits), torch.cat(labels), skipped


def measured(loaded: Loaded, scored: Scored, split: str) -> dict[str, Any] | None:
    """The entry of results.json: the calibration, and the clips that were measured without it and at its threshold.

    Args:
        loaded: the model.
        scored: its predictions.
        split: their name.
    """
    calibration, predictions = loaded.calibration, scored.predictions
    if calibration is None or predictions is None:
        return None
    before = scored.uncalibrated or {"loss": scored.loss, "ece": calibration.ece_before}
    found: dict[str, Any] = {"split": split, **before}
    if calibration.threshold is not None:
        best = predictions.probabilities.max(1)
        right = best.indices == predictions.labels
        found["coverage"], found["risk"] = at_threshold(best.values, right, calibration.threshold)
    return {**calibration.plain(), "measured": found}


def _confidence(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Confidences in the precision of predictions, and whether they are right."""
    best = logits.softmax(1).float().max(1)
    return best.values, best.indices == labels


def _check_apart(fitted_on: ClipList, measured: ClipList) -> None:
    def part(clip: Any) -> tuple[Any, ...]:
        return os.path.realpath(clip.path), clip.start, clip.stop, clip.member

    known = {part(clip) for clip in fitted_on}
    both = [clip.name for clip in measured if part(clip) in known]
    if both:
        raise ValueError(
            f"--calibrate: {len(both):,} of the {len(measured):,} clips to measure are among the {len(fitted_on):,} "
            f"validation clips that "
            f"the temperature is fitted on, such as {both[0]}; give another --data.list or --calibration_list"
        )


def _validation(given: Namespace, loaded: Loaded) -> ClipData:
    """The validation clips, none of which is among those that are measured."""
    named, options = dict(loaded.split_options), {"missing": given.data.missing, "workers": given.data.workers}
    if given.calibration_list is None:
        named |= published(given, named)
    else:
        named |= {"dataset": None, "version": None}
        options["val_list"] = given.calibration_list
    data = ClipData(
        sources.of(loaded.spec),
        given.data.root,
        classes=list(loaded.classes),
        batch_size=given.data.batch_size,
        **named,
        **options,
    )
    data.setup_only(VALIDATION)
    return data
