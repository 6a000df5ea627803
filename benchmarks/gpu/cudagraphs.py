"""Are heads under CUDA graphs equal to themselves, and how much faster: captured by hand, and by torch.compile's mode.

    python -m benchmarks.gpu.cudagraphs --device cuda

On the CPU, where there is nothing to capture, a call stands in for its own replay.
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import program, timing
from benchmarks.gpu.record import Record, part
from taggnn.heads import TagHead

SCRIPT = "benchmarks/gpu/cudagraphs.py"
HEADS = (("gat", "structured"), ("gatv2", "structured"), ("appnp", "structured"), ("gat", "triton"))


def work(record: Record, device: torch.device, quick: bool) -> None:
    grid, channels, clips = ((2, 2, 2), 16, 2) if quick else ((8, 7, 7), 512, 8)
    for conv, impl in HEADS[:1] if quick else HEADS:
        with record.trying(conv=conv, impl=impl):
            torch.manual_seed(0)
            head = TagHead(channels, grid, 99, dim=channels, conv=conv, impl=impl).to(device).eval()
            x = torch.randn(clips, *grid, channels, device=device)
            with torch.no_grad():
                expected = head(x).logits
                ways: dict[str, Callable[[], Tensor]] = {"eager": lambda head=head, x=x: head(x).logits}
                ways["captured"] = captured(ways["eager"], device)
                if device.type == "cuda":
                    compiled = torch.compile(head, mode="reduce-overhead")
                    ways["reduce-overhead"] = lambda compiled=compiled, x=x: compiled(x).logits
                errors = {}
                for name, way in ways.items():
                    for _ in range(3):
                        found = way().clone()
                    errors[name] = float((found - expected).abs().max() / expected.abs().max())
                times = timing.in_turn(ways, timing.clock(device), 0.3, 2 if quick else None)
            for name, error in errors.items():
                row = {"conv": conv, "impl": impl, "by": name, "ok": error <= 1e-4, "error": error}
                record.add(
                    {**row, **times[name].row(), "faster_than_eager": times["eager"].median / times[name].median}
                )


def captured(call: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """A call that replays what ``call`` launches."""
    if device.type != "cuda":
        return call
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def main(arguments: list[str]) -> int:
    return part("cudagraphs", work, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
