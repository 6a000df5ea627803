"""Does a step whose gradient overflows in float16 leave weights, moments and averages as they are, and does training continue?

    python -m benchmarks.gpu.precision --device cuda

On the CPU the gradient scaler works on float32, which overflows as well when the scale is that large.
"""

import sys

import torch
from torch.nn import functional as F

from benchmarks import program
from benchmarks.gpu.record import Record, part
from taggnn import model
from taggnn.training.options import Optimisation
from taggnn.training.step import Step

SCRIPT = "benchmarks/gpu/precision.py"
# Some gradient of a small network is above 1e-2 whatever is drawn, and float32 ends at 2**128: with this factor it overflows.
SCALE, FACTOR, TAKEN = 2.0**127, 1000.0, 5


def work(record: Record, device: torch.device, quick: bool) -> None:
    torch.manual_seed(0)
    clip, head = ((4, 16, 16), {"dim": 16, "encoder_heads": 2, "ffn": 16}) if quick else ((16, 112, 112), {})
    recogniser = model.attach("small", "tag", 5, clip=clip, **head).to(device).train()
    step = Step(recogniser, Optimisation(ema=0.9), "16-mixed")
    if device.type == "cpu":
        step.dtype = None
    # Not halved, so that a few steps that overflow are enough; it grows after 2,000 steps only.
    step.scaler = torch.amp.GradScaler(device.type, init_scale=SCALE, backoff_factor=2.0**-12)
    x, labels = torch.randn(2, *recogniser.spec.shape, device=device), torch.tensor([0, 1], device=device)
    taken, losses, kept = [], [], True
    for _ in range(40):
        before = [parameter.detach().clone() for parameter in recogniser.parameters()]
        with step.autocast():
            loss = F.cross_entropy(recogniser(x).logits.float(), labels)
        step.backward(FACTOR * loss, 2, 2)
        taken.append(step.take())
        same = all(map(torch.equal, before, recogniser.parameters()))
        kept &= same == (not taken[-1])
        losses.append(float(loss.detach()))
        if sum(taken) == TAKEN:
            break
    first = taken.index(True) if any(taken) else None
    record.add(
        {
            "ok": bool(kept and first and taken[first:].count(True) == TAKEN and losses[-1] < losses[0]),
            "skipped": taken.count(False),
            "skipped_counted": step.skipped,
            "first_taken": first,
            "weights_kept_when_skipped": kept,
            "scale_after": step.scaler.get_scale(),
            "loss_before": losses[0],
            "loss_after": losses[-1],
        }
    )


def main(arguments: list[str]) -> int:
    return part("precision", work, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
