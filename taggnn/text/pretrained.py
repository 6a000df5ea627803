"""Weights and tokenizers read by transformers, with errors that name the model."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from taggnn.runtime import huggingface
from taggnn.text.files import find_file

log = logging.getLogger(__name__)

# The vocabularies of tokenizers.
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model")


def read_model(builder: Any, source: str, config: Any = None, may_lack: str = "") -> nn.Module:
    """Reads a model for inference.

    Args:
        builder: the class of transformers.
        source: a folder, or a hub id.
        config: its configuration; None: that of the source.
        may_lack: beginning of the names of weights that the file need not have, since they are not used.

    Raises:
        ValueError: a file is missing or damaged, or weights are missing or of another shape; names the model.
    """
    given = {} if config is None else {"config": config}
    model, info = _quietly(
        source,
        lambda: builder.from_pretrained(
            source,
            output_loading_info=True,
            local_files_only=Path(source).is_dir(),
            trust_remote_code=False,
            # A configuration may name kernels of the hub, which are programs.
            attn_implementation="eager",
            **given,
        ),
    )
    lacking = sorted(key for key in info["missing_keys"] if not (may_lack and key.startswith(may_lack)))
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise ValueError(
            f"model {source}: its file lacks weights of {type(model).__name__}: {', '.join(lacking[:5])}{more}"
        )
    return model.eval()


def read_tokenizer(source: str) -> Any:
    """Reads a tokenizer; raises as ``read_model``."""
    package = huggingface.transformers("Text encoders")
    # Without any of them transformers makes an empty tokenizer.
    if not any(find_file(source, file) for file in TOKENIZERS):
        raise ValueError(f"model {source}: no tokenizer in it; expected one of {', '.join(TOKENIZERS)}")
    return _quietly(
        source,
        lambda: package.AutoTokenizer.from_pretrained(
            source, local_files_only=Path(source).is_dir(), trust_remote_code=False
        ),
    )


def tokenized(tokenizer: Any, texts: Sequence[str], length: int) -> dict[str, Any]:
    """Token numbers and mask of texts, cut to a length with a warning.

    **Shapes:** each (texts, tokens)
    """
    long = sum(len(ids) > length for ids in tokenizer(list(texts), verbose=False)["input_ids"])
    if long:
        log.warning("%d texts have more than the %d tokens that the encoder reads; they are cut", long, length)
    return tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")


def _quietly(source: str, read: Callable[[], Any]) -> Any:
    verbosity = huggingface.transformers("Text encoders").logging
    before = verbosity.get_verbosity()
    # Its tables of unused entries, such as those of the image tower.
    verbosity.set_verbosity_error()
    verbosity.disable_progress_bar()
    try:
        return read()
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"model {source}: cannot be read: {type(error).__name__}: {reason}") from error
    finally:
        verbosity.set_verbosity(before)
        verbosity.enable_progress_bar()
