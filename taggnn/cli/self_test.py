"""A self-test of some seconds: a clip is written and read again, a head learns from it, and a kernel equals PyG."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from taggnn.data.synthetic import make_clip, write_video
from taggnn.data.video.reading import read_frames
from taggnn.heads.tag import TagHead
from taggnn.runtime.device import find_device

# Frames and pixels of the clip, channels of the head, and steps that it is trained for.
FRAMES, SIZE, CHANNELS, STEPS = 16, 64, 16, 5
# Largest difference of a kernel from PyG, relative to the largest value.
CLOSE = 1e-4
# Mean difference of a decoded picture from the one that was encoded, of 255 levels.
LOSSY = 12.0


class Outcome(NamedTuple):
    """Whether a part of the test succeeded, what it did or what went wrong, and its seconds."""

    ok: bool
    what: str
    seconds: float


def run() -> list[Outcome]:
    """Runs every part; one that fails does not stop the others."""
    outcomes = []
    for name, part in PARTS.items():
        started = time.perf_counter()
        try:
            ok, what = True, part()
        except Exception as error:
            # Whatever a broken installation raises is the finding.
            first = (str(error).strip() or "no reason given").splitlines()[0]
            ok, what = False, f"{name}: {type(error).__name__}: {first}"
        outcomes.append(Outcome(ok, what, time.perf_counter() - started))
    return outcomes


def clip() -> str:
    """Encodes a clip and decodes every frame of it."""
    pictures = make_clip("left", FRAMES, SIZE, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, pictures)
        read = read_frames(path, lambda n: list(range(n))).numpy()
    if read.shape != pictures.shape:
        raise ValueError(f"{read.shape} read, {pictures.shape} written")
    apart = float(np.abs(read.astype(float) - pictures).mean())
    if apart > LOSSY:
        raise ValueError(f"the pictures read differ from those written by {apart:.1f} of 255 levels")
    return f"a clip of {FRAMES} frames written and read"


def training() -> str:
    """Trains a tiny head on the device that training would take."""
    device = find_device(None)
    torch.manual_seed(0)
    head = TagHead(CHANNELS, (4, 3, 3), 2, encoder_heads=4, ffn=32, conv="gatv2", dropout=0.0).to(device)
    tokens, targets = torch.randn(8, 4, 3, 3, CHANNELS, device=device), torch.arange(8, device=device) % 2
    optimiser, losses = torch.optim.AdamW(head.parameters(), lr=1e-3), []
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(head(tokens).logits, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    if not losses[-1] < losses[0]:
        raise ValueError(f"the loss did not fall on {device}: {losses[0]:.3f} to {losses[-1]:.3f}")
    return f"{STEPS} training steps of TAG-Head on {device}: loss {losses[0]:.3f} to {losses[-1]:.3f}"


def kernel() -> str:
    """Compares the structured kernel with PyG: outputs and the gradient of the tokens, with the same weights."""
    torch.manual_seed(0)
    heads = [
        TagHead(CHANNELS, (4, 3, 3), 2, encoder_heads=4, ffn=32, conv="gatv2", impl=impl)
        for impl in ("pyg", "structured")
    ]
    heads[1].load_state_dict(heads[0].state_dict())
    found = []
    for head in heads:
        tokens = torch.randn(2, 4, 3, 3, CHANNELS, generator=torch.Generator().manual_seed(1)).requires_grad_()
        logits = head.eval()(tokens).logits
        (gradient,) = torch.autograd.grad(logits.square().sum(), tokens)
        found.append((logits.detach(), gradient))
    apart = max(float((one - other).abs().max() / one.abs().max()) for one, other in zip(*found, strict=True))
    if not apart < CLOSE:
        raise ValueError(f"structured differs from PyG by {apart:.1e}")
    return f"structured kernel equals PyG (largest difference {apart:.0e})"


PARTS: dict[str, Callable[[], str]] = {"clip": clip, "training": training, "kernel": kernel}
