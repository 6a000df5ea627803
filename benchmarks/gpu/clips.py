"""Clips without a video library: a source that draws each clip from its name, so that a run needs no file with pictures."""

import zlib
from pathlib import Path

import torch

from taggnn.types import VIDEO_AXES, InputSpec, Sample


class Noise:
    """Noise about the mean of its class, the same for the same name and seed.

    Args:
        frames: T.
        size: height and width.
    """

    endings = (".noise",)

    def __init__(self, frames: int = 4, size: int = 16) -> None:
        self.spec = InputSpec(
            "benchmarks.gpu.clips.Noise", VIDEO_AXES, (3, frames, size, size), {"frames": frames, "size": size}
        )

    @classmethod
    def from_spec(cls, spec: InputSpec) -> "Noise":
        return cls(**spec.options)

    def __call__(self, clip, seed: int | None) -> Sample:
        draw = torch.Generator().manual_seed(zlib.crc32(clip.name.encode()) + (seed or 0) % 2**31)
        return Sample(torch.randn(self.spec.shape, generator=draw) + clip.label, clip.label)


def make(root: Path, clips: int) -> Path:
    """Empty files of two classes in the folders of training and validation."""
    for split in ("train", "val"):
        for name in ("a", "b"):
            (root / split / name).mkdir(parents=True)
            for number in range(clips):
                (root / split / name / f"{number}.noise").write_bytes(b"\0")
    return root
