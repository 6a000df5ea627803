"""TAG-Head and ART in one head: an experiment that neither paper makes.

Axes: B clips, grid the token grid with time first, C channels, K classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from graphs import Topology
from taggnn.heads import art as art_head
from taggnn.heads.art import ArtHead
from taggnn.heads.tag import TagHead
from taggnn.types import Output


class TagArtHead(nn.Module):
    """TAG-Head, and ART on the tokens that TAG-Head's encoder and graph have changed [ours].

    Source: TAG-Head, https://arxiv.org/abs/2604.11498; ART, https://arxiv.org/abs/2511.21202; their combination is ours.
    Formula: ``logits = TAG(tokens) + ART(propagated)``, propagated the tokens after TAG-Head's graph.

    Args:
        channels: C of the backbone's tokens.
        grid: sizes of the token grid of one clip, time first.
        classes: K.
        tag: options of ``TagHead``, by name.
        art: options of ``ArtHead``, by name; its losses are those of this head.

    **Shapes:** tokens (B, *grid, C) -> ``Output``: logits (B, K), the extras of both (``pooled`` is ART's), the losses of ART.

    Raises:
        ValueError: as ``TagHead`` and ``ArtHead``.
    """

    # The type of a call, which nn.Module leaves at Any.
    __call__: Callable[..., Output]

    def __init__(
        self,
        channels: int,
        grid: Sequence[int],
        classes: int,
        *,
        tag: dict[str, Any] | None = None,
        art: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        try:
            self.tag = TagHead(channels, grid, classes, **(tag or {}))
            self.art = ArtHead(self.tag.classifier.in_features, grid, classes, **(art or {}))
        except TypeError as error:
            raise ValueError(f"head tag_art: {error}; its options are those of tag and of art") from error

    @property
    def topology(self) -> Topology:
        """The edges between tokens."""
        return self.tag.topology

    def forward(self, tokens: Tensor, targets: Tensor | None = None, topology: Topology | None = None) -> Output:
        """Classifies the tokens; ``topology`` replaces that of the tokens, for a diagnosis."""
        first = self.tag(tokens, topology=topology)
        second = self.art(first.extras["nodes"], targets)
        return Output(first.logits + second.logits, {**first.extras, **second.extras}, second.losses)

    def resize(self, grid: Sequence[int]) -> None:
        """Adapts both to another token grid."""
        self.tag.resize(grid)
        self.art.resize(grid)

    def use_classes(self, names: Sequence[str]) -> None:
        """Takes the class names of the data, see ``ArtHead.use_classes``."""
        self.art.use_classes(names)

    def semantic_names(self) -> list[str]:
        """The text of each index in ``extras["semantics"]``."""
        return self.art.semantic_names()


def stored_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a ``TagArtHead`` as a checkpoint holds them, see ``taggnn.heads.art.stored_options``."""
    return {**options, "art": art_head.stored_options(options.get("art") or {})}
