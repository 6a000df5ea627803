"""Are flex and triton equal to PyG on this device? Values and all gradients, float32 and bfloat16.

    python -m benchmarks.gpu.equality --device cuda

On the CPU Triton's kernels run in its interpreter (TRITON_INTERPRET=1), and FlexAttention in its plain form, which has no
gradients.
"""

import sys

import torch

from benchmarks import gate, measure, program
from benchmarks.case import Case
from benchmarks.gpu.record import Record, part
from benchmarks.sizes import parse
from graphs import parse as topology
from taggnn.kernels import flex

SCRIPT = "benchmarks/gpu/equality.py"
CONVS = ("gat", "gatv2", "transformer")
IMPLS, DTYPES = ("flex", "triton", "structured"), ("float32", "bfloat16")
# The sizes of the papers, one with nothing of a power of two, and one whose frames are larger than a block.
GRIDS = ("B4-T8-7x7-C512-A4", "B3-T5-5x9-C36-A3", "B1-T4-14x14-C64-A4")
SMALL = ("B2-T2-2x1-C8-A2",)


def work(record: Record, device: torch.device, quick: bool) -> None:
    flex._Flex.compiled = device.type == "cuda"
    for grid in SMALL if quick else GRIDS:
        for dtype in DTYPES:
            for name in CONVS:
                case = Case(name, parse(grid), topology("clique+chain"), device, program.DTYPES[dtype], backward=True)
                with record.trying(conv=name, grid=grid, dtype=dtype):
                    for impl in IMPLS:
                        compare(record, case, impl, {"conv": name, "impl": impl, "grid": grid, "dtype": dtype})


def compare(record: Record, case: Case, impl: str, about: dict[str, str]) -> None:
    """Adds the row of one implementation, or why it has none."""
    # What the plain form of FlexAttention cannot give.
    case.backward = not (impl == "flex" and case.device.type == "cpu")
    ways, refused = measure.ways_of(case, [impl])
    verdicts, left = measure.judged(case, ways)
    for entry in [*refused, *left]:
        expected = impl == "flex" and case.name == "gatv2"
        why = entry["why"] if expected or entry["why"] != "refused" else "failed"
        record.leave_out(why, entry["reason"], **about)
    for verdict in verdicts.values():
        assert isinstance(verdict, gate.Verdict)
        record.add({**about, "ok": verdict.equal, "gradients": case.backward, **verdict.row()})


def main(arguments: list[str]) -> int:
    return part("equality", work, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
