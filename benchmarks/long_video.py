"""A long video made of known actions with gaps: its segments against the truth, peak memory, and seconds for an hour.

    python benchmarks/long_video.py set --root datasets/motions                   # training clips: eight motions, and still ones
    python -m taggnn.train --config demo --data.root datasets/motions --data.synthetic false --run runs/motions
    python benchmarks/long_video.py make --root datasets/motions --hours 3 --out long.mp4   # and long.csv: the true segments
    python benchmarks/long_video.py measure long.mp4 --checkpoint runs/motions --out measured.json

Actions are clips of the synthetic set, of 2 s each, drawn with other random numbers than its training clips. Between two of
them a
disc of another clip stands still for 1 to 6 s, which is the class "still". Training clips are windows of such a video: an
action that
begins up to half a second early or late, or a gap with at most a third of an action. Predicted segments are matched with the
true ones by
their intersection over union (`taggnn.evaluation.segments.match`). Peak memory is that of the process, as the system counts it.
"""

import sys
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
import csv
import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks import machine
from taggnn.data.synthetic import FRAMES_PER_SECOND, MOTIONS, draw, make_clip, states, write_video
from taggnn.evaluation.segments import Segment, match
from taggnn.runtime.atomic import replacing, write_text

SCRIPT = "benchmarks/long_video.py"
STILL = "still"
# Folder of the whole clips that the long video is made of.
PARTS = "parts"
CLASSES = (*MOTIONS, STILL)
# Frames of a clip, pixels, clips of each class.
FRAMES, SIZE = 24, 64
CLIPS = {"train": 60, "val": 25, "test": 25}
# Seconds of a gap.
GAP = (1.0, 6.0)
# Frames by which a training clip begins before or after its action; further off it shows none of the actions.
SHIFT, OFF = 6, 16
# Windows of this benchmark.
WINDOW, STRIDE = 2.0, 0.5


def random_of(*key: object) -> np.random.Generator:
    return np.random.default_rng(list(repr(key).encode()))


def still(frames: int, rng: np.random.Generator) -> np.ndarray:
    """A clip in which nothing moves but the noise. **Shapes:** -> uint8 (T, S, S, 3)"""
    motion = str(rng.choice(list(MOTIONS)))
    return draw(states(motion, rng.uniform(size=4), 0.0, max(2, frames)), SIZE, rng)[:frames]


def window(name: str, rng: np.random.Generator) -> np.ndarray:
    """A window of a long video with an action in its middle, or with most of it in a gap. **Shapes:** -> uint8 (T, S, S, 3)"""
    action = str(rng.choice(list(MOTIONS))) if name == STILL else name
    whole = np.concatenate([still(FRAMES, rng), make_clip(action, FRAMES, SIZE, rng), still(FRAMES, rng)])
    least, most = (OFF, FRAMES) if name == STILL else (0, SHIFT)
    first = FRAMES + int(rng.choice([-1, 1])) * int(rng.integers(least, most + 1))
    return whole[first : first + FRAMES]


def make_set(root: Path) -> None:
    """Writes ``root/<split>/<class>/<class>_NNN.mp4``."""
    jobs = [(split, name, k) for split, count in CLIPS.items() for name in CLASSES for k in range(count)]
    for split, name, number in tqdm(jobs, "clips", disable=None):
        path = root / split / name / f"{name}_{number:03}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = random_of(split, name, number)
        if not path.exists():
            write_video(path, window(name, rng))
    for name, number in tqdm([(name, k) for name in CLASSES for k in range(CLIPS["test"])], PARTS, disable=None):
        path = root / PARTS / name / f"{name}_{number:03}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = random_of(PARTS, name, number)
        if not path.exists():
            write_video(path, still(FRAMES, rng) if name == STILL else make_clip(name, FRAMES, SIZE, rng))


def parts(root: Path, hours: float, seed: int = 0) -> Iterator[tuple[str, Path, int]]:
    """The class, the clip and the frames of each part of the video: a gap and an action in turn."""
    clips = {name: sorted((root / PARTS / name).glob("*.mp4")) for name in CLASSES}
    for name, there in clips.items():
        if not there:
            raise SystemExit(f"{root / PARTS / name}: no clips; make them with: {SCRIPT} set --root {root}")
    rng, left = random_of("long", seed), round(hours * 3600 * FRAMES_PER_SECOND)
    for number in itertools.count():
        name = str(rng.choice(list(MOTIONS))) if number % 2 else STILL
        count = FRAMES if number % 2 else round(rng.uniform(*GAP) * FRAMES_PER_SECOND)
        path = clips[name][int(rng.integers(len(clips[name])))]
        if left <= 0:
            return
        yield name, path, min(count, left)
        left -= count


