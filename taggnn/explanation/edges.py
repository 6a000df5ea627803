"""Importance of the edges of the head's graph: by a gradient on an edge mask, or by PyG's GNNExplainer on the explicit Batch.

Fast kernels own no edge list, so both run on a copy of the head whose graph layers are computed by PyG's message passing over the
explicit edges, with the same weights. A masked edge has its message multiplied by the mask; where a convolution weights its
edges by a softmax, the softmax is still over all of them.

Axes: B copies of the clip, grid the token grid with time first, N tokens, E edges of one clip, C channels, K classes, M masks.
"""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from graphs import Topology, graph, to_batch
from taggnn.explanation.head_input import HeadInput
from taggnn.explanation.importance import Importance
from taggnn.explanation.options import Options
from taggnn.kernels import find
from taggnn.model import run_head, taken_by
from taggnn.nn.layers import GraphLayer

# Edges in one call of the head.
MOST_EDGES = 200_000


def edge_gradient(given: HeadInput, target: int, options: Options) -> Importance:
    """The gradient of a logit by a mask on the edges, at 1: to first order what the logit loses without the edge.

    Source: sensitivity analysis of https://arxiv.org/abs/1905.13686. Formula: ``d logit_k / d m_e`` where message e is multiplied
    by ``m_e = 1``; where several graph layers have the edge, their sum.

    Raises:
        ValueError: as ``ExplicitHead``.
    """
    head = ExplicitHead(given)
    with torch.inference_mode(False), torch.enable_grad():
        mask = torch.ones(head.num_edges, device=given.tokens.device, dtype=given.tokens.dtype, requires_grad=True)
        with head.masked(mask):
            logit = head(given.tokens)[0, target]
        (found,) = torch.autograd.grad(logit, mask, allow_unused=True)
    if found is None:
        raise ValueError(f"{head.convolution}: its logits do not depend on a mask of its edges")
    return head.importance(found, target, "edge_gradient", True)


def gnn_explainer(given: HeadInput, target: int, options: Options) -> Importance:
    """A mask on the edges, learnt so that few edges keep the class.

    Source: GNNExplainer, https://arxiv.org/abs/1903.03894, as PyG has it, on the PyG Batch of the tokens.

    Raises:
        ValueError: as ``ExplicitHead``.
    """
    from torch_geometric.explain import Explainer, GNNExplainer

    head = ExplicitHead(given)
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        batch = to_batch(given.tokens.clone(), head.topology)
        explainer = Explainer(
            head.on_batch(),
            GNNExplainer(epochs=options.epochs),
            explanation_type="phenomenon",
            edge_mask_type="object",
            model_config={"mode": "multiclass_classification", "task_level": "graph", "return_type": "raw"},
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = explainer(batch.x, batch.edge_index, target=torch.tensor([target], device=batch.x.device)).edge_mask
    return head.importance(found, target, "gnn_explainer", False)


class ExplicitHead(nn.Module):
    """A copy of a head whose graph layers on the tokens run on the explicit edges, with the same weights.

    Args:
        given: the clip and its head.

    **Shapes:** tokens (B, *grid, C) -> logits (B, K)

    Raises:
        ValueError: no graph layer of the head joins tokens, they have different edges or none, or a convolution is none of PyG's.
    """

    def __init__(self, given: HeadInput) -> None:
        from torch_geometric.nn import MessagePassing

        super().__init__()
        self.grid, self.class_token = given.grid, given.class_token
        self.head = copy.deepcopy(given.head).eval()
        name = type(given.head).__name__
        layers = [one for one in self.head.modules() if isinstance(one, GraphLayer) and one.grid == given.grid]
        if not layers:
            raise ValueError(f"{name} has no graph on the tokens, so that there are no edges to explain")
        self.topology: Topology = layers[0].topology
        if any(layer.topology != self.topology for layer in layers):
            raise ValueError(
                f"{name}: its graph layers have different edges; edges are explained where all have the same"
            )
        for layer in layers:
            self.convolution = type(layer.conv).__name__
            if not isinstance(layer.conv, MessagePassing):
                raise ValueError(f"{self.convolution}: edges can be masked only in a MessagePassing of PyG")
            layer.kernel = find(layer.conv, self.topology, self.grid, "pyg").to(given.tokens.device)
        self.edge_index = graph(self.topology, self.grid, given.tokens.device).edge_index
        self.num_edges = self.edge_index.shape[1]
        self.layers = layers
        if not self.num_edges:
            raise ValueError(f"{name}: its graph {self.topology} has no edges")
        self._takes = taken_by(self.head)

    def forward(self, tokens: Tensor) -> Tensor:
        whole = None if self.class_token is None else self.class_token.expand(len(tokens), -1)
        return run_head(self.head, tokens, None, self._takes, whole).logits

    @contextmanager
    def masked(self, mask: Tensor) -> Iterator[None]:
        """Multiplies the messages inside the block by a mask of the edges of all clips, one clip after the other."""
        from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

        edges = graph(self.topology, self.grid, mask.device).batched(len(mask) // self.num_edges)[0]
        try:
            for layer in self.layers:
                set_masks(layer.conv, mask, edges, apply_sigmoid=False)
            yield
        finally:
            for layer in self.layers:
                clear_masks(layer.conv)

    @torch.no_grad()
    def masked_logits(self, tokens: Tensor, removed: Tensor, options: Options) -> Tensor:
        """Logits of the clip without some of its edges.

        **Shapes:** tokens (1, *grid, C), removed bool (M, E) -> (M, K)
        """
        found = []
        # Messages are tensors of all edges.
        batch = max(1, min(options.batch, MOST_EDGES // self.num_edges))
        for part in removed.split(batch):
            with self.masked((~part).flatten().to(tokens.dtype)):
                found.append(self(tokens.expand(len(part), *tokens.shape[1:])))
        return torch.cat(found)

    def on_batch(self) -> nn.Module:
        """The head as a model of PyG: nodes and edges -> logits."""
        return _OnBatch(self)

    def importance(self, edges: Tensor, target: int, method: str, signed: bool) -> Importance:
        """The result of a method; a token has the sum over the edges that leave it."""
        edges = edges.detach().float().cpu()
        index = self.edge_index.cpu()
        values = torch.zeros(self.grid).flatten().index_add(0, index[0], edges).view(self.grid)
        return Importance(values, method, target, signed, "edge", edges, index)


class _OnBatch(nn.Module):
    def __init__(self, head: ExplicitHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        # The layers have the same edges themselves: the explainer sets its masks on their convolutions.
        assert edge_index.shape[1] == self.head.num_edges
        return self.head(x.view(-1, *self.head.grid, x.shape[-1]))
