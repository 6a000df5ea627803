"""taggnn: graph heads for fine-grained action recognition in video, on PyTorch Geometric."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["attach", "load", "load_released"]

_HOME = {"attach": "taggnn.model", "load": "taggnn.checkpoint", "load_released": "taggnn.checkpoint"}


def __getattr__(name: str) -> Any:
    # On first use: `python -m taggnn.train --help` should not wait for everything.
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'taggnn' has no attribute {name!r}")
