"""In which numbers training computes, and where each of them is possible."""

from typing import Literal

import torch

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "auto"]


def chosen(given: Precision, accelerator: str) -> str:
    """The precision that Lightning is told.

    Weights are always kept in float32: what a step changes of a weight in half precision is mostly rounded away, so
    Lightning's "bf16-true" and "16-true" are not offered.

    Args:
        given: "auto" is bf16-mixed on a GPU that has bfloat16, else 32-true.
        accelerator: Lightning's: "auto", "cpu", "gpu", "cuda", ...

    Raises:
        ValueError: 16-mixed without a GPU, where gradients cannot be scaled in time, or bf16-mixed on a GPU without bfloat16.
    """
    on_gpu = torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda")
    has_bfloat16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if given == "auto":
        return "bf16-mixed" if has_bfloat16 else "32-true"
    if given == "16-mixed" and not on_gpu and accelerator != "mps":
        raise ValueError("precision 16-mixed: needs a GPU; on a CPU bf16-mixed and 32-true are possible")
    if given == "bf16-mixed" and on_gpu and not has_bfloat16:
        raise ValueError(
            f"precision bf16-mixed: {torch.cuda.get_device_name()} has no bfloat16; 16-mixed and 32-true are possible"
        )
    return given
