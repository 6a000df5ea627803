"""Does prediction from video files answer on this device as on the CPU, and how many clips a second does it reach?

    python -m benchmarks.gpu.prediction --device cuda

Needs PyAV to make and read the files; without it there is no row.
"""

import importlib.util
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import program
from benchmarks.gpu.record import Record, part
from taggnn import model
from taggnn.data.clips import Clip
from taggnn.data.sources import VideoSource
from taggnn.types import BadClip

SCRIPT = "benchmarks/gpu/prediction.py"


def work(record: Record, device: torch.device, quick: bool) -> None:
    if importlib.util.find_spec("av") is None:
        record.leave_out("not installed", "no PyAV here: pip install av", what="prediction from files")
        return
    import numpy as np

    from taggnn.data.synthetic import MOTIONS, make_clip, write_video

    name, frames, size = ("small", 4, 32) if quick else ("r2plus1d_18", 16, 112)
    torch.manual_seed(0)
    recogniser = model.attach(name, "tag", len(MOTIONS), clip=(frames, size, size)).eval()
    source = VideoSource(frames=frames, short_side=size, size=size)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        paths = []
        for number, motion in enumerate(list(MOTIONS)[: 2 if quick else None]):
            paths.append(Path(folder) / f"{number}.mp4")
            write_video(paths[-1], make_clip(motion, 2 * frames, size, np.random.default_rng(number)))

        def read(path: Path) -> torch.Tensor:
            sample = source(Clip(str(path), 0, path.name), None)
            if isinstance(sample, BadClip):
                raise ValueError(f"{path}: {sample.reason}")
            return sample.x[None]

        clips = [read(path) for path in paths]
        expected = torch.cat([recogniser(clip).logits for clip in clips])
        recogniser.to(device)
        start = time.perf_counter()
        answers = [recogniser(read(path).to(device)).logits.cpu() for path in paths]
        seconds = time.perf_counter() - start
    error = float((torch.cat(answers) - expected).abs().max() / expected.abs().max())
    record.add(
        {
            "what": "prediction from files",
            "backbone": name,
            "ok": error <= 1e-3,
            "error": error,
            "clips_per_s": len(paths) / seconds,
        }
    )


def main(arguments: list[str]) -> int:
    return part("prediction", work, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
