"""How several processes train one model: each with a copy of it, or each with a share of its weights.

Both take gradients as their mean over the processes. The group is there before (launch.py).
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from taggnn.backbones.stages import stages
from taggnn.launch import place
from taggnn.names import unknown

STRATEGIES = ("auto", "ddp", "fsdp")


class Members(LightningEnvironment):
    """Lightning's view of processes that were there before it."""

    creates_processes_externally = True

    def world_size(self) -> int:
        return place().count

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return place().rank

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return place().local_rank

    def node_rank(self) -> int:
        return place().rank // place().local_count

    def teardown(self) -> None:
        pass


class Replicated(DDPStrategy):
    """DDP in processes that are there already: every process has all weights and sees its share of each batch.

    Source: Li et al., PyTorch Distributed, https://arxiv.org/abs/2006.15704.
    """

    def _configure_launcher(self) -> None:
        pass


class Sharded(Replicated):
    """FSDP2: each process keeps its share of every weight, of its gradient and of the optimiser's state.

    A stage of the backbone, the rest of it and the head have their weights gathered while they are computed. Checkpoints hold
    whole weights and fit every number of processes.

    Source: ZeRO stage 3, https://arxiv.org/abs/1910.02054; FSDP, https://arxiv.org/abs/2304.11277.
    """

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        return True

    def _setup_model(self, model: nn.Module) -> nn.Module:
        mesh = dist.device_mesh.init_device_mesh(self.root_device.type, (dist.get_world_size(),))
        backbone, head = model.model.backbone, model.model.head
        inner = [backbone.get_submodule(name) for stage in stages(backbone) for name in stage.parts]
        # From the inside out: a part takes what the parts in it have left.
        for part in (*inner, backbone, head):
            if any(True for _ in part.parameters()):
                fully_shard(part, mesh=mesh)
        return model

    def _register_ddp_hooks(self) -> None:
        pass

    def block_backward_sync(self) -> AbstractContextManager:
        # Shares of gradients add up as whole ones do.
        return nullcontext()

    def on_validation_start(self) -> None:
        # As in DDP, BatchNorm's statistics are those of the first process.
        for buffer in self.lightning_module.buffers():
            dist.broadcast(buffer, 0)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return _whole(self.lightning_module.state_dict())

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return _whole(super().optimizer_state(optimizer))

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        own = self.lightning_module.state_dict()
        shares = {key: _share(value, own.get(key)) for key, value in checkpoint["state_dict"].items()}
        self.lightning_module.load_state_dict(shares, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, stored in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state = {
                number: {key: _share(value, own[number]) for key, value in values.items()}
                for number, values in stored["state"].items()
            }
            optimizer.load_state_dict({**stored, "state": state})


def _whole(held: Any) -> Any:
    """The same with whole tensors on the CPU in place of shares; all processes must call it."""
    if isinstance(held, Mapping):
        return {key: _whole(value) for key, value in held.items()}
    if isinstance(held, list):
        return [_whole(value) for value in held]
    return held.full_tensor().cpu() if isinstance(held, DTensor) else held


def _share(value: Any, own: Any) -> Any:
    """The share of a whole tensor that this process keeps, where ``own`` is kept in shares and has its shape."""
    if not isinstance(own, DTensor) or not isinstance(value, Tensor) or value.shape != own.shape:
        return value
    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None)


