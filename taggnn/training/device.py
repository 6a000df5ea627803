"""The device of each process, and the precision of training."""

import os
from typing import Any, Literal

import torch

from taggnn.names import unknown
from taggnn.runtime import distributed
from taggnn.runtime.device import find_device

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "auto"]


def devices_of(given: Any, device: str | None = None) -> list[torch.device]:
    """The device of each process on this machine, by its local rank.

    Args:
        given: ``--devices``: "auto" for as many processes as torchrun or SLURM started, else one; their number; -1 for all GPUs;
            or the numbers of GPUs, as a list or as text.
        device: ``--device``: None for GPUs if there are any, "cpu", "cuda", or one device of this machine.

    Raises:
        ValueError: there are not as many devices, or another number of processes was started.
    """
    here, numbers = distributed.ranks(), _numbers(given)
    if here.world_size == 1 and numbers in (None, 1):
        return [find_device(device)]
    on_cpu = device == "cpu" or (device is None and not torch.cuda.is_available())
    if not on_cpu and device not in (None, "cuda"):
        raise unknown("device", device, ["cpu", "cuda"], "--device of several processes")
    there = torch.cuda.device_count()
    if numbers is None:
        wanted = list(range(here.local_world_size))
    elif isinstance(numbers, list):
        wanted = numbers
    else:
        wanted = list(range(there if numbers == -1 else numbers))
    if here.world_size > 1 and len(wanted) != here.local_world_size:
        raise ValueError(
            f"--devices {given}: the launcher started {here.local_world_size} processes on this machine; leave it out"
        )
    if on_cpu:
        if isinstance(numbers, list) or (numbers is not None and numbers < 1):
            raise ValueError(f"--devices {given}: on the CPU it is a number of processes, 1 or more")
        return [torch.device("cpu")] * len(wanted)
    if here.world_size > 1 and there == 1 and numbers is None and "SLURM_PROCID" in os.environ:
        # Each task sees only its own GPU.
        return [torch.device("cuda", 0)] * len(wanted)
    if not wanted or len(set(wanted)) < len(wanted) or not all(0 <= number < there for number in wanted):
        gpus = "no GPU" if not there else "1 GPU" if there == 1 else f"{there} GPUs"
        raise ValueError(f"--devices {given}: {len(wanted)} processes need a GPU each, and this machine has {gpus}")
    return [torch.device("cuda", number) for number in wanted]


def precision_of(given: Precision, device: torch.device) -> str:
    """The precision of a device.

    Weights are always stored in float32: in half precision most updates would be rounded to zero.

    Args:
        given: "auto" is bf16-mixed on a GPU that has bfloat16, else 32-true.
        device: where training computes.

    Raises:
        ValueError: 16-mixed on a CPU, where gradients cannot be scaled in time, or bf16-mixed on a GPU without bfloat16.
    """
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if given == "auto":
        return "bf16-mixed" if has_bfloat16 else "32-true"
    if given == "16-mixed" and device.type == "cpu":
        raise ValueError("precision 16-mixed: needs a GPU; on a CPU bf16-mixed and 32-true are possible")
    if given == "bf16-mixed" and device.type == "cuda" and not has_bfloat16:
        raise ValueError(
            f"precision bf16-mixed: {torch.cuda.get_device_name()} has no bfloat16; 16-mixed and 32-true are possible"
        )
    return given


def _numbers(given: Any) -> int | list[int] | None:
    try:
        if given in (None, "auto"):
            return None
        if isinstance(given, str) and "," in given:
            return [int(part) for part in given.split(",") if part.strip()]
        return [int(part) for part in given] if isinstance(given, list) else int(given)
    except ValueError:
        raise ValueError(f"--devices {given}: expected a number, a list of GPUs, or auto") from None
