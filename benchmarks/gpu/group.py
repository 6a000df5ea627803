"""A process group of one process over NCCL: collectives, DDP, and SyncBatchNorm equal to a single process.

    python -m benchmarks.gpu.group --device cuda

On the CPU gloo stands in for NCCL, and BatchNorm for SyncBatchNorm, whose kernels are for GPUs only.
"""

import copy
import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmarks import program
from benchmarks.gpu.record import Record, part
from taggnn import model
from taggnn.runtime import distributed
from taggnn.training import parallel

SCRIPT = "benchmarks/gpu/group.py"


def work(record: Record, device: torch.device, quick: bool) -> None:
    clip, head = ((4, 16, 16), {"dim": 16, "encoder_heads": 2, "ffn": 16}) if quick else ((16, 112, 112), {})
    torch.manual_seed(0)
    recogniser = model.attach("small", "tag", 5, clip=clip, **head).to(device).train()
    x = torch.randn(2, *recogniser.spec.shape, device=device)
    with record.trying(what="group"):
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        try:
            with record.trying(what="collectives"):
                summed = distributed.all_sum([1.5, 2.0], device)
                found = (summed, distributed.all_max(3), distributed.broadcast("a"), distributed.all_gather(["b"]))
                record.add({"what": "collectives", "backend": backend, "ok": found == ([1.5, 2.0], 3, "a", [["b"]])})
            with record.trying(what="DDP"):
                alone = gradients(copy.deepcopy(recogniser), x)
                together = gradients(parallel.replicate(copy.deepcopy(recogniser), False), x)
                record.add({"what": "DDP", **compared(alone, together)})
            with record.trying(what="SyncBatchNorm"):
                alone = gradients(copy.deepcopy(recogniser), x)
                synced = copy.deepcopy(recogniser)
                if device.type == "cuda":
                    synced = nn.SyncBatchNorm.convert_sync_batchnorm(synced)
                record.add({"what": "SyncBatchNorm in the model", **compared(alone, gradients(synced, x))})
            if device.type == "cuda":
                with record.trying(what="SyncBatchNorm's kernels"):
                    record.add({"what": "SyncBatchNorm's kernels", **compared(*kernels(device))})
        finally:
            dist.destroy_process_group()


def kernels(device: torch.device) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """BatchNorm, and the function with which SyncBatchNorm's kernels average over a group, here of one process."""
    from torch.nn.modules._functions import SyncBatchNorm

    torch.manual_seed(0)
    x, upstream = (torch.randn(4, 6, 3, 5, 5, device=device) for _ in range(2))
    found = []
    for synced in (False, True):
        leaf, weight, bias = (t.detach().clone().requires_grad_() for t in (x, torch.ones(6), torch.zeros(6)))
        weight, bias = (part.to(device).detach().requires_grad_() for part in (weight, bias))
        mean, variance = torch.zeros(6, device=device), torch.ones(6, device=device)
        if synced:
            out = SyncBatchNorm.apply(leaf, weight, bias, mean, variance, 1e-5, 0.1, dist.group.WORLD, 1)
        else:
            out = nn.functional.batch_norm(leaf, mean, variance, weight, bias, True, 0.1, 1e-5)
        out.backward(upstream)
        names = ("output", "x", "weight", "bias", "mean", "variance")
        values = (out.detach(), leaf.grad, weight.grad, bias.grad, mean, variance)
        found.append(dict(zip(names, values, strict=True)))
    return found[0], found[1]


def gradients(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Logits, gradients and statistics of a training step, by name."""
    # Dropout is the same in each.
    torch.manual_seed(0)
    out = module(x).logits
    out.square().sum().backward()
    plain = getattr(module, "module", module)
    found = {name: parameter.grad for name, parameter in plain.named_parameters() if parameter.grad is not None}
    return {"logits": out.detach(), **found, **{name: value.float() for name, value in plain.named_buffers()}}


def compared(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict:
    """The largest difference, relative to the largest entry of all gradients."""
    common = max(float(value.abs().max()) for value in one.values() if value.numel())
    errors = {name: float((value - other[name]).abs().max()) / common for name, value in one.items() if value.numel()}
    worst = max(errors, key=errors.__getitem__)
    return {"ok": errors[worst] <= 1e-4, "error": errors[worst], "worst": worst, "tensors": len(errors)}


def main(arguments: list[str]) -> int:
    return part("group", work, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(program.run(main, SCRIPT))
