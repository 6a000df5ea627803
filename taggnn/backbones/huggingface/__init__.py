"""Video transformers of Hugging Face: their families, feature modules, and files."""

from taggnn.backbones.huggingface.families import (
    FAMILIES,
    KNOWN,
    PREFIX,
    configuration,
    sizes,
    split,
    statistics,
)
from taggnn.backbones.huggingface.model import HubFeatures, features, load_weights

__all__ = [
    "FAMILIES",
    "KNOWN",
    "PREFIX",
    "HubFeatures",
    "configuration",
    "features",
    "load_weights",
    "sizes",
    "split",
    "statistics",
]
