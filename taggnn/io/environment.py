"""The environment of a result: machine, versions, command."""

import os
import platform
import shlex
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import torch

from taggnn.runtime import distributed

try:
    import resource
except ImportError:
    # Windows has none.
    resource = None  # type: ignore[assignment]

_PACKAGES = ("taggnn", "torch", "torchvision", "torch_geometric", "av")


def describe(device: torch.device, seed: int) -> dict[str, str | int]:
    """Collects what a reader needs to judge or repeat a result, as plain types."""
    command = [os.path.basename(sys.executable), *_program(), *sys.argv[1:]]
    return {
        "command": shlex.join(command),
        "date": datetime.now().strftime("%Y-%m-%d"),
        "seed": seed,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        **(
            {"processes": distributed.world_size(), "machines": distributed.machines()}
            if distributed.world_size() > 1
            else {}
        ),
        **versions(),
    }


def peak_memory(device: torch.device) -> dict[str, int]:
    """Peak memory of this process in bytes: resident ("main") and, on a GPU, of tensors ("gpu"); without loader processes."""
    peak = {}
    if resource is not None:
        # Bytes on a Mac, else kilobytes.
        unit = 1 if sys.platform == "darwin" else 1024
        peak["main"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if device.type == "cuda":
        peak["gpu"] = torch.cuda.max_memory_allocated(device)
    return peak


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **{package: version_of(package) for package in _PACKAGES}}


def is_there(package: str) -> bool:
    """Whether a package is installed; it is not imported."""
    return find_spec(package) is not None


def _program() -> list[str]:
    module = getattr(sys.modules["__main__"], "__spec__", None)
    return ["-m", module.name.removesuffix(".__main__")] if module else [os.path.basename(sys.argv[0])]


def version_of(package: str) -> str:
    """The version of an installed package, or that it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        model = platform.processor()
    return f"CPU {model or platform.machine()}, {os.cpu_count()} cores"
