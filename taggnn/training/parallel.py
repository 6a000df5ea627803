"""How several processes train one model: each with a copy of it (DDP), or each with a shard of its weights (FSDP2).

Both average gradients over the processes.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from taggnn.backbones.stages import stages
from taggnn.names import unknown
from taggnn.runtime import distributed

STRATEGIES = ("auto", "ddp", "fsdp")


def check(strategy: str, devices: list[torch.device], sync_batchnorm: bool, precision: str, ema: bool) -> None:
    """Refuses options that do not work with several processes.

    Args:
        strategy: a name of ``STRATEGIES``.
        devices: of the processes on this machine.
        sync_batchnorm: whether statistics of BatchNorm are shared.
        precision: of the run.
        ema: whether weights are averaged.

    Raises:
        ValueError: it is not possible.
    """
    if strategy not in STRATEGIES:
        raise unknown("train.strategy", strategy, STRATEGIES)
    if strategy == "fsdp":
        if len(devices) < 2 and distributed.ranks().world_size == 1:
            raise ValueError("train.strategy fsdp: shards weights over several processes, and there is one")
        if ema:
            raise ValueError("optim.ema: not possible with train.strategy fsdp, where no process has all weights")
        if precision == "16-mixed":
            raise ValueError("precision 16-mixed: not possible with train.strategy fsdp; bf16-mixed is")
    if sync_batchnorm and not any(device.type == "cuda" for device in devices):
        raise ValueError("train.sync_batchnorm: PyTorch has it for several GPUs only")


def replicate(model: nn.Module, unused: bool) -> nn.Module:
    """DDP around a model; alone, the model itself.

    Source: Li et al., PyTorch Distributed, https://arxiv.org/abs/2006.15704.

    Args:
        model: on its device.
        unused: it has trained parameters that a step may not use; DDP has to look for them.
    """
    if distributed.world_size() == 1:
        return model
    device = next(model.parameters()).device
    ids = [device] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=ids, find_unused_parameters=unused)


def shard(recogniser: nn.Module) -> None:
    """FSDP2, in place: each process has a shard of every weight, of its gradient and of the optimiser's state.

    The weights of a stage of the backbone, of its remaining parts and of the head are gathered while they compute. Checkpoints
    hold unsharded weights, for any number of processes.

    Source: ZeRO stage 3, https://arxiv.org/abs/1910.02054; FSDP, https://arxiv.org/abs/2304.11277.
    """
    device = next(recogniser.parameters()).device
    mesh = dist.device_mesh.init_device_mesh(device.type, (dist.get_world_size(),))
    backbone, head = recogniser.get_submodule("backbone"), recogniser.get_submodule("head")
    inner = [backbone.get_submodule(name) for stage in stages(backbone) for name in stage.parts]
    # Inner modules first: a module shards the parameters that its submodules have not.
    for part in (*inner, backbone, head):
        if any(True for _ in part.parameters()):
            fully_shard(part, mesh=mesh)


def without_sync(model: nn.Module) -> AbstractContextManager:
    """Skips DDP's exchange of gradients while they accumulate."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def unsharded(state: Any) -> Any:
    """A nested state with unsharded tensors on the CPU; all processes must call it."""
    if isinstance(state, Mapping):
        return {key: unsharded(value) for key, value in state.items()}
    if isinstance(state, list):
        return [unsharded(value) for value in state]
    return state.full_tensor().cpu() if isinstance(state, DTensor) else state


def load_model(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads unsharded weights into a model that may be sharded."""
    own = model.state_dict()
    model.load_state_dict({key: _shard(value, own.get(key)) for key, value in state.items()})


def load_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Loads an unsharded state into the optimiser of a model that may be sharded."""
    own = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    shards = {
        number: {key: _shard(value, own[number]) for key, value in values.items()}
        for number, values in state["state"].items()
    }
    optimiser.load_state_dict({**state, "state": shards})


def _shard(value: Any, own: Any) -> Any:
    """The shard of a tensor for this process, if ``own`` is sharded and has its shape."""
    if not isinstance(own, DTensor) or not isinstance(value, Tensor) or value.shape != own.shape:
        return value
    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None)


@contextmanager
def idle(model: nn.Module) -> Iterator[None]:
    """Excludes a batch of zeros, with which a process without clips joins a step, from all statistics of BatchNorm.

    Args:
        model: in training mode, which is restored after the block; the block includes the backward pass, because checkpointing
            computes parts of the network again there.
    """
    norms = [part for part in model.modules() if isinstance(part, _BatchNorm) and part.training]
    for norm in norms:
        if isinstance(norm, nn.SyncBatchNorm):
            vars(norm)["forward"] = partial(_without_rows, norm)
        else:
            norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            vars(norm).pop("forward", None)
            norm.train()


def _without_rows(norm: nn.SyncBatchNorm, x: Tensor) -> Tensor:
    # The other processes wait for statistics and their gradients: here those of zero rows.
    return x + nn.SyncBatchNorm.forward(norm, x[:0]).sum()
