"""The baseline every head is measured against: global average pooling and one linear layer."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from taggnn.nn.graph_batch import take_apart
from taggnn.types import Output

if TYPE_CHECKING:
    from torch_geometric.data import Data


class PoolHead(nn.Module):
    """Averages all tokens of a clip and classifies the average, as 3D CNNs are usually trained.

    Formula: ``logits = W dropout(mean_n x_n) + b``; with ``ordered`` of the means of the frames, one after the other:
    ``logits = sum_t W_t dropout(mean_p x_tp) + b``, the linear model that knows the order of the frames.

    Args:
        channels: C of the backbone's tokens.
        grid: sizes of the token grid, time first; any grid works; it is a parameter of every head.
        classes: K.
        dropout: probability before the linear layer (default 0.2).
        ordered: a weight for each frame instead of the mean over the frames (default no).

    **Shapes:** tokens (B, *grid, C), or a PyG ``Batch`` of clips with x (B*N, C), whose edges have no effect -> ``Output``:
    logits (B, K) and extras ``pooled`` (B, C), with ``ordered`` (B, T*C); no losses.
    """

    # The type of a call, which nn.Module leaves at Any.
    __call__: Callable[..., Output]

    def __init__(
        self, channels: int, grid: Sequence[int], classes: int, *, dropout: float = 0.2, ordered: bool = False
    ) -> None:
        super().__init__()
        self.grid = tuple(grid)
        self.ordered = ordered
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels * (self.grid[0] if ordered else 1), classes)

    def forward(self, tokens: "Tensor | Data", targets: Tensor | None = None) -> Output:
        if not isinstance(tokens, Tensor):
            tokens, _ = take_apart(tokens, self.grid)
        # One frame after the other, or all of them at once.
        if self.ordered:
            pooled = tokens.flatten(1, -2).unflatten(1, (self.grid[0], -1)).mean(2).flatten(1)
        else:
            pooled = tokens.mean(tuple(range(1, tokens.dim() - 1)))
        return Output(self.classifier(self.dropout(pooled)), {"pooled": pooled})

    def resize(self, grid: Sequence[int]) -> None:
        """Stores another token grid.

        Raises:
            ValueError: with ``ordered``, another number of frames.
        """
        if self.ordered and grid[0] != self.grid[0]:
            raise ValueError(f"head pool with ordered: built for {self.grid[0]} frames of tokens, given {grid[0]}")
        self.grid = tuple(grid)
