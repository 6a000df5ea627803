"""Static vectors: a table with one vector a token, and the tokenizer; a text is the mean of its tokens.

Formats: WordLlama's (https://github.com/dleemiller/WordLlama), a tokenizer.json and a table ``embedding.weight``, also as its
package has them (tokenizers/, weights/); and Model2Vec's (https://github.com/MinishLab/model2vec), a table ``embeddings``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from taggnn.runtime import huggingface, json_file
from taggnn.text.files import find_file

TABLES = ("embedding.weight", "embeddings")
MODEL2VEC = "model2vec"
# Where the two files lie, in this order of preference.
_TOKENIZERS = ("tokenizer.json", "tokenizers/tokenizer.json", "*tokenizer*.json", "tokenizers/*tokenizer*.json")
_WEIGHTS = ("model.safetensors", "*.safetensors", "weights/*.safetensors")


def reads(config: dict[str, Any]) -> bool:
    """Whether a model is of this kind, by its config.json."""
    return config.get("model_type") == MODEL2VEC or "model_type" not in config


def load(source: str) -> Callable[[Sequence[str]], Tensor]:
    """The encoder: the mean of the vectors of a text's tokens; without a known token a zero vector.

    Args:
        source: a folder, or a hub id.

    **Shapes:** texts -> (texts, C), C the width of the table

    Raises:
        FileNotFoundError: no tokenizer, or no table.
        ImportError: the package tokenizers is missing.
        ValueError: several tokenizers or tables, or one that is damaged; names the file.
    """
    # It brings the package tokenizers.
    huggingface.transformers("Static vectors")
    from tokenizers import Tokenizer

    path = _file(source, _TOKENIZERS, "tokenizer")
    table, where = _table(_file(source, _WEIGHTS, "table of vectors (.safetensors)"))
    rules = json_file.read(path).get("model")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise ValueError(f"{path}: no tokenizer: {str(error).splitlines()[0]}") from None
    # Numbers may have gaps.
    if (size := 1 + max(tokenizer.get_vocab().values(), default=-1)) > len(table):
        raise ValueError(f"{where}: {len(table):,} vectors, and the tokenizer {path.name} has {size:,} tokens")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # A token that stands for all unknown ones says nothing.
    name = rules.get("unk_token") if isinstance(rules, dict) else None
    unknown_token = tokenizer.token_to_id(name) if isinstance(name, str) else None

    def encode(texts: Sequence[str]) -> Tensor:
        found = tokenizer.encode_batch(list(texts), add_special_tokens=False)
        rows = [[number for number in one.ids if number != unknown_token] for one in found]
        return torch.stack(
            [table[row].float().mean(0) if row else table.new_zeros(table.shape[1]).float() for row in rows]
        )

    return encode


def _table(path: Path) -> tuple[Tensor, str]:
    try:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
            name = keys[0] if len(keys) == 1 and keys[0] in TABLES else None
            table = None if name is None else file.get_tensor(name)
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged, or no safetensors file ({error})") from None
    if table is None:
        raise ValueError(f"{path}: expected one tensor, {' or '.join(TABLES)}; found {', '.join(keys[:5]) or 'none'}")
    # PyTorch has no isfinite for types of 8 bits.
    known = table.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    if table.ndim != 2 or 0 in table.shape or not known or not table.isfinite().all():
        raise ValueError(
            f"{path}, {name}: expected finite numbers (tokens, channels), got {tuple(table.shape)} {table.dtype}"
        )
    return table, f"{path}, {name}"


def _file(source: str, patterns: Sequence[str], what: str) -> Path:
    folder = Path(source)
    if not folder.is_dir():
        path = find_file(source, patterns[0])
        found = [] if path is None else [path]
    else:
        found = next((some for pattern in patterns if (some := sorted(folder.glob(pattern)))), [])
    if not found:
        raise FileNotFoundError(f"model {source}: no {what}; expected {' or '.join(patterns)} in it")
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:5])
        raise ValueError(
            f"model {source}: {len(found)} files for one {what}: {names}; put one of them into a folder of its own"
        )
    return found[0]
