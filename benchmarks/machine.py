"""Facts that are stored with a result: machine, versions, command, date."""

import os
import platform
import shlex
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

import torch

from taggnn.io import environment

PACKAGES = ("torch", "torch_geometric", "torch_scatter", "triton", "numpy")


def describe(device: torch.device, seed: int, script: str, arguments: list[str]) -> dict[str, str | int]:
    """Collects it as plain types.

    Args:
        device: where the work was done.
        seed: of weights and inputs.
        script: the program's path below the repository, as a user types it.
        arguments: its command line.
    """
    known = environment.describe(torch.device("cpu"), seed)
    return {
        "command": shlex.join(["python", script, *arguments]),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "seed": seed,
        "cpu": str(known["device"]).removeprefix("CPU "),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "none used",
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "taggnn": str(known["taggnn"]),
        **{package: _version(package) for package in PACKAGES},
    }


def hardware(facts: dict[str, str | int]) -> str:
    """Machine and versions of ``describe`` in a line."""
    gpu = "" if facts["gpu"] == "none used" else f"{facts['gpu']}; "
    threads = f"{facts['threads']} thread{'s' if facts['threads'] != 1 else ''}"
    packages = ", ".join(f"{package} {facts[package]}" for package in PACKAGES if facts[package] != "not installed")
    return f"{gpu}{facts['cpu']}, {threads}; {facts['system']}; python {facts['python']}, {packages}"


def sentence(facts: dict[str, str | int]) -> str:
    """The facts of ``describe`` in two lines, the command last."""
    return f"{hardware(facts)}\n{facts['date']}, seed {facts['seed']}: {facts['command']}"


def cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
