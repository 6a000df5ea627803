"""What all skeleton networks share: normalised coordinates, persons folded into the batch, blocks, the mean over persons.

Axes: B clips, M persons, C channels, T frames, V joints.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.backbones import plugs
from taggnn.backbones.skeleton.inputs import Body
from taggnn.names import unknown
from taggnn.types import Features

# What a block returns: its output, and the losses of its plug.
Result = tuple[Tensor, dict[str, Tensor]]

# Where in a block a plug is.
POSITIONS = ("before", "between", "after")


class Block(nn.Module):
    """GCN -> [plug] -> TCN, plus a shortcut.

    Formula: ``y = relu(TCN(plug(GCN(x))) + shortcut(x))``; a plug may also be before the GCN or after the TCN.

    Args:
        gcn: the graph convolution.
        tcn: the temporal convolution.
        residual: the shortcut; None for none, ``nn.Identity`` for x itself.
        names: of both in the state dict.

    Attributes:
        plug, position: see ``SkeletonNetwork.plug_in``; None and empty without one.

    **Shapes:** (B*M, C, T, V) -> (B*M, C', T', V), or with frames last
    """

    # The type of a call, which nn.Module leaves at Any.
    __call__: Callable[..., Result]

    def __init__(
        self,
        gcn: nn.Module,
        tcn: nn.Module,
        residual: nn.Module | None,
        names: tuple[str, str] = ("gcn", "tcn"),
    ) -> None:
        super().__init__()
        self.names = names
        self.plug: nn.Module | None = None
        self.position, self.frames_last = "", False
        self.add_module(names[0], gcn)
        self.add_module(names[1], tcn)
        if residual is not None:
            self.residual = residual

    def forward(self, x: Tensor, *graph: Tensor) -> Result:
        gcn, tcn = (self.get_submodule(name) for name in self.names)
        losses = dict[str, Tensor]()
        y = gcn(self._plugged(x, "before", losses), *graph)
        y = tcn(self._plugged(y, "between", losses))
        y = self._plugged(y, "after", losses)
        if hasattr(self, "residual"):
            y = y + self.residual(x)
        return F.relu(y, inplace=True), losses

    def _plugged(self, x: Tensor, position: str, losses: dict[str, Tensor]) -> Tensor:
        if self.plug is None or self.position != position:
            return x
        output = self.plug(x.mT if self.frames_last else x)
        output, found = output if isinstance(output, tuple) else (output, {})
        losses |= found
        return output.mT.contiguous() if self.frames_last else output


class SkeletonNetwork(nn.Module):
    """A network of blocks over the joints of every person; a subclass makes the blocks.

    Args:
        body: the joints, persons and channels of the input.
        per_person: BatchNorm of the coordinates has a scale for each joint and channel, V*C; else for each person too, M*V*C.

    Attributes:
        frames_last: blocks work on (B*M, C, V, T) instead of (B*M, C, T, V).
        widths: output channels of every block, which a subclass sets.
        notes: what happens to the tokens, in sentences.

    **Shapes:** (B, C, T, V, M) -> ``Features``: tokens (B, T', V, C'), the mean over persons

    Raises:
        ValueError: in ``forward``, an input with other joints, persons or channels.
    """

    frames_last: ClassVar[bool] = False
    widths: Sequence[int]
    names: Sequence[str]

    # The type of a call, which nn.Module leaves at Any.
    __call__: Callable[..., Features]

    def __init__(self, body: Body, per_person: bool) -> None:
        super().__init__()
        self.body, self.per_person = body, per_person
        self.notes = [f"the mean over {body.persons} persons"] if body.persons > 1 else []
        self.data_bn = nn.BatchNorm1d(body.joints * body.channels * (1 if per_person else body.persons))

    def stack(
        self,
        sizes: Sequence[tuple[int, int]],
        make: Callable[[int, int, int, bool], Block],
        name: str | None = None,
    ) -> None:
        """Makes the blocks, each of which takes what the one before yields.

        Args:
            sizes: output channels and stride of each, see ``widths_of``.
            make: ``(channels, out, stride, first)`` -> block.
            name: of their list in the state dict, "gcn" for gcn.0, gcn.1, ...; None (default) for l1, l2, ...
        """
        self.widths = [out for out, _ in sizes]
        inputs = [self.body.channels, *self.widths[:-1]]
        made = [
            make(*size, number == 0)
            for number, size in enumerate((c, *size) for c, size in zip(inputs, sizes, strict=True))
        ]
        if name is not None:
            self.add_module(name, nn.ModuleList(made))
            self.names = [f"{name}.{number}" for number in range(len(made))]
            return
        self.names = [f"l{number}" for number in range(1, len(made) + 1)]
        for each, block in zip(self.names, made, strict=True):
            self.add_module(each, block)

    def blocks(self) -> Iterator[tuple[Block, tuple[Tensor, ...]]]:
        """The blocks in order, each with what it takes after its input."""
        for name in self.names:
            yield cast(Block, self.get_submodule(name)), ()

    def plug_in(
        self,
        plug: str | Callable[..., nn.Module],
        position: str = "between",
        blocks: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        """Puts a plug into blocks.

        Args:
            plug: see ``taggnn.backbones.plugs.build``.
            position: "between" the graph and the temporal convolution (default), "before" the first, or "after" the second.
            blocks: numbers of the blocks, from 1; None (default) for all.
            options: of the plug.

        Raises:
            ValueError: an unknown plug, option, position or block, or channels that the plug cannot take.
        """
        if position not in POSITIONS:
            raise unknown("position of a plug", position, POSITIONS, "plug_options")
        every = [block for block, _ in self.blocks()]
        chosen = range(1, len(every) + 1) if blocks is None else blocks
        for number in chosen:
            if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(every):
                raise ValueError(f"plug_options: no block {number!r}; blocks={blocks!r} must be from 1 to {len(every)}")
        wide = [self.body.channels, *self.widths]
        for number in chosen:
            block, channels = every[number - 1], wide[number - (position == "before")]
            try:
                block.plug = plugs.build(plug, channels, **options)
            except ValueError as error:
                raise ValueError(f"block {number}: {error}") from error
            block.position, block.frames_last = position, self.frames_last
        found = [part for _, part in plugs_of(self)]
        count = sum(parameter.numel() for part in found for parameter in part.parameters())
        name = plug if isinstance(plug, str) else type(found[0]).__name__ if found else "plug"
        self.notes.append(f"{name} in {len(found)} of {len(every)} blocks, {count:,} parameters")

    def forward(self, x: Tensor) -> Features:
        given, body = tuple(x.shape[1:]), self.body
        if x.dim() != 5 or (given[0], *given[2:]) != (body.channels, body.joints, body.persons):
            raise ValueError(
                f"{type(self).__name__} takes (B, {body.channels}, T, {body.joints}, {body.persons}): channels, frames, joints "
                f"and persons; got {tuple(x.shape)}"
            )
        folded, losses = self.folded(x), dict[str, list[Tensor]]()
        for block, graph in self.blocks():
            folded, found = block(folded, *graph)
            for name, loss in found.items():
                losses.setdefault(name, []).append(loss)
        persons = folded.unflatten(0, (-1, body.persons)).mean(1)
        tokens = persons.permute(0, 3, 2, 1) if self.frames_last else persons.permute(0, 2, 3, 1)
        return Features(tokens, {name: torch.stack(found).mean(0) for name, found in losses.items()})

    def folded(self, x: Tensor) -> Tensor:
        """Normalises coordinates over clips and frames. **Shapes:** (B, C, T, V, M) -> (B*M, C, T, V), or with frames last"""
        clips, channels, frames, joints, persons = x.shape
        x = x.permute(0, 4, 3, 1, 2)
        x = x.reshape(clips * persons, -1, frames) if self.per_person else x.reshape(clips, -1, frames)
        x = self.data_bn(x).view(clips * persons, joints, channels, frames)
        return (x.transpose(1, 2) if self.frames_last else x.permute(0, 2, 3, 1)).contiguous()


def plugs_of(network: SkeletonNetwork) -> list[tuple[int, nn.Module]]:
    """The plugs of a network, each with the number of its block from 1."""
    numbered = enumerate((block for block, _ in network.blocks()), 1)
    return [(number, block.plug) for number, block in numbered if block.plug is not None]


def widths_of(width: int, depths: Sequence[int], multiple: int, name: str) -> list[tuple[int, int]]:
    """Output channels and stride of every block: doubled, with stride 2, at the first block of each stage but the first.

    Args:
        width: channels of the first stage.
        depths: blocks of each stage.
        multiple: the widths must be a multiple of it.
        name: of the network, for messages.

    Raises:
        ValueError: sizes that make no network.
    """
    whole = [value for value in (width, *depths) if isinstance(value, int) and not isinstance(value, bool)]
    if not depths or len(whole) != 1 + len(depths) or min(whole) < 1:
        raise ValueError(f"{name}: width={width!r} and depths={depths!r} must be positive integers, one depth at least")
    if width % multiple:
        raise ValueError(f"{name}: width={width} must be a multiple of {multiple}")
    return [
        (width * 2**stage, 2 if stage and not number else 1)
        for stage, depth in enumerate(depths)
        for number in range(depth)
    ]
