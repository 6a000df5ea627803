"""``taggnn.predict --camera`` and ``--live``: a rolling window over a stream, answered at a measured delay."""

import json
import math
import queue
import statistics
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from jsonargparse import Namespace
from torch import Tensor

from taggnn.cli.parser import Parser
from taggnn.cli.timeline import rule_of
from taggnn.data.video.streaming import PIPE, Frame, Stream, is_address
from taggnn.data.video.windows import Plan, Window
from taggnn.evaluation.sliding import Sliding
from taggnn.io.loaded import NONE, Loaded
from taggnn.runtime.printable import one_line
from taggnn.runtime.signals import StopRequested, Watch

# Frames that wait for the model at most; older ones are dropped.
WAITING = 64
# Seconds between two looks at whether the reader still lives.
_LOOK = 0.5


def add_options(parser: Parser) -> None:
    """Adds the options of live video to a command line."""
    option = parser.option
    option("--camera", str | None, None, "number or name of a camera, instead of files; answered live")
    parser.add_argument(
        "--live", action="store_true", help="answer a file, an address or - as it comes; a file in real time"
    )
    option(
        "--seconds", float | None, None, "live: end after so many seconds of video; null: with the stream, or Ctrl-C"
    )


@dataclass
class Counts:
    """What happened while a stream was answered.

    Args:
        frames: frames that were decoded.
        dropped: frames that were left out because the model was behind.
        skipped: windows that were left out for the same reason.
        delays: of each answer, seconds from the arrival of its newest frame to the answer.
        stopped: whether it was ended before the stream.
    """

    frames: int = 0
    dropped: int = 0
    skipped: int = 0
    delays: list[float] = field(default_factory=list)
    stopped: bool = False

    def lines(self) -> list[str]:
        """The summary."""
        ended = "stopped; " if self.stopped else ""
        lines = [f"{ended}answers {len(self.delays):,}; frames {self.frames:,}, of which {self.dropped:,} were dropped"]
        if self.skipped:
            lines.append(f"{self.skipped:,} windows were left out, because newer frames were there already")
        if self.delays:
            ordered = sorted(self.delays)
            high = ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)]
            lines.append(
                f"delay from the newest frame of a window to its answer: median {statistics.median(ordered):.3f} s, 95 % within "
                f"{high:.3f} s, longest {ordered[-1]:.3f} s"
            )
        return lines


def run(given: Namespace, loaded: Loaded) -> int:
    """Answers a stream until it ends, or Ctrl-C; then prints delays and dropped frames.

    Raises:
        ValueError: files and a camera, several files, or impossible options.
        VideoError: the stream cannot be opened.
    """
    if given.camera is not None and given.files:
        raise ValueError(f"--camera {given.camera}: takes no file, given {', '.join(given.files)}")
    if given.camera is None and len(given.files) != 1:
        raise ValueError(f"--live: one stream at a time, given {len(given.files)}")
    if given.seconds is not None and not given.seconds > 0:
        raise ValueError(f"--seconds {given.seconds}: must be above 0")
    sliding, rule = Sliding(loaded), rule_of(given, loaded)
    source = given.camera if given.camera is not None else given.files[0]
    short, counts = sliding.source.short_side, Counts()
    camera = given.camera is not None
    # What comes from elsewhere comes in its own time; waiting for it would only add to the delay.
    paced = not camera and source != PIPE and not is_address(source)
    with Watch(), Stream(source, short, camera=camera, real_time=paced) as stream:
        plan = sliding.plan(stream.rate if given.rate is None else given.rate, given.window, given.stride)
        print(
            f"live: windows of {plan.seconds:g} s, one every {plan.step:g} s; an action is answered when a window "
            f"holds it, so up to "
            f"{plan.step:g} s and the delay of the model after its end",
            file=sys.stderr,
        )
        try:
            with closing(answered(sliding, stream, plan, counts, given.seconds)) as answers:
                for window, last, probabilities in answers:
                    row = probabilities.tolist()
                    label = rule.answer(row)
                    counts.delays.append(time.monotonic() - last.arrived)
                    print(_line(window, label, row, counts.delays[-1], plan.rate, loaded, given.json), flush=True)
        except (KeyboardInterrupt, StopRequested):
            # The usual end of a camera.
            counts.stopped = True
        for line in [*counts.lines(), *stream.damage.notes()]:
            print(one_line(line), file=sys.stderr)
    return 0


def answered(
    sliding: Sliding, stream: Stream, plan: Plan, counts: Counts, seconds: float | None = None
) -> Generator[tuple[Window, Frame, Tensor]]:
    """The answers of a rolling window: of several complete windows only the newest is classified.

    Frames are decoded in a thread of their own, so that a camera never waits for the model.

    Args:
        sliding: the model.
        stream: open.
        plan: the windows.
        counts: is updated.
        seconds: of video after which it ends; None (default) for all of it.

    **Shapes:** yields a window, the frame that completed it, and float32 (K,)

    Raises:
        VideoError: there is no frame.
    """
    windows, frames = sliding.windows(stream, plan), _Reader(stream, counts, seconds)
    last = None
    try:
        for batch in frames.batches():
            complete: list[tuple[Window, Frame]] = []
            for last in batch:
                complete += [(window, last) for window in windows.add(last.time, sliding.picture(last.picture))]
            if complete:
                counts.skipped += len(complete) - 1
                window, completed = complete[-1]
                yield window, completed, sliding.probabilities([window])[0]
        rest = list(windows.end(stream.end))
        if rest and last is not None:
            counts.skipped += len(rest) - 1
            yield rest[-1], last, sliding.probabilities(rest[-1:])[0]
    finally:
        frames.stop()


class _Reader:
    """Decodes in a thread; the queue keeps the newest frames."""

    def __init__(self, stream: Stream, counts: Counts, seconds: float | None) -> None:
        self._stream, self._counts, self._seconds = stream, counts, seconds
        self._queue: queue.Queue[Frame] = queue.Queue(WAITING)
        self._ended, self._stop = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def batches(self) -> Iterator[list[Frame]]:
        """All frames that are there, again and again."""
        while True:
            try:
                batch = [self._queue.get(timeout=_LOOK)]
            except queue.Empty:
                if self._ended.is_set() and self._queue.empty():
                    break
                continue
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            yield batch
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2)
        # A camera that sends nothing more must not keep the program, and cannot be closed while it is read.
        self._stream.busy = self._thread.is_alive()

    def _read(self) -> None:
        try:
            for frame in self._stream.frames():
                if self._stop.is_set() or (self._seconds is not None and frame.time >= self._seconds):
                    break
                self._counts.frames += 1
                while True:
                    try:
                        self._queue.put_nowait(frame)
                        break
                    except queue.Full:
                        try:
                            self._queue.get_nowait()
                            self._counts.dropped += 1
                        except queue.Empty:
                            continue
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()


def _line(
    window: Window, label: int | None, row: list[float], delay: float, rate: float, loaded: Loaded, as_json: bool
) -> str:
    """One answer, as text or as a line of JSON."""
    best = max(range(len(row)), key=row.__getitem__)
    name = NONE if label is None else loaded.classes[label]
    if as_json:
        content = {
            "start": round(window.start / rate, 3),
            "end": round(window.stop / rate, 3),
            "class": None if label is None else name,
            "label": label,
            "probability": round(row[best], 6),
            "delay": round(delay, 4),
        }
        return json.dumps(content, ensure_ascii=False)
    return f"{window.stop / rate:9.2f} s   {100 * row[best]:6.2f} %  {one_line(name):24}  answered after {delay:.3f} s"
