"""The first convolution: adapted to grayscale clips, and kernels of images inflated over time.

Axes: O output channels, I input channels, T frames, h w height and width of a kernel.
"""

from torch import Tensor, nn

# The attribute that ``set_in_channels`` sets; not ``in_channels``, which a user's own module may use for a width.
CHANNELS = "_clip_channels"


def set_in_channels(module: nn.Module, channels: int) -> None:
    """Makes a backbone for RGB clips take clips of one channel, in place; weights that are loaded later are fitted too.

    Formula: ``y = sum_c W_c * x_c`` becomes ``y = (sum_c W_c) * x``: the features of a grayscale clip are those of the RGB
    clip with the same image in all three channels.

    Args:
        module: a backbone; its attribute ``first`` names the first convolutions; without it, it is the first one of the
            module. ``clip_channels`` reads the number back.
        channels: 1 or 3; 3 changes nothing.

    Raises:
        ValueError: another number, or a first convolution that does not take three channels.
    """
    if channels not in (1, 3):
        raise ValueError(f"in_channels={channels}; possible are 1 and 3")
    setattr(module, CHANNELS, channels)
    if channels == 3:
        return
    named = first_layers(module)
    if getattr(module, "first", None) == ():
        raise ValueError(f"in_channels=1: {type(module).__name__} begins with no convolution of three channels")
    for name in named:
        conv = module.get_submodule(name)
        assert isinstance(conv, nn.Conv2d | nn.Conv3d)
        if conv.weight.shape[1] != 3:
            raise ValueError(f"{type(module).__name__}: {name} takes {conv.weight.shape[1]} channels, 3 were expected")
        conv.in_channels = 1
        conv.weight = nn.Parameter(summed(conv.weight.detach()), requires_grad=conv.weight.requires_grad)


def clip_channels(module: nn.Module, usual: int = 3) -> int:
    """Channels of the clips that a backbone takes; ``usual`` where ``set_in_channels`` was not called on it."""
    return getattr(module, CHANNELS, usual)


def first_layers(module: nn.Module) -> tuple[str, ...]:
    """Names of the convolutions whose input is the clip."""
    named = getattr(module, "first", None)
    if named is not None:
        return named
    return next(((name,) for name, part in module.named_modules() if isinstance(part, nn.Conv3d)), ())


def summed(weight: Tensor) -> Tensor:
    """Adds up a kernel's input channels. **Shapes:** (O, I, T, h, w) -> (O, 1, T, h, w), without T likewise"""
    return weight.sum(1, keepdim=True)


def inflated(weight: Tensor, frames: int) -> Tensor:
    """Repeats a kernel of images over time, so that its response to a constant clip is that to the image.

    Source: Carreira and Zisserman, https://arxiv.org/abs/1705.07750, section 2.4

    Formula: ``W3[.., t, ..] = W2 / T`` for t = 0 .. T - 1

    **Shapes:** (O, I, h, w) -> (O, I, T, h, w)
    """
    return weight[:, :, None].expand(-1, -1, frames, -1, -1) / frames
