"""The memory a call takes on top of what was there, and how much there is."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
from torch.profiler import ProfilerActivity, profile

# The profiler's tracer reports its start and stop otherwise.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

# What other programs may want meanwhile, and what PyTorch's allocator does not see (libraries' scratch memory).
_SHARE = 0.85


def peak(call: Callable[[], object], device: torch.device) -> int:
    """Bytes of tensors that live at once during a call, its result included, those before it not.

    On CUDA the allocator's own maximum; on the CPU the running sum of the allocations and releases that the profiler
    sees, which are those of tensors made within the call. What libraries take outside PyTorch's allocator is in neither.
    """
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    return highest([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])


def highest(changes: list[int]) -> int:
    """The largest running sum, 0 at least."""
    total = top = 0
    for change in changes:
        total += change
        top = max(top, total)
    return top


def available(device: torch.device) -> int:
    """Bytes that may be taken on a device now."""
    if device.type == "cuda":
        # What the allocator caches is free as well.
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(_SHARE * (torch.cuda.mem_get_info(device)[0] + cached))
    with suppress(OSError), open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable"):
                return int(_SHARE * 1024 * int(line.split()[1]))
    return 8 * 2**30


@contextmanager
def limited(device: torch.device) -> Iterator[None]:
    """Lets a call that needs more than there is fail with PyTorch's error instead of ending the process.

    On the CPU by the system's own limit of a process's data, where the system has one; CUDA needs none.
    """
    limit = None
    try:
        import resource

        if device.type == "cpu":
            soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
            most = available(device) + _in_use()
            limit = most if hard < 0 else min(most, hard)
    except (ImportError, OSError):
        pass
    if limit is None:
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def is_shortage(error: BaseException) -> bool:
    """Whether an error means that memory ran out."""
    known = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(part in str(error).lower() for part in known)


def _in_use() -> int:
    with open("/proc/self/status") as lines:
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmData")), 0)
