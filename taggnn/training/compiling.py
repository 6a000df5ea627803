"""torch.compile for training: backbone and head in place, so that the names of their weights stay."""

from typing import Literal

import torch

from taggnn.model import Recogniser
from taggnn.nn.layers import GraphLayer

Compile = bool | Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]


def check(given: Compile, device: torch.device | str) -> None:
    """Refuses to compile where PyTorch cannot, by compiling a line of arithmetic on the device.

    Args:
        given: false for none, true for PyTorch's default mode, or a mode of ``torch.compile`` by name.
        device: where training will run.

    Raises:
        ValueError: it cannot: most often there is no C++ compiler (CPU) or no Triton (GPU).
    """
    if not given:
        return
    try:
        torch.compile(_line, mode=_mode(given))(torch.ones(8, device=device))
    except Exception as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(
            f"compile {str(given).lower()}: torch.compile does not work here on {device} ({said}); it needs a C++ compiler "
            "such as g++ for a CPU, and Triton for a GPU. --compile false does without"
        ) from error


def check_model(model: Recogniser, given: Compile) -> None:
    """Refuses to compile a model that PyTorch cannot trace.

    Args:
        model: what is to be trained.
        given: as for ``check``.

    Raises:
        ValueError: its graph layers are computed by torch-scatter, which does not tell PyTorch the shapes of its results.
    """
    impls = {layer.kernel.impl for layer in model.modules() if isinstance(layer, GraphLayer)}
    if given and "scatter" in impls:
        raise ValueError(
            f"compile {str(given).lower()}: impl scatter cannot be compiled, since torch-scatter's operators cannot be traced; "
            "impl structured and dense can as one graph, pyg in pieces"
        )


def compile_parts(model: Recogniser, given: Compile) -> None:
    """Compiles backbone and head, each by itself; the first batches of training and of validation then take longer.

    Weights, state dicts and checkpoints are those of the model as it was.

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
