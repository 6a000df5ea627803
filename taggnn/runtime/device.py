"""Finds a device by its name."""

import torch

from taggnn.names import unknown


def find_device(given: str | None) -> torch.device:
    """The device that ``--device`` names; None for a GPU if there is one.

    Raises:
        ValueError: this machine has no such device.
    """
    if given is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(given)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        here = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        if given.startswith("cuda") and not torch.cuda.is_available():
            built = "is built for CPUs" if torch.version.cuda is None else "finds no driver or no GPU"
            message = f"on this machine: unknown device {given!r}. Possible: cpu; PyTorch {built}, see taggnn doctor"
            raise ValueError(message) from error
        raise unknown("device", given, here, "on this machine") from error
    return found
