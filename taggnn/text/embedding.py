"""A text bank of class names: every prompt with every class through an encoder.

Axes: N prompts, K classes, C channels.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from taggnn.text.bank import TextBank
from taggnn.text.prompts import filled, spoken

# Texts that are encoded at once.
BATCH = 64


def embed_classes(
    encode: Callable[[Sequence[str]], Tensor],
    classes: Sequence[str],
    prompts: Sequence[str],
    model: str,
    texts: Mapping[str, str] | None = None,
) -> TextBank:
    """Embeds each class in each prompt; every vector is scaled to length 1, so that prompts weigh alike.

    Formula: s_nk = e(prompt_n with class k) / |e(prompt_n with class k)|.

    Args:
        encode: texts -> vectors (texts, C).
        classes: class names; in the prompts they are read aloud, see ``prompts.spoken``.
        prompts: with ``{}`` where the class name stands.
        model: what the encoder is, for the bank.
        texts: name -> words that stand for it in the prompts.

    **Shapes:** bank (N, K, C)

    Raises:
        ValueError: the encoder gives another shape, numbers that are not finite, or a zero vector, as static vectors do for a
            text without a known token; or as ``TextBank``.
    """
    words = [(texts or {}).get(name) or spoken(name) for name in classes]
    sentences = [filled(prompt, word) for prompt in prompts for word in words]
    parts: list[Tensor] = []
    for begin in range(0, len(sentences), BATCH):
        chunk = sentences[begin : begin + BATCH]
        found = torch.as_tensor(encode(chunk)).detach().cpu().float()
        if found.ndim != 2 or len(found) != len(chunk) or (parts and found.shape[1] != parts[0].shape[1]):
            raise ValueError(
                f"{model}: expected ({len(chunk)}, channels) for {len(chunk)} texts, got {tuple(found.shape)}"
            )
        for number, wrong in enumerate((~found.isfinite().all(1) | ~found.any(1)).tolist()):
            if wrong:
                raise ValueError(f"{model}: no vector for the text {chunk[number]!r}: it is zero or not finite")
        parts.append(F.normalize(found, dim=1))
    vectors = torch.cat(parts).unflatten(0, (len(prompts), len(words)))
    return TextBank(vectors, tuple(classes), tuple(prompts), model)
