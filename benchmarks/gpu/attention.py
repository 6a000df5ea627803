"""Latency of the kernels against FlexAttention, dense SDPA, and the floor of bytes and multiply-adds computed beforehand.

    python -m benchmarks.gpu.attention --device cuda

SDPA is PyTorch's ``scaled_dot_product_attention`` under an N x N mask, the usual way to have attention on a graph. Everything is
compared with PyG before it is timed, and all ways of one size are timed in turn.

Axes: B clips, N nodes of one clip, A attention heads, D channels of a head.
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import measure, program
from benchmarks.case import Case
from benchmarks.gpu import floor
from benchmarks.gpu.record import Record, part
from benchmarks.sizes import parse
from graphs import graph
from graphs import parse as topology
from taggnn.kernels import flex, operators
from taggnn.kernels.kernel import Kernel

SCRIPT = "benchmarks/gpu/attention.py"
GRIDS, SMALL = ("G1", "G2", "G3"), ("B1-T2-2x2-C8-A2",)
IMPLS = ("pyg", "dense", "structured", "flex", "triton")


class MaskedSDPA(nn.Module):
    """TransformerConv's attention by PyTorch's own, under the mask of the edges.

    **Shapes:** q, k, v (B, N, A, D), 0 -> (B, N, A, D)
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, self.mask).transpose(1, 2)


def work(record: Record, device: torch.device, quick: bool) -> None:
    flex._Flex.compiled = device.type == "cuda"
    rates = floor.measured(device, quick)
    record.content["settings"] |= {"rates": rates.row(), "topology": "clique+chain"}
    for dtype in ("bfloat16", "float32"):
        for grid in SMALL if quick else GRIDS:
            for name in ("gat", "transformer", "gatv2"):
                with record.trying(conv=name, grid=grid, dtype=dtype):
                    case = Case(name, parse(grid), topology("clique+chain"), device, program.DTYPES[dtype])
                    case.backward = device.type == "cuda"
                    timed(record, case, dtype, rates, quick)


def timed(record: Record, case: Case, dtype: str, rates: floor.Rates, quick: bool) -> None:
    """Adds the rows of a case."""
    least = {which: rates.seconds(case, dtype, which == measure.BOTH) for which in (measure.FORWARD, measure.BOTH)}
    extra = {}
    if case.name == "transformer":
        mask = graph(case.topology, case.size.grid).mask.to(case.device)
        kernel = Kernel("sdpa", operators.read(case.conv), MaskedSDPA(mask), case.size.nodes)
        extra["sdpa"] = lambda x: kernel(case.conv, x)
    rows, left = measure.measure(
        case, IMPLS, budget=0.15, rounds=1 if quick else None, details=not quick, longest=2.0, extra=extra
    )
    for row in rows:
        found = least[row["pass"]]
        record.add({"dtype": dtype, **row, "floor_ms": 1e3 * found, "times_floor": row["median_ms"] / (1e3 * found)})
    for entry in left:
        record.leave_out(dtype=dtype, **entry)


def main(arguments: list[str]) -> int:
    return part("attention", work, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
