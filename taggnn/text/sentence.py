"""Sentence encoders (https://arxiv.org/abs/1908.10084) in the files of sentence-transformers, and other BERT-like encoders."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from taggnn.names import unknown
from taggnn.runtime import huggingface, json_file
from taggnn.text.files import config_of, find_file, json_of
from taggnn.text.pretrained import read_model, read_tokenizer, tokenized

# The files of sentence-transformers; a model without them is pooled by the mean.
PARTS, POOLING, LIMIT = "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"
_READ = ("Transformer", "Pooling", "Normalize")


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    return (states * mask).sum(1) / mask.sum(1).clamp(min=1)


def _maximum(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(mask == 0, -torch.inf).amax(1)


# Key of POOLING -> states (texts, tokens, C), mask (texts, tokens, 1) -> (texts, C).
POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pooling_mode_mean_tokens": _mean,
    "pooling_mode_cls_token": lambda states, mask: states[:, 0],
    "pooling_mode_max_tokens": _maximum,
}


def reads(config: dict[str, Any]) -> bool:
    """Whether a model is of this kind, by its config.json."""
    return "model_type" in config


def load(source: str) -> Callable[[Sequence[str]], Tensor]:
    """The encoder: the last states of the tokens, pooled as the model's files say.

    Args:
        source: a folder, or a hub id.

    **Shapes:** texts -> (texts, C), C the hidden size

    Raises:
        ImportError: as ``pretrained.read_model``.
        ValueError: as ``pretrained.read_model``, or a part or a pooling that is not read.
    """
    package = huggingface.transformers("Sentence encoders")
    if config_of(source).get("is_encoder_decoder"):
        raise ValueError(
            f"model {source}, config.json, is_encoder_decoder: only encoders are read, such as BERT's kind"
        )
    _check_parts(source)
    pool = _pooling(source)
    model = read_model(package.AutoModel, source, may_lack="pooler.")
    tokenizer = read_tokenizer(source)
    limit = json_of(source, LIMIT).get("max_seq_length")
    sizes = (limit, tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None))
    length = min(size for size in sizes if isinstance(size, int) and size > 0)

    def encode(texts: Sequence[str]) -> Tensor:
        tokens = tokenized(tokenizer, texts, length)
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state
        return pool(states, tokens["attention_mask"][..., None].to(states.dtype))

    return encode


def _check_parts(source: str) -> None:
    path = find_file(source, PARTS)
    if path is None:
        return
    # A list, which an object around it makes readable as other files are.
    content = json_file.parse(b'{"parts": ' + path.read_bytes() + b"}", str(path))["parts"]
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list of the parts of the encoder")
    kinds = [str(part.get("type")) if isinstance(part, dict) else "" for part in content]
    for kind in kinds:
        if kind.rsplit(".", 1)[-1] not in _READ:
            raise unknown("part of a sentence encoder", kind, _READ, str(path))


def _pooling(source: str) -> Callable[[Tensor, Tensor], Tensor]:
    content = json_of(source, POOLING)
    chosen = [key for key, value in content.items() if key.startswith("pooling_mode_") and value is True]
    if not content:
        return _mean
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise unknown("pooling", ", ".join(chosen), POOLINGS, f"model {source}, {POOLING}")
    return POOLINGS[chosen[0]]
