"""ImageNet's ResNet-50 as initialisation of 3D ResNets: torchvision's names to PyTorchVideo's, kernels inflated."""

import logging
import re
from pathlib import Path

from torch import Tensor, nn
from torchvision.models import ResNet50_Weights

from taggnn.backbones.download import Published
from taggnn.backbones.first_layer import inflated
from taggnn.backbones.weights import find_weights, load_strictly, read_state_dict

log = logging.getLogger(__name__)

IMAGENET = Published(ResNet50_Weights.IMAGENET1K_V1.url)
# Names of its classes, in label order.
CLASSES: tuple[str, ...] = tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])
# What its pixels were scaled by.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PARTS = {"conv1": "conv_a", "bn1": "norm_a", "conv2": "conv_b", "bn2": "norm_b", "conv3": "conv_c", "bn3": "norm_c"}


def load_weights(
    module: nn.Module, weights: str | Path, name: str, file: Published | None, classifier: str | tuple[str, ...]
) -> None:
    """Loads PyTorchVideo's weights, or those of an image ResNet-50 with inflated kernels, strictly.

    Args:
        module: a 3D ResNet of 50 layers whose middle convolutions are 1 x 3 x 3.
        weights: "default", "imagenet", or the path of a file of either kind.
        name: of the backbone, for messages.
        file: what "default" means.
        classifier: names of the modules to leave out of a file; of an image ResNet it is ``fc``.

    Raises:
        FileNotFoundError: ``weights`` is a path that does not exist.
        ValueError: none of these, a download that failed, a file that cannot be read, or one that does not fit.
    """
    if str(weights).lower() == "imagenet":
        weights, file = "default", IMAGENET
    path = find_weights(weights, name, file)
    state = read_state_dict(path)
    if "layer1.0.conv1.weight" in state:
        state, classifier = from_images(state, module), "fc"
        log.warning("%s: image weights, inflated; trained with pixels of mean %s and std %s", path, MEAN, STD)
    load_strictly(module, state, str(path), classifier)


def from_images(state: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Renames and inflates the entries of torchvision's ResNet-50 for a 3D ResNet; what has no counterpart keeps its name.

    ``layer2.0.conv3.weight`` -> ``blocks.2.res_blocks.0.branch2.conv_c.weight``; one index higher in a network that pools
    over time after its first stage.

    Args:
        state: names and tensors; not changed.
        module: the 3D ResNet.
    """
    own = module.state_dict()
    stages = sorted({int(key.split(".")[1]) for key in own if ".res_blocks." in key})
    renamed = {}
    for key, value in state.items():
        name = re.sub(r"^conv1\.", "blocks.0.conv.", re.sub(r"^bn1\.", "blocks.0.norm.", key))
        parts = re.match(r"layer([1-4])\.(\d+)\.(?:downsample\.([01])|(\w+))\.(\w+)$", key)
        if parts:
            stage, block, shortcut, part, kind = parts.groups()
            layer = ("branch1_conv", "branch1_norm")[int(shortcut)] if shortcut else f"branch2.{PARTS.get(part, part)}"
            name = f"blocks.{stages[int(stage) - 1]}.res_blocks.{block}.{layer}.{kind}"
        if value.dim() == 4 and name in own and own[name].dim() == 5:
            value = inflated(value, own[name].shape[2])
        renamed[name] = value
    return renamed