def devices_of(given: Any, nodes: int, accelerator: str) -> list[torch.device]:
    """The device of each process on this machine, by its local rank; empty where one process is left to Lightning.

    Args:
        given: ``trainer.devices``: "auto" for as many processes as torchrun or SLURM started, else one; their number; -1 for
            all GPUs; or the numbers of GPUs, as a list or as text.
        nodes: ``trainer.num_nodes``; 1 leaves it to torchrun and SLURM.
        accelerator: ``trainer.accelerator``.

    Raises:
        ValueError: there are not as many devices, or another number of processes was started.
    """
    here, numbers = place(), _numbers(given)
    if nodes not in (1, here.nodes):
        raise ValueError(
            f"trainer.num_nodes {nodes}: machines work together where torchrun or srun starts the program on each; here it "
            f"runs on {here.nodes}; leave it out"
        )
    if here.count == 1 and numbers in (None, 1):
        return []
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    if not on_cpu and accelerator not in ("auto", "gpu", "cuda"):
        raise ValueError(f"trainer.accelerator {accelerator}: possible with several devices are cpu, gpu and auto")
    there = torch.cuda.device_count()
    if numbers is None:
        wanted = list(range(here.local_count))
    elif isinstance(numbers, list):
        wanted = numbers
    else:
        wanted = list(range(there if numbers == -1 else numbers))
    if here.count > 1 and len(wanted) != here.local_count:
        raise ValueError(
            f"trainer.devices {given}: the launcher started {here.local_count} processes on this machine; leave it out"
        )
    if on_cpu:
        if isinstance(numbers, list) or (numbers is not None and numbers < 1):
            raise ValueError(f"trainer.devices {given}: on the CPU it is a number of processes, 1 or more")
        return [torch.device("cpu")] * len(wanted)
    if here.count > 1 and there == 1 and numbers is None and "SLURM_PROCID" in os.environ:
        # Each task was given a GPU of its own and sees no other.
        return [torch.device("cuda", 0)] * len(wanted)
    if not wanted or len(set(wanted)) < len(wanted) or not all(0 <= number < there for number in wanted):
        gpus = "no GPU" if not there else "1 GPU" if there == 1 else f"{there} GPUs"
        raise ValueError(
            f"trainer.devices {given}: {len(wanted)} processes need a GPU each, and this machine has {gpus}"
        )
    return [torch.device("cuda", number) for number in wanted]


def _numbers(given: Any) -> int | list[int] | None:
    """A count, the numbers of GPUs, or None for "auto"."""
    try:
        if given in (None, "auto"):
            return None
        if isinstance(given, str) and "," in given:
            return [int(part) for part in given.split(",") if part.strip()]
        return [int(part) for part in given] if isinstance(given, list) else int(given)
    except ValueError:
        raise ValueError(f"trainer.devices {given}: expected a number, a list of GPUs, or auto") from None


def strategy_of(name: Any, devices: Sequence[torch.device], unused: bool = False) -> Replicated:
    """Lightning's strategy for one of several processes.

    Args:
        name: "fsdp", or "ddp" or "auto" for ddp.
        devices: of the processes on this machine.
        unused: the model has trained parameters that a step may leave out; DDP has to look for them.
    """
    on_gpu = devices[0].type == "cuda"
    return (Sharded if name == "fsdp" else Replicated)(
        parallel_devices=list(devices),
        cluster_environment=Members(),
        process_group_backend="nccl" if on_gpu else "gloo",
        **({"find_unused_parameters": True} if unused and name != "fsdp" else {}),
    )


def check(name: Any, devices: Sequence[torch.device], sync_batchnorm: bool, precision: str, ema: bool) -> None:
    """Refuses what the processes cannot do together.

    Args:
        name: ``trainer.strategy``.
        devices: as ``devices_of`` gives them.
        sync_batchnorm: ``trainer.sync_batchnorm``.
        precision: of the run.
        ema: whether weights are averaged.

    Raises:
        ValueError: it is not possible.
    """
    if name not in STRATEGIES:
        raise unknown("trainer.strategy", name, STRATEGIES)
    if name == "fsdp":
        if len(devices) < 2 and place().count == 1:
            raise ValueError("trainer.strategy fsdp: shares weights out between processes, and there is one")
        if ema:
            raise ValueError("optim.ema: not possible with trainer.strategy fsdp, where no process has all weights")
        if precision == "16-mixed":
            raise ValueError("precision 16-mixed: not possible with trainer.strategy fsdp; bf16-mixed is")
    if sync_batchnorm and not any(device.type == "cuda" for device in devices):
        raise ValueError("trainer.sync_batchnorm: PyTorch has it for several GPUs only")
