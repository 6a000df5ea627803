"""torch.compile for training: backbone and head in place, so that the names of their weights do not change."""

from typing import Literal

import torch

from taggnn.model import Recogniser
from taggnn.nn.layers import GraphLayer

Compile = bool | Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]


def check(given: Compile, device: torch.device | str) -> None:
    """Tests whether torch.compile works, on a line of arithmetic.

    Args:
        given: false for no compilation, true for PyTorch's default mode, or the name of a mode of ``torch.compile``.
        device: where training will run.

    Raises:
        ValueError: it does not work: most often there is no C++ compiler (CPU) or no Triton (GPU).
    """
    if not given:
        return
    try:
        torch.compile(_line, mode=_mode(given))(torch.ones(8, device=device))
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(
            f"compile {str(given).lower()}: torch.compile does not work here on {device} ({reason}); it needs a C++ compiler "
            "such as g++ for a CPU, and Triton for a GPU. --compile false works without them"
        ) from error


def check_model(model: Recogniser, given: Compile) -> None:
    """Refuses a model that PyTorch cannot trace.

    Args:
        model: what is to be trained.
        given: as for ``check``.

    Raises:
        ValueError: its graph layers use torch-scatter, whose operators cannot be traced.
    """
    impls = {layer.kernel.impl for layer in model.modules() if isinstance(layer, GraphLayer)}
    if given and "scatter" in impls:
        raise ValueError(
            f"compile {str(given).lower()}: impl scatter cannot be compiled, since torch-scatter's operators cannot be traced; "
            "impl structured and dense can as one graph, pyg in pieces"
        )


def compile_parts(model: Recogniser, given: Compile) -> None:
    """Compiles backbone and head, each by itself; the first batches of training and of validation then take longer.

    Weights, state dicts and checkpoints do not change.

    Args:
        model: what is trained.
        given: as for ``check``; false leaves the model as it is.
    """
    if given:
        model.backbone.compile(mode=_mode(given))
        model.head.compile(mode=_mode(given))


def _mode(given: Compile) -> str | None:
    return None if given is True else str(given)


def _line(x: torch.Tensor) -> torch.Tensor:
    return (2 * x + 1).relu()
