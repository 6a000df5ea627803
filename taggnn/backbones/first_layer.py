"""The layer that sees the clip: made to fit grey clips, and kernels of images made to fit clips.

Axes: O output channels, I input channels, T frames, h w height and width of a kernel.
"""

from torch import Tensor, nn

# Where ``set_in_channels`` writes the channels of a clip: ``in_channels`` may be a width inside a user's own module.
MARK = "_clip_channels"


def set_in_channels(module: nn.Module, channels: int) -> None:
    """Makes a backbone for colour take clips of one channel, in place; weights that are loaded later are fitted too.

    Formula: ``y = sum_c W_c * x_c`` becomes ``y = (sum_c W_c) * x``: the features of a grey clip are those of the colour clip
    with the grey one in all three channels.

    Args:
        module: a backbone; its attribute ``first`` names the convolutions that see the clip, without it that is the first one
            of all. ``clip_channels`` reads the number back.
        channels: 1 or 3; 3 changes nothing.

    Raises:
        ValueError: another number, or a first convolution that does not see three channels.
    """
    if channels not in (1, 3):
        raise ValueError(f"in_channels={channels}; possible are 1 and 3")
    setattr(module, MARK, channels)
    if channels == 3:
        return
    for name in first_layers(module):
        conv = module.get_submodule(name)
        if conv.weight.shape[1] != 3:
            raise ValueError(f"{type(module).__name__}: {name} sees {conv.weight.shape[1]} channels, 3 were expected")
        conv.in_channels = 1
        conv.weight = nn.Parameter(summed(conv.weight.detach()), requires_grad=conv.weight.requires_grad)


def clip_channels(module: nn.Module, usual: int = 3) -> int:
    """Channels of the clips that a backbone takes; ``usual`` where ``set_in_channels`` was not called on it."""
    return getattr(module, MARK, usual)


def first_layers(module: nn.Module) -> tuple[str, ...]:
    """Names of the convolutions that see the clip."""
    named = getattr(module, "first", None)
    if named is not None:
        return named
    return next(((name,) for name, part in module.named_modules() if isinstance(part, nn.Conv3d)), ())


def summed(weight: Tensor) -> Tensor:
    """Adds up a kernel's input channels. **Shapes:** (O, I, T, h, w) -> (O, 1, T, h, w)"""
    return weight.sum(1, keepdim=True)


def inflated(weight: Tensor, frames: int) -> Tensor:
    """Repeats a kernel of images over time, so that it finds in a clip that stands still what it finds in its image.

    Source: Carreira and Zisserman, https://arxiv.org/abs/1705.07750, section 2.4

    Formula: ``W3[.., t, ..] = W2 / T`` for t = 0 .. T - 1

    **Shapes:** (O, I, h, w) -> (O, I, T, h, w)
    """
    return weight[:, :, None].expand(-1, -1, frames, -1, -1) / frames
