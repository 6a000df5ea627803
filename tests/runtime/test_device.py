"""taggnn.runtime.device: the device that a name means."""

import pytest
import torch

from taggnn.runtime.device import find_device


def test_device():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:99", "cup"])
def test_device_that_is_not_here(name):
    with pytest.raises(ValueError, match=f"on this machine: unknown device '{name}'.*Possible: cpu"):
        find_device(name)
