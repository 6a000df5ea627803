"""The least time that a convolution can take on a device: its bytes and its multiply-adds at the rates that the device reaches.

Source: Williams et al., Roofline, https://doi.org/10.1145/1498765.1498785. Formula: ``max(bytes / bandwidth, 2 MACs / rate)``.
The rates are measured before anything else: copying a large tensor, and multiplying two large matrices.
"""

from dataclasses import asdict, dataclass

import torch

from benchmarks import cost, timing
from benchmarks.case import Case


@dataclass(frozen=True)
class Rates:
    """What a device reaches.

    Args:
        bytes_per_s: read and written by a copy.
        flops_per_s: of a product of matrices, by the name of its precision.
    """

    bytes_per_s: float
    flops_per_s: dict[str, float]

    def row(self) -> dict:
        return asdict(self)

    def seconds(self, case: Case, dtype: str, backward: bool) -> float:
        """The floor of a case; the backward pass has twice the multiply-adds of the forward one."""
        moved = cost.floor_bytes(case.conv, case.size, case.dtype, backward)
        macs = cost.projection_macs(case.conv, case.size) + (cost.graph_macs(case.conv, case.topology, case.size) or 0)
        return max(moved / self.bytes_per_s, 2 * macs * (3 if backward else 1) / self.flops_per_s[dtype])


def measured(device: torch.device, quick: bool) -> Rates:
    """Measures the rates of a device."""
    entries, side = (2**20, 256) if quick else (2**28, 8192)
    source = torch.randn(entries, device=device)
    target, clock = torch.empty_like(source), timing.clock(device)
    copied = min(clock(lambda: target.copy_(source), 5))
    rates = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        matrix = torch.randn(side, side, device=device, dtype=dtype)
        rates[name] = 2 * side**3 / min(clock(lambda matrix=matrix: matrix @ matrix, 5))
    return Rates(2 * source.nbytes / copied, rates)
