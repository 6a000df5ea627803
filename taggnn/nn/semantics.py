"""The text bank of a model: semantics that gradients do not reach, and the copy that training tunes and they follow.

Axes: B clips, N prompts, K classes, R regions, C channels.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# What the R semantics of a clip may share: each from another class, or any entries of the bank.
Choice = Literal["classes", "entries"]


class SemanticBank(nn.Module):
    """Text vectors S that follow a trained copy S^a by momentum.

    Source: ART, https://arxiv.org/abs/2511.21202, section on the text bank: S gets no gradient; its agent S^a is trained, and S
    follows. Formula: ``S <- m S + (1 - m) S^a`` after every optimiser step; m is ours.

    ``bank`` is a buffer and ``agent`` a parameter, both in checkpoints, so that a resumed run continues with the same numbers.

    Args:
        vectors: S at the start; each is scaled to length 1 [ours].
        momentum: m, from 0 to 1 (default 0.999).
        temperature: of the cosines in the losses (default 0.07) [ours].

    **Shapes:** vectors (N, K, C)

    Raises:
        ValueError: another shape, a momentum out of range, or a temperature that is not positive.
    """

    bank: Tensor

    def __init__(self, vectors: Tensor, momentum: float = 0.999, temperature: float = 0.07) -> None:
        super().__init__()
        if vectors.dim() != 3:
            raise ValueError(f"text vectors have axes (prompts, classes, channels); given {tuple(vectors.shape)}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"bank_momentum {momentum}: expected a number from 0 to 1, such as 0.999")
        if not temperature > 0:
            raise ValueError(f"bank_temperature {temperature}: expected a number above 0, such as 0.07")
        self.momentum, self.temperature = momentum, temperature
        # The parameter first and empty: whoever limits the size of a model stops it before any memory is filled.
        self.agent = nn.Parameter(torch.empty(vectors.shape, dtype=vectors.dtype, device=vectors.device))
        self.register_buffer("bank", torch.empty_like(self.agent, requires_grad=False))
        self.start(vectors)

    def nearest(self, video: Tensor, count: int, choice: Choice = "classes") -> Tensor:
        """The semantics that are nearest to a video by cosine, the nearest first.

        Args:
            video: in the space of the text.
            count: R.
            choice: "classes" (default), of each class its nearest prompt [ours]: the prompts of one class are nearly the same
                sentence; or "entries", any N*K entries of the bank.

        **Shapes:** video (B, C) -> (B, R) long, indices n*K + k
        """
        with torch.no_grad():
            prompts, classes, _ = self.bank.shape
            cosines = F.normalize(video, dim=-1) @ F.normalize(self.bank, dim=-1).flatten(0, 1).T
            if choice == "entries":
                return cosines.topk(count, -1).indices
            best, prompt = cosines.unflatten(1, (prompts, classes)).max(1)
            nearest = best.topk(count, -1).indices
            return prompt.gather(1, nearest) * classes + nearest

    def vectors(self, indices: Tensor) -> Tensor:
        """The vectors of indices, of length 1. **Shapes:** (B, R) long -> (B, R, C)"""
        return F.normalize(self.bank, dim=-1).flatten(0, 1)[indices]

    def video_loss(self, video: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the class of a video, which is the maximum over prompts of its cosine with the agent.

        **Shapes:** video (B, C), targets (B,) classes or (B, K) shares -> (B,)
        """
        return F.cross_entropy(self._classes(video), targets, reduction="none")

    def classifier_loss(self, rows: Tensor) -> Tensor:
        """Cross-entropy of the rows of a classifier, each of which should be nearest to the text of its own class.

        **Shapes:** rows (K, C) -> ()
        """
        return F.cross_entropy(self._classes(rows), torch.arange(len(rows), device=rows.device))

    @torch.no_grad()
    def after_step(self) -> None:
        """Moves the bank towards its agent."""
        # With FSDP each process has a shard of the agent and a whole bank.
        # Of a sharded parameter; its class takes half a second to import.
        agent = self.agent.full_tensor() if hasattr(self.agent, "full_tensor") else self.agent
        self.bank.lerp_(agent.to(self.bank.dtype), 1 - self.momentum)

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """Starts again from other vectors, in the bank and in its agent. **Shapes:** (N, K, C)"""
        self.bank.copy_(F.normalize(vectors, dim=-1))
        self.agent.copy_(self.bank)

    def _classes(self, x: Tensor) -> Tensor:
        """**Shapes:** (B, C) -> (B, K)"""
        cosines = torch.einsum("bc,nkc->bnk", F.normalize(x, dim=-1), F.normalize(self.agent, dim=-1))
        return cosines.amax(1) / self.temperature
