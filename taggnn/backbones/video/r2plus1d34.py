"""R(2+1)D-34 in the form of the IG-65M checkpoints: the backbone of TAG-Head's released models."""

import logging
from pathlib import Path

from torch import Tensor, nn
from torchvision.models.video import VideoResNet
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem

from taggnn.backbones.download import Published
from taggnn.backbones.video.torchvision3d import Features, ResNetFeatures
from taggnn.backbones.weights import find_weights, load_strictly, read_state_dict

log = logging.getLogger(__name__)

RELEASES = "https://github.com/moabitcoin/ig65m-pytorch/releases/download/v1.0.0"
CHILDREN = ("stem", "layer1", "layer2", "layer3", "layer4")
PREFIXES = ("", "csnmodel.", "backbone.")


def r2plus1d_34(num_classes: int = 400) -> VideoResNet:
    """Builds R(2+1)D-34 with its classifier, names and shapes as in the IG-65M checkpoints, random weights.

    torchvision's VideoResNet with [3, 4, 6, 3] blocks and three traits of the Caffe2 original: the second convolution
    of the first block of layers 2, 3 and 4 has 288, 576 and 1152 mid-planes (computed from its own input, where
    torchvision takes the block's), and every BatchNorm has eps 1e-3 and momentum 0.9, Caffe2's momentum by value.

    Source: Tran et al., https://arxiv.org/abs/1711.11248; Ghadiyaram et al. (IG-65M), https://arxiv.org/abs/1905.00561;
    checkpoint format https://github.com/moabitcoin/ig65m-pytorch

    Args:
        num_classes: 359 in the IG-65M checkpoints that TAG-Head starts from, 400 after fine-tuning on Kinetics.

    **Shapes:** (B, 3, T, H, W) -> (B, num_classes)
    """
    model = VideoResNet(BasicBlock, [Conv2Plus1D] * 4, [3, 4, 6, 3], R2Plus1dStem, num_classes=num_classes)
    for layer, planes in ((model.layer2, 128), (model.layer3, 256), (model.layer4, 512)):
        conv = Conv2Plus1D(planes, planes, planes * 9 // 4)
        for part in conv.modules():
            # As VideoResNet does for the layers that it makes itself.
            if isinstance(part, nn.Conv3d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        layer[0].conv2[0] = conv
    for part in model.modules():
        if isinstance(part, nn.BatchNorm3d):
            part.eps, part.momentum = 1e-3, 0.9
    return model


def features() -> Features:
    """Builds R(2+1)D-34 without pool and classifier, random weights.

    **Shapes:** (B, 3, T, H, W) -> (B, 512, T/8, H/16, W/16), rounded up: (32, 112, 112) gives (4, 7, 7)
    """
    return ResNetFeatures(r2plus1d_34())


def load_weights(module: Features, weights: str | Path, name: str, file: Published) -> None:
    """Loads an IG-65M or TAG-Head checkpoint strictly; the classifier is dropped, which is logged.

    Accepted are the IG-65M names (``stem.0.weight``), and the numbers of an nn.Sequential of the same children
    (``0.0.weight``), each also below one of the prefixes ``csnmodel.`` and ``backbone.``; with a prefix, everything
    else belongs to a head and is left out.

    Args:
        module: what ``features()`` built.
        weights: "default", or the path of a file.
        name: of the backbone, for messages.
        file: what "default" means.

    Raises:
        FileNotFoundError: no such file.
        ValueError: neither of the two, a download that failed, a file that cannot be read, or one that does not fit.
    """
    weights = find_weights(weights, name, file)
    state = read_state_dict(weights)
    prefix = next((p for p in PREFIXES if f"{p}0.0.weight" in state or f"{p}stem.0.weight" in state), "")
    if f"{prefix}0.0.weight" in state:
        named = sequential_to_named(state, prefix)
    else:
        named = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    outside = sorted({key.split(".")[0] for key in state if not key.startswith(prefix)})
    if outside:
        log.info("%s: left out, not of the backbone: %s", weights, ", ".join(outside))
    load_strictly(module, named, str(weights), classifier="fc")


def sequential_to_named(state_dict: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Renames a backbone stored as nn.Sequential(stem, layer1, layer2, layer3, layer4) to the published names.

    ``csnmodel.0.0.weight`` -> ``stem.0.weight``, ``csnmodel.1.0.conv1.0.0.weight`` -> ``layer1.0.conv1.0.0.weight``.

    Args:
        state_dict: a checkpoint; not changed.
        prefix: the prefix before the number of the child, with its dot: "csnmodel." in TAG-Head's checkpoints,
            "backbone." in an earlier revision of them, "" for the bare Sequential.

    Returns:
        The entries below the prefix under their new names; the others are not in it.

    Raises:
        ValueError: nothing below the prefix, or a child that is none of 0 to 4.
    """
    named = {}
    for key, value in state_dict.items():
        if not key.startswith(prefix):
            continue
        child, _, rest = key.removeprefix(prefix).partition(".")
        if not child.isdecimal() or int(child) >= len(CHILDREN):
            raise ValueError(
                f"{key}: below {prefix!r} a child 0 to {len(CHILDREN) - 1} ({', '.join(CHILDREN)}) was expected, "
                f"found {child!r}"
            )
        named[f"{CHILDREN[int(child)]}.{rest}"] = value
    if not named:
        raise ValueError(f"no entry begins with {prefix!r}; the first are {', '.join(list(state_dict)[:10]) or 'none'}")
    return named
