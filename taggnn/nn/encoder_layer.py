"""The Transformer encoder layer of the heads: PyTorch's own, with its dropout drawn in fused loops where there are such.

Axes: B clips, N nodes, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taggnn.kernels.structured import fused
from taggnn.kernels.structured.fused.attention import attend
from taggnn.kernels.structured.fused.dropout import drop


class EncoderLayer(nn.TransformerEncoderLayer):
    """``torch.nn.TransformerEncoderLayer``, batch first, whose training on a CPU does not wait for random numbers.

    Source: https://arxiv.org/abs/1706.03762, section 3.1. Names, values and distribution are PyTorch's. In training with
    dropout, in float32 on a CPU, attention and dropout are computed by the loops of ``taggnn.kernels.structured.fused``, which
    draw their own numbers from a seed of PyTorch's generator: other numbers are dropped, with the same probability, each by
    itself. Everywhere else PyTorch computes the whole layer.

    Arguments are those of ``torch.nn.TransformerEncoderLayer``; what is not batch first is PyTorch's too.

    **Shapes:** (B, N, C) -> the same.
    """

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        if src_mask is not None or src_key_padding_mask is not None or not self._fused(src):
            return super().forward(src, src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = src + self._attended(self.norm1(src))
            return x + self._fed_forward(self.norm2(x))
        x = self.norm1(src + self._attended(src))
        return self.norm2(x + self._fed_forward(x))

    def _fused(self, x: Tensor) -> bool:
        attention = self.self_attn
        if not (self.training and attention.training and attention.batch_first and x.ndim == 3 and x.numel()):
            return False
        # They would see nothing of what the loops compute.
        if attention._forward_hooks or attention._forward_pre_hooks or attention.in_proj_bias is None:
            return False
        if torch.is_autocast_enabled("cpu") or attention.in_proj_weight.dtype != x.dtype or not attention.dropout:
            return False
        return fused.takes(x, x.shape[1], attention.dropout)

    def _attended(self, x: Tensor) -> Tensor:
        attention = self.self_attn
        qkv = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        out = attend(qkv.unflatten(-1, (3, attention.num_heads, -1)), attention.dropout).flatten(2)
        return _dropped(self.dropout1, F.linear(out, attention.out_proj.weight, attention.out_proj.bias))

    def _fed_forward(self, x: Tensor) -> Tensor:
        hidden = self.linear1(x)
        if self.activation is F.relu and _draws(self.dropout):
            hidden = drop(hidden, self.dropout.p, relu=True)
        else:
            hidden = _dropped(self.dropout, self.activation(hidden))
        return _dropped(self.dropout2, self.linear2(hidden))


def _draws(module: nn.Dropout) -> bool:
    return type(module) is nn.Dropout and module.training and 0 < module.p < 1 and not module._forward_hooks


def _dropped(module: nn.Dropout, x: Tensor) -> Tensor:
    return drop(x, module.p) if _draws(module) else module(x)
