"""Compiles the loops once for a machine, with the C++ compiler that is there, and loads them; or has the reason why not.

What is compiled are the files of this folder and nothing else. They need no header of PyTorch: a build takes seconds, and does
not depend on its version. It is kept in ``$XDG_CACHE_HOME/taggnn`` (``~/.cache/taggnn``), by the hash of sources, options and
CPU.
``TAGGNN_FUSED=0`` in the environment switches the loops off; ``CXX`` names the compiler.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from torch import Tensor

log = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent
_SOURCES = ("gat.cpp", "gatv2.cpp", "gatv2_edges.cpp", "dropout.cpp")
# No -ffast-math: NaN stays NaN, and the process keeps its way with denormal numbers.
_OPTIONS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fopenmp", "-fno-math-errno", "-w")
_SECONDS = 600

_lock = threading.Lock()
_found: "Loops | None" = None
_reason: str | None = None


class Loops:
    """The compiled functions.

    Args:
        path: of the shared library.

    Raises:
        OSError: it cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._functions = ctypes.CDLL(str(path))
        self._functions.taggnn_built_by.restype = ctypes.c_char_p
        self.built_by = self._functions.taggnn_built_by().decode()

    def call(self, name: str, *arguments: Tensor | int | float) -> None:
        """Calls a function of the library; tensors are handed over as the address of their numbers, contiguous ones only.

        Raises:
            MemoryError: there was not enough.
        """
        given = [_plain(argument) for argument in arguments]
        if getattr(self._functions, f"taggnn_{name}")(*given, ctypes.c_int(torch.get_num_threads())):
            raise MemoryError(f"{name}: not enough memory")


def _plain(argument: Tensor | int | float) -> object:
    if isinstance(argument, Tensor):
        assert argument.is_contiguous()
        return ctypes.c_void_p(argument.data_ptr())
    return ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_int64(argument)


def load() -> Loops | None:
    """The loops, compiled first where there is no build yet; None where that cannot be done, see ``describe``. Never raises."""
    global _found, _reason
    if os.environ.get("TAGGNN_FUSED") == "0":
        return None
    if _found is None and _reason is None:
        with _lock:
            if _found is None and _reason is None:
                try:
                    _found = _built()
                except Exception as error:
                    _reason = str(error).strip() or type(error).__name__
                    # Without a compiler it is the usual way; one that fails is worth a look.
                    level = logging.INFO if _reason == _NO_COMPILER else logging.WARNING
                    log.log(level, "GAT and GATv2 on a CPU are computed in blocks, not by fused loops: %s", _reason)
    return _found


def describe() -> str:
    """How float32 is computed on a CPU, in one phrase; compiles nothing."""
    if os.environ.get("TAGGNN_FUSED") == "0":
        return "in blocks: TAGGNN_FUSED=0"
    if _found is not None:
        return f"fused loops on CPU, built by {_found.built_by}"
    if _reason is not None:
        return f"in blocks: {_reason}"
    if _path(_cache()).is_file():
        return "fused loops on CPU, built before"
    compiler = _compiler()
    return f"fused loops on CPU, built at first use by {compiler}" if compiler else f"in blocks: {_NO_COMPILER}"


_NO_COMPILER = "no C++ compiler found (g++ or clang++; or name one in CXX)"


def _built() -> Loops:
    if sys.platform == "win32":
        raise RuntimeError("not built on Windows")
    if (path := _path(_cache())).is_file():
        _check_owner(path)
        return Loops(path)
    if (compiler := _compiler()) is None:
        raise RuntimeError(_NO_COMPILER)
    try:
        folder = _cache()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(folder)
    except OSError as error:
        # A folder that cannot be written, or that others can write: for this process alone.
        log.info("the fused loops are compiled for this process alone: %s", error)
        folder = Path(tempfile.mkdtemp(prefix="taggnn-"))
    start = time.monotonic()
    log.info("compiling fused loops for this CPU, once, into %s", folder)
    path = _path(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as work:
        made = Path(work) / path.name
        _compile(compiler, made)
        # Several processes may do the same: the last one replaces an equal file.
        os.replace(made, path)
    log.info("compiled fused loops in %.0f s", time.monotonic() - start)
    return Loops(path)


def _compile(compiler: str, path: Path) -> None:
    command = [compiler, *_OPTIONS, *(str(_FOLDER / source) for source in _SOURCES), "-o", str(path)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        lines = (
            [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["no message"]
        )
        raise RuntimeError(f"{compiler} failed: {lines[0][:200]}")


def _compiler() -> str | None:
    named = os.environ.get("CXX")
    return next(filter(None, map(shutil.which, [named] if named else ["g++", "clang++", "c++"])), None)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taggnn"


def _path(folder: Path) -> Path:
    found = hashlib.sha256(" ".join(_OPTIONS).encode())
    for name in sorted(path.name for path in _FOLDER.iterdir() if path.suffix in (".cpp", ".h")):
        found.update(name.encode() + b"\0" + (_FOLDER / name).read_bytes())
    found.update(_cpu().encode())
    return folder / f"fused-{found.hexdigest()[:24]}.so"


def _cpu() -> str:
    """What the instructions of a build depend on."""
    facts = [platform.system(), platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability()]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return " ".join([*facts, *sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})])


def _check_owner(path: Path) -> None:
    """Refuses what another user could have put there: it is run.

    Raises:
        PermissionError: it belongs to another user, or others may write it.
    """
    found = path.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{path} belongs to another user, or others may write it")
