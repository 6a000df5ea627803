"""``taggnn.predict --timeline``: probabilities over time and segments of a long video, as CSV, JSON, a page and an MP4."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from tqdm import tqdm

from taggnn.cli.parser import Parser
from taggnn.data.video.streaming import PIPE, Stream, is_address
from taggnn.evaluation.segments import Rule, Segment, labels_of
from taggnn.evaluation.sliding import Sliding
from taggnn.evaluation.timeline import Step, Timeline, follow
from taggnn.io.loaded import NONE, Loaded
from taggnn.io.run_folder import new_folder, writable
from taggnn.reporting.timeline_page import timeline_page
from taggnn.reporting.timeline_video import write_annotated
from taggnn.runtime.atomic import replacing, write_text
from taggnn.runtime.printable import one_line
from taggnn.runtime.signals import Watch
from taggnn.runtime.spreadsheet import as_text

# Of ``--reject`` without a number: the threshold of the calibration.
STORED = -1.0
_TEXT: Any = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


def add_options(parser: Parser) -> None:
    """Adds the options of long and live video to a command line."""
    add, option = parser.add_argument, parser.option
    add("--timeline", action="store_true", help="a long video: probabilities over time and segments, into --out")
    option(
        "--window",
        float | None,
        None,
        "seconds of a window, as long as the training clips; null: that of dense sampling",
    )
    option("--stride", float | None, None, "seconds from a window to the next one; null: a quarter of a window")
    option("--rate", float | None, None, "frames a second that windows are sampled from; null: those of the video")
    option("--high", float, 0.6, "a segment reaches this probability somewhere")
    option("--low", float, 0.4, "and has at least this one everywhere")
    option("--min_duration", float, 0.0, "seconds of the shortest segment")
    option("--gap", float, 0.0, "seconds between two parts of one class that are still one segment")
    option("--background_class", list[str], [], "classes of the model that are no action, such as [still]")
    option("--out", str | None, None, "folder of the files of --timeline; null: runs/timeline/<time>")
    add("--mp4", action="store_true", help="also write the video with its answers; decodes it a second time")
    add(
        "--reject",
        type=float,
        nargs="?",
        const=STORED,
        default=None,
        help=f"smallest probability of an answer; below it the answer is '{NONE}'; without a number: as calibrated",
    )


def check(given: Namespace) -> None:
    """Refuses options that have no effect.

    Raises:
        ValueError: an option of long or live video without one, several views of a window, or files of a stream.
    """
    live = given.live or given.camera is not None
    for name in ("window", "stride", "rate", "out", "mp4", "seconds"):
        if given[name] not in (None, False) and not (given.timeline or live):
            raise ValueError(f"--{name} is an option of --timeline, --live and --camera, of which none is given")
    if (given.timeline or live) and given.views * given.crops > 1:
        raise ValueError(
            f"--views {given.views}, --crops {given.crops}: a window is one view; a smaller --stride gives more answers"
        )
    if given.timeline and live:
        raise ValueError(
            "--timeline writes files about a whole video, --live and --camera answer at once: give one of them"
        )
    if live and (given.out is not None or given.mp4):
        raise ValueError("--out and --mp4 are options of --timeline; --live prints its answers")


def rejection(given: Namespace, loaded: Loaded) -> float | None:
    """The threshold of ``--reject``; None without it.

    Raises:
        ValueError: no number, and the model has none either; or one out of range.
    """
    if given.reject is None:
        return None
    if given.reject != STORED:
        if not 0 <= given.reject <= 1:
            raise ValueError(f"--reject {given.reject}: possible are 0 to 1, a probability")
        return given.reject
    threshold = None if loaded.calibration is None else loaded.calibration.threshold
    if threshold is None:
        raise ValueError(
            f"--reject: {loaded.source} has no threshold; give a number, or choose one with taggnn.evaluate --calibrate"
        )
    return threshold


def rule_of(given: Namespace, loaded: Loaded) -> Rule:
    """How steps become segments.

    Raises:
        ValueError: an impossible number, or an unknown class.
    """
    background = labels_of(given.background_class, loaded.classes)
    return Rule(given.high, given.low, given.min_duration, given.gap, rejection(given, loaded) or 0.0, background)


def run(given: Namespace, loaded: Loaded) -> int:
    """Classifies one long video and writes its files; an interrupted run leaves none of them half-written.

    Raises:
        ValueError: other than one video, or impossible options.
        VideoError: it cannot be read.
    """
    if len(given.files) != 1:
        raise ValueError(f"--timeline: one video at a time, given {len(given.files)}: {', '.join(given.files)}")
    source = given.files[0]
    if given.mp4 and (source == PIPE or is_address(source)):
        raise ValueError(f"--mp4: {source} can be read once only; store it in a file first")
    sliding, rule = Sliding(loaded), rule_of(given, loaded)
    with Watch(), Stream(source, sliding.source.short_side) as stream:
        plan = sliding.plan(stream.rate if given.rate is None else given.rate, given.window, given.stride)
        sliding.windows(stream, plan)
        folder = writable(Path(given.out)) if given.out else new_folder(Path("runs") / "timeline")
        found, steps = follow(sliding, stream, plan, rule)
        with replacing(folder / "timeline.csv") as temporary:
            _write_steps(temporary, _shown(steps, stream.duration), loaded.classes)
        write_all(folder, source, found, loaded)
        if given.mp4:
            total = round(found.seconds * stream.rate)
            with Stream(source, None) as again:
                frames = tqdm(again.frames(), "video", total, unit="frame", leave=False, disable=None)
                write_annotated(folder / "timeline.mp4", frames, stream.rate, found, loaded.classes)
    for line in summary(found, loaded.classes):
        print(line)
    for name in ("timeline.csv", "segments.csv", "timeline.json", *(["timeline.mp4"] if given.mp4 else [])):
        print(f"          {one_line(folder / name)}")
    print(f"page      {one_line(folder / 'timeline.html')}")
    return 0


def write_all(folder: Path, source: str, found: Timeline, loaded: Loaded) -> None:
    """Writes ``segments.csv``, ``timeline.json`` and ``timeline.html``, each atomically."""
    classes = loaded.classes
    with replacing(folder / "segments.csv") as temporary, temporary.open("w", **_TEXT) as file:
        writer = csv.writer(file)
        writer.writerow(["start", "end", "class", "label", "score"])
        writer.writerows(
            [f"{one.start:.3f}", f"{one.end:.3f}", as_text(classes[one.label]), one.label, f"{one.score:.6f}"]
            for one in found.segments
        )
    text = json.dumps(as_json(found, source, loaded), ensure_ascii=False, indent=1)
    write_text(folder / "timeline.json", text + "\n")
    write_text(folder / "timeline.html", timeline_page(found, source, folder, loaded))


def as_json(found: Timeline, source: str, loaded: Loaded) -> dict[str, Any]:
    """The content of ``timeline.json``."""
    rule, plan = found.rule, found.plan
    return {
        "file": source,
        "model": loaded.source,
        "seconds": round(found.seconds, 6),
        "frames": found.frames,
        "window": {"seconds": plan.seconds, "stride": plan.step, "rate": plan.rate, "count": found.windows},
        "temperature": loaded.temperature,
        "rule": {
            **{name: getattr(rule, name) for name in ("high", "low", "min_duration", "gap", "reject")},
            "background": [loaded.classes[label] for label in sorted(rule.background)],
        },
        "answers": found.steps,
        "none": found.none,
        "notes": found.notes,
        "segments": [segment_json(one, loaded.classes) for one in found.segments],
    }


def segment_json(segment: Segment, classes: Sequence[str]) -> dict[str, Any]:
    """A segment as plain types."""
    return {
        "start": round(segment.start, 6),
        "end": round(segment.end, 6),
        "class": classes[segment.label],
        "label": segment.label,
        "score": round(segment.score, 6),
    }


def summary(found: Timeline, classes: Sequence[str]) -> list[str]:
    """Lines for the screen: what was classified, and the segments of each class."""
    lines = [
        f"video     {found.seconds:.2f} s, {found.frames:,} frames; {found.windows:,} windows of "
        f"{found.plan.seconds:g} s, one every "
        f"{found.plan.step:g} s",
        f"answers   {found.steps:,}, one for every {found.plan.step:g} s to the end; {found.none:,} of them are none "
        f"of the actions",
        f"segments  {len(found.segments):,}",
    ]
    for label, name in enumerate(classes):
        mine = [one for one in found.segments if one.label == label]
        if mine:
            seconds = sum(one.end - one.start for one in mine)
            lines.append(f"          {len(mine):6,}  {seconds:9.1f} s  {one_line(name)}")
    return [*lines, *(f"note      {one_line(note)}" for note in found.notes)]


def _shown(steps: Iterator[Step], duration: float | None) -> Iterator[Step]:
    """The steps, with a progress bar in seconds of video."""
    total = None if duration is None else round(duration)
    form = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]" if total else None
    with tqdm(
        desc="timeline", total=total, unit="s", file=sys.stderr, leave=False, disable=None, bar_format=form
    ) as bar:
        for step in steps:
            yield step
            bar.update(step.end - bar.n)


def _write_steps(path: Path, steps: Iterator[Step], classes: Sequence[str]) -> None:
    with path.open("w", **_TEXT) as file:
        writer = csv.writer(file)
        writer.writerow(["start", "end", "answer", "probability", *(f"p:{name}" for name in classes)])
        for step in steps:
            values = step.probabilities.tolist()
            answer = NONE if step.label is None else classes[step.label]
            writer.writerow(
                [
                    f"{step.start:.3f}",
                    f"{step.end:.3f}",
                    as_text(answer),
                    f"{max(values):.6f}",
                    *(f"{p:.6f}" for p in values),
                ]
            )
