"""Backbones by name: (B, 3, T, H, W) -> (B, C, T', H', W'), without pool and classifier.

``BACKBONES`` states for each one what its weights expect, ``HUB`` the same for some of Hugging Face's; ``find`` knows both,
every other video transformer of the hub, and classes of your own; ``build`` makes one; ``strip`` and ``tokens_of`` do the same
for a model of your own.
"""

from taggnn.backbones.adapt import USUAL_CLIP, adapt, resize_positions, strip, video_spec
from taggnn.backbones.batchnorm import FrozenBatchNorm, freeze_batchnorm, set_batchnorm
from taggnn.backbones.build import build, build_for, find, settled
from taggnn.backbones.extractor import FeatureExtractor
from taggnn.backbones.finetuning import Tuning, set_drop_path, tune, tuning_of
from taggnn.backbones.first_layer import clip_channels
from taggnn.backbones.stages import Stage, stages
from taggnn.backbones.table import BACKBONES, HUB, Backbone
from taggnn.backbones.tokens import checked_grid, checked_size, features_of, tokens_of
from taggnn.backbones.trial import dry_run
from taggnn.backbones.video.r2plus1d34 import r2plus1d_34, sequential_to_named
from taggnn.backbones.video.small import Small

__all__ = [
    "BACKBONES",
    "HUB",
    "Backbone",
    "FeatureExtractor",
    "find",
    "settled",
    "build",
    "build_for",
    "strip",
    "tokens_of",
    "features_of",
    "video_spec",
    "clip_channels",
    "USUAL_CLIP",
    "checked_grid",
    "checked_size",
    "dry_run",
    "adapt",
    "resize_positions",
    "stages",
    "Stage",
    "tune",
    "tuning_of",
    "Tuning",
    "set_drop_path",
    "set_batchnorm",
    "freeze_batchnorm",
    "FrozenBatchNorm",
    "Small",
    "r2plus1d_34",
    "sequential_to_named",
]
