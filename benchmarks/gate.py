"""The gate: nothing is timed that does not give the same numbers.

Every way to compute is compared with the reference, in float64 where its memory allows, on as many clips of the batch as
fit: the other clips' upstream gradient is zero, so that theirs must be zero as well.

Axes: B clips, N nodes of one clip, C channels.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchmarks.passes import Way

# The largest error that passes in any case, relative to the largest entry of a tensor, and how far more may pass where the
# reference itself, computed in the same precision, strays from its float64 self.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 2e-2}
OWN, MOST = 2.0, 10.0
# A small gradient is measured against the others, and one that is zero by nature (a key's bias in a softmax), whose every digit
# is rounding error, against the largest of them.
_SMALL, _ZERO = 1e-2, 1e-9


@dataclass(frozen=True)
class Verdict:
    """How far the farthest tensor was off.

    Args:
        equal: the error is allowed; NaN never is.
        error: relative to the largest entry.
        allowed: for this precision.
        worst: name of that tensor.
        against: the reference's dtype.
        clips: how many of the batch were compared.
    """

    equal: bool
    error: float
    allowed: float
    worst: str
    against: str
    clips: int

    def row(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.worst} off by {self.error:.1e}, allowed {self.allowed:.1e}"


def answers(way: Way, x: Tensor, parameters: Mapping[str, Tensor], upstream: Tensor | None) -> dict[str, Tensor]:
    """The output and, where an upstream gradient is given, the gradients of the input and of every parameter, by name."""
    if upstream is None:
        with torch.no_grad():
            return {"output": way(x)}
    x = x.detach().requires_grad_()
    out = way(x)
    leaves = {"gradient of x": x} | {f"gradient of {name}": leaf for name, leaf in parameters.items()}
    gradients = torch.autograd.grad(out, list(leaves.values()), upstream, allow_unused=True)
    found = {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
    }
    return {"output": out.detach(), **found}


def first_clips(upstream: Tensor | None, clips: int) -> Tensor | None:
    """The upstream gradient with all clips but the first ones zero."""
    if upstream is None:
        return None
    masked = torch.zeros_like(upstream)
    masked[:clips] = upstream[:clips]
    return masked


def distance(reference: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> tuple[float, str]:
    """The largest relative error and the tensor that has it; ``reference`` may hold fewer clips, then the rest must be 0."""
    if reference.keys() != found.keys():
        raise ValueError(f"compared {', '.join(reference)} with {', '.join(found)}")
    common = max(
        (_largest(tensor) for name, tensor in reference.items() if name not in ("output", "gradient of x")), default=0.0
    )
    worst = (-1.0, "")
    for name, expected in reference.items():
        got, clips = found[name].double(), len(expected)
        if name == "output":
            got = got[:clips]
        elif name == "gradient of x" and len(got) > clips:
            expected = torch.cat([expected, expected.new_zeros(len(got) - clips, *expected.shape[1:])])
        if got.shape != expected.shape:
            raise ValueError(f"{name} has shape {tuple(got.shape)}, the reference's is {tuple(expected.shape)}")
        scale = _largest(expected)
        if name not in ("output", "gradient of x"):
            scale = common if scale <= _ZERO * common else max(scale, _SMALL * common)
        off = _largest(got - expected.double())
        error = 0.0 if off == 0 else off / scale if scale else float("inf")
        # Not `>`, so that NaN is the worst of all and stays it.
        if not error <= worst[0] and worst[0] == worst[0]:
            worst = (error, name)
    return worst


def judge(
    reference: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    dtype: torch.dtype,
    own: float | None,
    peer: Mapping[str, Tensor] | None = None,
) -> Verdict:
    """Compares with the reference; where that strays too far from itself in this precision, with it in this precision.

    At a kink one rounding of a sum of two numbers decides which way a gradient goes: GATv2 has a hundred million of such sums
    in a batch, and float32 takes some of them to the other side of 0 than float64, whoever computes them.

    Args:
        reference: its answers.
        found: the answers of a way to compute.
        dtype: that they were computed in.
        own: the error of the reference itself in that precision; None where it could not be computed in a finer one, and for
            itself.
        peer: answers of the reference in that precision, or None.
    """
    if peer is not None and own is not None and own > MOST * TOLERANCE[dtype]:
        reference, own = peer, None
    output = reference["output"]
    error, worst = distance(reference, found)
    most = MOST * TOLERANCE[dtype]
    allowed = most if own is None else min(max(TOLERANCE[dtype], OWN * own), most)
    against = str(output.dtype).removeprefix("torch.")
    return Verdict(error <= allowed, error, allowed, worst, against, len(output))


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0
