"""What the machine has: devices, video decoders, threads, shared memory against what a recipe's loader needs, and disk."""

import os
import platform
import shutil
from pathlib import Path
from typing import Any

import torch

from taggnn.cli import config
from taggnn.cli.resolve import source_of
from taggnn.data.loader import default_workers
from taggnn.data.workers import SHARED_MEMORY, shared_memory_needed
from taggnn.runtime import distributed

# Codecs that videos of data sets have.
CODECS = ("h264", "hevc", "vp9", "av1", "mpeg4", "msmpeg4v2", "wmv2", "gif")


def devices() -> dict[str, Any]:
    """The devices that PyTorch can use; ``no_gpu`` has the reason where it sees no GPU."""
    gpus = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(number)
        capability = f"{about.major}.{about.minor}"
        gpus.append({"name": about.name, "gib": round(about.total_memory / 2**30, 1), "compute_capability": capability})
    found: dict[str, Any] = {"system": f"{platform.system()} {platform.machine()}", "gpus": gpus}
    if not gpus:
        built = torch.version.cuda or torch.version.hip
        found["no_gpu"] = (
            f"PyTorch is built for CUDA {built} and finds no driver or no GPU"
            if built
            else f"PyTorch {torch.__version__} is built for CPUs; pytorch.org has the command for one with CUDA"
        )
    if torch.backends.mps.is_available():
        found["mps"] = "there; untested here"
    return found


def threads() -> dict[str, int]:
    """Processor cores of this process, and the threads that PyTorch uses."""
    return {"cores": distributed.cores(), "threads": torch.get_num_threads()}


def decoders() -> dict[str, Any]:
    """The video decoder, the codecs it reads, and hardware that FFmpeg could decode with, which is not used."""
    try:
        import av
    except ImportError as error:
        return {"problem": f"PyAV cannot be imported ({error}): pip install 'av>=15'"}
    ffmpeg = ".".join(map(str, getattr(av, "library_versions", {}).get("libavcodec", ())))
    found: dict[str, Any] = {"pyav": av.__version__, "libavcodec": ffmpeg}
    found["codecs"] = [name for name in CODECS if name in av.codecs_available]
    found["missing_codecs"] = [name for name in CODECS if name not in av.codecs_available]
    try:
        from av.codec.hwaccel import hwdevices_available

        found["hardware"] = [str(name) for name in hwdevices_available()]
    except (ImportError, AttributeError):
        found["hardware"] = []
    return found


def memory(recipe: str) -> dict[str, Any]:
    """Shared memory that is free, and what the loader processes of a recipe need of it.

    Args:
        recipe: its name, or a configuration file.
    """
    settings = config.parse(["--config", recipe, "--data.root", "."])
    workers = default_workers() if settings.data.workers is None else settings.data.workers
    spec, batch_size = source_of(settings).spec, settings.data.batch_size
    needed = shared_memory_needed(spec, batch_size, workers)
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None
    return {
        "recipe": recipe,
        "workers": workers,
        "batch_size": batch_size,
        "one_process_mb": round(shared_memory_needed(spec, batch_size, 1) / 1e6, 1),
        "needed_mb": round(needed / 1e6, 1),
        "free_mb": None if free is None else round(free / 1e6, 1),
        "enough": free is None or needed <= free,
    }


def disk(folder: Path = Path("runs")) -> dict[str, Any]:
    """Free space where the run folders will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    return {
        "folder": str(there),
        "free_gb": round(shutil.disk_usage(there).free / 1e9, 1),
        "writable": os.access(there, os.W_OK),
    }
