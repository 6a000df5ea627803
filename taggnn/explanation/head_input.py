"""What the backbone hands to the head for one clip: the layer that every explanation here is about.

Axes: B copies of the clip, grid the token grid with time first, C channels, K classes, N tokens of one clip.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from taggnn.model import Recogniser, TokenView, run_head, taken_by
from taggnn.types import Output

BASELINES = ("zeros", "mean")


@dataclass(frozen=True)
class HeadInput:
    """The tokens of one clip, and the head as a function of them.

    Args:
        head: in evaluation mode.
        tokens: of the clip, without gradients.
        class_token: a vector of the whole clip that some backbones give; it is never rated, and stays as it is.
        x: the input that the tokens come from.
        model: logits as a function of inputs, for methods on pixels.

    **Shapes:** tokens (1, *grid, C), class_token (1, C), x (1, *spec.shape)
    """

    head: nn.Module
    tokens: Tensor
    class_token: Tensor | None
    x: Tensor
    model: Callable[[Tensor], Output]

    @property
    def grid(self) -> tuple[int, ...]:
        """Sizes of the token grid, time first."""
        return tuple(self.tokens.shape[1:-1])

    def output(self, tokens: Tensor) -> Output:
        """What the head answers to other tokens of this clip. **Shapes:** (B, *grid, C)"""
        whole = None if self.class_token is None else self.class_token.expand(len(tokens), -1)
        return run_head(self.head, tokens, None, taken_by(self.head), whole)

    def logits(self, tokens: Tensor) -> Tensor:
        """**Shapes:** (B, *grid, C) -> (B, K)"""
        return self.output(tokens).logits

    def baseline(self, kind: str) -> Tensor:
        """What stands for an absent token: zeros, or the mean token of the clip. **Shapes:** -> (1, *grid, C)"""
        if kind == "zeros":
            return torch.zeros_like(self.tokens)
        flat = self.tokens.flatten(1, -2)
        return flat.mean(1, keepdim=True).expand_as(flat).reshape(self.tokens.shape)


def head_input(model: nn.Module, x: Tensor) -> HeadInput:
    """Runs the backbone on a clip; of a model of stored tokens the clip is its tokens.

    Args:
        model: a recogniser, or its view that takes tokens; it is set to evaluation mode.
        x: one clip.

    **Shapes:** x (1, *spec.shape)

    Raises:
        ValueError: another kind of model, such as an exported one, or another number of clips.
    """
    if not isinstance(model, Recogniser | TokenView):
        raise ValueError(
            f"{type(model).__name__}: an explanation needs the tokens and the head, which an exported model does not show; give "
            "the checkpoint or the run's folder"
        )
    model.spec.check(x, "an explanation")
    if len(x) != 1:
        raise ValueError(f"an explanation is of one clip; given {len(x)}")
    model.eval()
    # Tensors of inference mode cannot take part in a gradient.
    with torch.inference_mode(False), torch.no_grad():
        x = x.to(model.device, model.dtype).clone()
        if isinstance(model, TokenView):
            return HeadInput(model.head, x, None, x, model)
        features = model.features(x)
    return HeadInput(model.head, features.tokens, features.class_token, x, model)
