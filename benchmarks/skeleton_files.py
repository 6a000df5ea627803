"""How fast ``.skeleton`` files of NTU RGB+D are read: ``python benchmarks/skeleton_files.py``.

Made files of the published form and length, read in five ways on one core: their bytes from memory and, where the system can
forget a file, from the disk; every value by NumPy; every line split; and our reader, without and with what makes persons of
bodies. No time without equality: our coordinates are those of the split lines. Of every file the best of several passes counts.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats
from taggnn.data.skeleton.formats import ntu
from taggnn.data.skeleton.formats.reading import read_bytes

# Frames of a clip, about the mean of NTU RGB+D.
FRAMES, JOINTS = 84, 25


def text(bodies: int, seed: int) -> str:
    """A made file with some bodies that sway."""
    draws = np.random.default_rng(seed)
    rest = draws.normal((0, 0, 3), 0.4, (bodies, 1, JOINTS, 3))
    joints = rest + draws.normal(0, 0.05, (bodies, FRAMES, JOINTS, 3)).cumsum(1) / 8
    others = draws.uniform(0, 900, (bodies, FRAMES, JOINTS, 8))
    lines = [str(FRAMES)]
    for frame in range(FRAMES):
        lines.append(str(bodies))
        for body in range(bodies):
            lines += [f"{72057594037931101 + body} 0 1 1 1 1 0 0.0276 0.0574 2", str(JOINTS)]
            rows = np.concatenate([joints[body, frame], others[body, frame]], 1)
            lines += [" ".join(f"{value:.7G}" for value in row) + " 2" for row in rows.tolist()]
    return "\r\n".join([*lines, ""])


def split_lines(content: bytes) -> np.ndarray:
    """The coordinates of all bodies, one line after the other: (N, V, 3)."""
    lines = iter(content.split(b"\n"))
    found = []
    for _ in range(int(next(lines))):
        for _ in range(int(next(lines))):
            next(lines)
            rows = [next(lines).split() for _ in range(int(next(lines)))]
            found.append([[float(word) for word in row[:3]] for row in rows])
    return np.array(found, dtype=np.float32)


def forgotten(path: Path) -> bytes:
    """The bytes of a file that the system no longer has in memory."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.readall()


def best(call: Callable[[Path], object], paths: Sequence[Path], passes: int) -> float:
    """Milliseconds for a file: the mean over files of each one's fastest pass."""
    times = np.zeros((passes, len(paths)))
    for one in times:
        for number, path in enumerate(paths):
            started = time.perf_counter()
            call(path)
            one[number] = time.perf_counter() - started
    return 1e3 * float(times.min(0).mean())


def measure(folder: Path, files: int, passes: int) -> dict[str, float]:
    """Milliseconds for a file by way of reading, after the proof of equality."""
    paths = [folder / f"S001C001P001R001A{number:03d}.skeleton" for number in range(1, files + 1)]
    for number, path in enumerate(paths):
        path.write_text(text(1 + (number % 3 == 0), number), newline="")
        content = path.read_bytes()
        if not np.array_equal(ntu.parse(content).joints, split_lines(content)):
            raise SystemExit(f"{path}: our coordinates differ from those of the split lines")
    os.sync()
    ways: dict[str, Callable[[Path], object]] = {"bytes, in memory": lambda path: read_bytes(str(path), 2**30)}
    if hasattr(os, "posix_fadvise"):
        ways["bytes, from the disk"] = forgotten
    ways |= {
        "ours, coordinates": lambda path: ntu.parse(read_bytes(str(path), 2**30)),
        "ours, persons": lambda path: formats.read(Clip(str(path), 0, path.name)),
        "numpy.fromstring": lambda path: np.fromstring(path.read_bytes(), sep=" "),
        "split lines": lambda path: split_lines(path.read_bytes()),
    }
    return {name: best(way, paths, passes) for name, way in ways.items()}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=30)
    parser.add_argument("--passes", type=int, default=7)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), given.files, given.passes)
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / given.files
    print(
        f"{given.files} files of {size / 1e3:.0f} kB on average; milliseconds for a file, best of {given.passes} passes"
    )
    for name, taken in found.items():
        ratio = taken / found["bytes, in memory"]
        print(f"{name:22} {taken:8.3f} ms {size / taken / 1e3:9.0f} MB/s {ratio:8.1f} times the bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
