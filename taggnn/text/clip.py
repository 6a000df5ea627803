"""Text towers of CLIP (https://arxiv.org/abs/2103.00020), through transformers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from taggnn.runtime import huggingface
from taggnn.text.files import config_of
from taggnn.text.pretrained import read_model, read_tokenizer, tokenized

# The whole model, and its text tower alone.
WHOLE, TOWER = "clip", "clip_text_model"


def reads(config: dict[str, Any]) -> bool:
    """Whether a model is of this kind, by its config.json."""
    return config.get("model_type") in (WHOLE, TOWER)


def load(source: str) -> Callable[[Sequence[str]], Tensor]:
    """The encoder: the state of the end-of-text token, projected into the space of the images.

    Args:
        source: a folder, or a hub id; of a whole CLIP the image tower is left out.

    **Shapes:** texts -> (texts, C), C the size of the projection

    Raises:
        ImportError, ValueError: as ``pretrained.read_model``.
    """
    package = huggingface.transformers("CLIP text towers")
    content = config_of(source)
    parts = content if content["model_type"] == TOWER else content.get("text_config") or {}
    if not isinstance(parts, dict):
        raise ValueError(f"model {source}, config.json, text_config: expected an object")
    # Older files have the size of the projection only next to the tower.
    parts = {**parts, **({"projection_dim": content["projection_dim"]} if "projection_dim" in content else {})}
    try:
        config = package.CLIPTextConfig(**{key: value for key, value in parts.items() if key != "model_type"})
    except Exception as error:
        raise ValueError(f"model {source}, config.json: {str(error).splitlines()[0]}") from error
    model = read_model(package.CLIPTextModelWithProjection, source, config)
    tokenizer = read_tokenizer(source)

    def encode(texts: Sequence[str]) -> Tensor:
        with torch.inference_mode():
            return model(**tokenized(tokenizer, texts, config.max_position_embeddings)).text_embeds

    return encode