def make(root: Path, hours: float, out: Path, seed: int = 0) -> None:
    """Writes the video and its true segments as CSV; frames are copied as they are coded, each is a key frame."""
    import av

    truth, at, coded = [], 0, dict[Path, list[bytes]]()
    first = next(parts(root, hours, seed))[1]
    with (
        replacing(out) as temporary,
        av.open(str(first)) as model,
        av.open(str(temporary), "w", format="mp4") as container,
    ):
        stream = container.add_stream_from_template(model.streams.video[0])
        stream.time_base = Fraction(1, FRAMES_PER_SECOND)
        with tqdm(total=round(hours * 3600), unit="s", disable=None) as bar:
            for name, path, count in parts(root, hours, seed):
                if path not in coded:
                    with av.open(str(path)) as clip:
                        coded[path] = [bytes(packet) for packet in clip.demux(video=0) if packet.size]
                for number in range(count):
                    packet = av.Packet(coded[path][number % len(coded[path])])
                    packet.stream, packet.time_base = stream, Fraction(1, FRAMES_PER_SECOND)
                    packet.pts = packet.dts = at + number
                    packet.duration, packet.is_keyframe = 1, True
                    container.mux(packet)
                # An action that the end cuts in two is none.
                if name != STILL and count == FRAMES:
                    truth.append((at / FRAMES_PER_SECOND, (at + count) / FRAMES_PER_SECOND, name))
                at += count
                bar.update(count / FRAMES_PER_SECOND)
    lines = [f"{start:.6f},{end:.6f},{name}" for start, end, name in truth]
    write_text(out.with_suffix(".csv"), "\n".join(["start,end,class", *lines]) + "\n")


def run(words: Sequence[str]) -> tuple[float, float, int]:
    """Runs a program: seconds by the clock, seconds of processor time, and peak bytes of memory."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with exit code {process.returncode}")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit


def measure(video: Path, checkpoint: str, extra: Sequence[str] = ()) -> dict[str, Any]:
    """Segments of a video against the truth, with time and memory."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["taggnn.predict", str(video), "--timeline", "--checkpoint", checkpoint, "--out", folder]
        words += ["--window", str(WINDOW), "--stride", str(STRIDE), "--background_class", f"[{STILL}]", *extra]
        wall, processor, memory = run(words)
        content = json.loads((Path(folder) / "timeline.json").read_text(encoding="utf-8"))
        with (Path(folder) / "timeline.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    found = [
        Segment(one["start"], one["end"], CLASSES.index(one["class"]), one["score"]) for one in content["segments"]
    ]
    with video.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        truth = [
            Segment(float(row["start"]), float(row["end"]), CLASSES.index(row["class"])) for row in csv.DictReader(file)
        ]
    figures = {}
    for threshold in (0.1, 0.25, 0.5, 0.75):
        counted = match(found, truth, threshold)
        figures[f"f1@{threshold}"] = round(counted.f1, 4)
        if threshold == 0.5:
            figures |= {"precision@0.5": round(counted.precision, 4), "recall@0.5": round(counted.recall, 4)}
    hours = content["seconds"] / 3600
    last_window = float(content["window"]["seconds"])
    return {
        "video": video.name,
        "hours": round(hours, 4),
        "frames": content["frames"],
        "windows": content["window"]["count"],
        "true": len(truth),
        "found": len(found),
        **figures,
        "seconds": round(wall, 1),
        "seconds_an_hour": round(wall / hours, 1),
        "processor_seconds_an_hour": round(processor / hours, 1),
        "peak_mib": round(memory / 2**20, 1),
        "answered_to": float(rows[-1]["end"]),
        "answers_in_the_last_window": sum(float(row["start"]) >= content["seconds"] - last_window for row in rows),
        "machine": machine.describe(torch.device("cpu"), 0, SCRIPT, sys.argv[1:]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("set", help="make the training clips")
    one.add_argument("--root", type=Path, required=True)
    one = commands.add_parser("make", help="make the long video and its true segments")
    one.add_argument("--root", type=Path, required=True)
    one.add_argument("--hours", type=float, default=3.0)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--out", type=Path, required=True)
    one = commands.add_parser("measure", help="classify it")
    one.add_argument("video", type=Path)
    one.add_argument("--checkpoint", required=True)
    one.add_argument("--out", type=Path)
    given, extra = parser.parse_known_args()
    if extra and given.command != "measure":
        parser.error(f"unknown: {' '.join(extra)}")
    if given.command == "set":
        make_set(given.root)
    elif given.command == "make":
        make(given.root, given.hours, given.out, given.seed)
    else:
        found = measure(given.video, given.checkpoint, extra)
        print(json.dumps(found, indent=1))
        if given.out:
            write_text(given.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
