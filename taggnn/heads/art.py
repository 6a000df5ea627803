"""ART: regions found by queries in every frame, tracked through time, and tied to text.

Axes: B clips, grid the token grid with time first (T H W on video, T V on skeletons), T frames, P positions of a frame,
R regions, N prompts, K classes, C channels, D channels inside the head.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphs import Topology, parse
from taggnn.names import unknown
from taggnn.nn import tracklets
from taggnn.nn.layers import GraphLayer, PositionTable, encoder
from taggnn.nn.region_attention import RegionAttention
from taggnn.nn.semantics import Choice, SemanticBank
from taggnn.text.bank import TextBank, listed
from taggnn.text.prompts import SLOT, filled
from taggnn.types import Output


class ArtHead(nn.Module):
    """Tokens -> regions of every frame -> tracklets -> logits, with or without text.

    Source: ART, https://arxiv.org/abs/2511.21202; there is no public code. What the paper does not state is ours and marked so.

    Formula, for every frame t and region r::

        x_cls     = class token of the backbone, else the mean of all tokens
        X_t       = project(tokens_t) + E_t                                                 [projection and E ours]
        s_1..s_R  = the semantics of the bank nearest to W_video x_cls;  S = W_text s       [W ours]
        X^_t, S^_t = Encoder(Concat(X_t, S))
        r_t       = CrossAttention(S^_t + P, X^_t), softmax over the positions of the frame [sum ours]
        r         = r + act(conv(LayerNorm(r), edges between regions)), for each graph layer [ours]
        w_tr      = mean_s softmax_t(cos(r_tr, S_s) / temperature);  Tr_r = sum_t w_tr r_tr
        logits    = W dropout(Concat(x_cls, Tr_1..R)) + b

    Without a bank [ours] the queries are P alone, the encoder sees X_t alone, and R learnt vectors stand for S in w.

    Losses in training, each with its default weight: ``video`` 1, cross-entropy of a classifier on x_cls; ``spatial``,
    ``temporal``, ``tracklet`` 5 each, the three levels of the contrast of tracklets, see ``taggnn.nn.tracklets``; with a bank
    ``semantic`` and ``semantic_classifier`` 5 each, which tune its agent, see ``taggnn.nn.semantics``. A level is switched off by
    its weight: ``optim.losses: {spatial: 0}``.

    Args:
        channels: C of the backbone's tokens.
        grid: sizes of the token grid of one clip, time first.
        classes: K.
        regions: R (default 2).
        bank: a text bank, the file that ``python -m taggnn.textbank`` writes; None (default): without text. A checkpoint holds
            the vectors, and in this option only their sizes: {prompts: [...], channels: ..., digest: ...}.
        bank_prompts: N, how many of the bank's prompts are used, the first ones; None (default): all.
        dim: D (default 256).
        position: "joint" (default), one table for all positions; "factorised", one table an axis; "none" [ours].
        enhancement_layers: Transformer layers over the tokens of a frame and its semantics (default 4); 0 leaves them out.
        region_layers: layers of cross-attention from the queries (default 4).
        attention_heads: A of both (default 8).
        ffn: channels of their feed-forward parts; None (default): 2*D.
        dropout: probability inside both (default 0.1).
        semantics: which R entries of the bank a clip takes: "classes" (default), each of another class [ours], or "entries", any.
        margin: the cosine that neighbouring frames of a tracklet should reach (default 0.6).
        contrast: penalty of a cosine between regions: "hinge" (default), its positive part, or "squared" [both ours].
        tracklet_contrast: what stands for a tracklet in its contrast: "mean" (default), of its frames, or "frames", all of them
            [both ours].
        temperature: of the softmax over frames (default 0.1) [ours].
        bank_momentum: share of itself that the bank keeps at every step (default 0.999) [ours].
        bank_temperature: of the cosines with the bank in its losses (default 0.07) [ours].
        graph_layers: graph layers over the regions of all frames (default 0) [ours].
        conv: their convolution, see ``TagHead`` (default "gat").
        conv_options: further arguments of the convolution, by name.
        topology: their edges on the grid (frames, regions): "clique+tracklets" (default), "clique", "tracklets", "none", or a
            rule of your own.
        impl: how the convolution is computed; never changes the result (default "auto").
        classifier_dropout: probability before the last linear layer (default 0.5).

    **Shapes:** tokens (B, *grid, C), class_token (B, C) -> ``Output``: logits (B, K) and extras ``regions`` (B, T, R, *frame),
    the attention of each region over the positions of a frame, ``frame_weights`` (B, T, R), w above, ``tracklets`` (B, R, D),
    ``pooled`` (B, C), x_cls above, and with a bank ``semantics`` (B, R) long, n*K + k of prompt n and class k; losses of one
    value for each clip, and () for ``semantic_classifier``.

    Raises:
        ValueError: an unknown name or option, sizes that do not divide, a bank of other classes, or fewer semantics than
            regions; in ``forward``, tokens of another grid.
    """

    # The type of a call, which nn.Module leaves at Any.
    __call__: Callable[..., Output]

    loss_weights: Mapping[str, float] = {
        **{"video": 1.0, "spatial": 5.0, "temporal": 5.0, "tracklet": 5.0},
        **{"semantic": 5.0, "semantic_classifier": 5.0},
    }

    def __init__(
        self,
        channels: int,
        grid: Sequence[int],
        classes: int,
        *,
        regions: int = 2,
        bank: str | dict[str, Any] | None = None,
        bank_prompts: int | None = None,
        dim: int = 256,
        position: Literal["joint", "factorised", "none"] = "joint",
        enhancement_layers: int = 4,
        region_layers: int = 4,
        attention_heads: int = 8,
        ffn: int | None = None,
        dropout: float = 0.1,
        semantics: Choice = "classes",
        margin: float = 0.6,
        contrast: tracklets.Contrast = "hinge",
        tracklet_contrast: Literal["mean", "frames"] = "mean",
        temperature: float = 0.1,
        bank_momentum: float = 0.999,
        bank_temperature: float = 0.07,
        graph_layers: int = 0,
        conv: str | Callable[..., Any] = "gat",
        conv_options: dict[str, Any] | None = None,
        topology: str | Topology = "clique+tracklets",
        impl: str = "auto",
        classifier_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        for option, given, possible in (
            ("position table", position, ["joint", "factorised", "none"]),
            ("contrast", contrast, [*tracklets.PENALTIES]),
            ("tracklet_contrast", tracklet_contrast, ["mean", "frames"]),
            ("semantics", semantics, ["classes", "entries"]),
        ):
            if given not in possible:
                raise unknown(option, given, possible)
        if regions < 1:
            raise ValueError(f"regions {regions}: ART needs 1 region or more")
        if not temperature > 0:
            raise ValueError(f"temperature {temperature}: expected a number above 0, such as 0.1")
        self.grid, self.regions, self.classes = tuple(grid), regions, classes
        self.margin, self.contrast, self.over, self.temperature = margin, contrast, tracklet_contrast, temperature
        self.choice: Choice = semantics
        self.project = nn.Linear(channels, dim)
        self.position: nn.Module = nn.Identity()
        if position != "none":
            self.position = PositionTable(dim, grid, factorised=position == "factorised")
        self.enhancement = encoder(dim, enhancement_layers, attention_heads, ffn, dropout)
        self.prompts = nn.Parameter(torch.randn(regions, dim))
        self.attention = RegionAttention(dim, region_layers, attention_heads, ffn, dropout)
        self.topology = topology if isinstance(topology, Topology) else parse(topology)
        self.propagation = nn.ModuleList(
            GraphLayer(dim, self.topology, (self.grid[0], regions), conv, conv_options, impl)
            for _ in range(graph_layers)
        )
        self.bank, self.class_names, self.sentences = _opened(
            bank, bank_prompts, classes, bank_momentum, bank_temperature
        )
        if self.bank is None:
            self.anchors = nn.Parameter(torch.randn(regions, dim))
        else:
            prompts, _, width = self.bank.bank.shape
            most = classes if semantics == "classes" else prompts * classes
            if regions > most:
                raise ValueError(
                    f"regions {regions}: a bank of {classes} classes and {prompts} prompts has {most} semantics to choose from, "
                    f"with semantics {semantics}"
                )
            self.text = nn.Linear(width, dim)
            self.video = nn.Linear(channels, width)
            if channels == width:
                # Of one model of images and text: its own alignment is the start.
                nn.init.eye_(self.video.weight)
                nn.init.zeros_(self.video.bias)
        self.video_classifier = nn.Linear(channels, classes)
        self.dropout = nn.Dropout(classifier_dropout)
        self.classifier = nn.Linear(channels + regions * dim, classes)

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor | None = None,
        topology: Topology | None = None,
        class_token: Tensor | None = None,
    ) -> Output:
        """Classifies the tokens; ``topology`` replaces that of the graph layers, for a diagnosis."""
        if tuple(tokens.shape[1:-1]) != self.grid:
            raise ValueError(
                f"tokens of grid {tuple(tokens.shape[1:-1])} given to a head built for {self.grid} (time first): feed clips of "
                "the size it was built for, or call resize() on the head first"
            )
        clips, frames = tokens.shape[0], self.grid[0]
        pooled = tokens.mean(tuple(range(1, tokens.dim() - 1))) if class_token is None else class_token
        x = self.position(self.project(tokens)).reshape(clips * frames, prod(self.grid[1:]), -1)
        queries, extras = self.prompts.expand(x.shape[0], -1, -1), {}
        if self.bank is None:
            semantics = self.anchors
            x = self.enhancement(x)
        else:
            extras["semantics"] = self.bank.nearest(self.video(pooled), self.regions, self.choice)
            semantics = self.text(self.bank.vectors(extras["semantics"]))
            together = torch.cat([x, semantics.repeat_interleave(frames, 0)], 1)
            x, enhanced = self.enhancement(together).split([x.shape[1], self.regions], 1)
            queries = queries + enhanced
        found, attention = self.attention(queries, x)
        responses = found.unflatten(0, (clips, frames))
        for layer in self.propagation:
            responses = layer(responses, topology)
        whole, weights = tracklets.aggregate(responses, semantics, self.temperature)
        extras |= {
            "regions": attention.reshape(clips, frames, self.regions, *self.grid[1:]),
            "frame_weights": weights,
            "tracklets": whole,
            "pooled": pooled,
        }
        logits = self.classifier(self.dropout(torch.cat([pooled, whole.flatten(1)], -1)))
        return Output(logits, extras, {} if targets is None else self._losses(pooled, responses, targets))

    def _losses(self, pooled: Tensor, responses: Tensor, targets: Tensor) -> dict[str, Tensor]:
        losses = {
            "video": F.cross_entropy(self.video_classifier(pooled), targets, reduction="none"),
            "spatial": tracklets.spatial_contrast(responses, self.contrast),
            "temporal": tracklets.temporal_contrast(responses, self.margin),
            "tracklet": tracklets.tracklet_contrast(responses, self.contrast, self.over),
        }
        if self.bank is not None:
            losses["semantic"] = self.bank.video_loss(self.video(pooled), targets)
            # Rows of a classifier have no offset: the bias is that of videos.
            rows = F.linear(self.video_classifier.weight, self.video.weight)
            losses["semantic_classifier"] = self.bank.classifier_loss(rows)
        return losses

    def resize(self, grid: Sequence[int]) -> None:
        """Adapts the head to another token grid: the position table is interpolated, the graph of the regions built again."""
        if isinstance(self.position, PositionTable):
            self.position.resize(grid)
        self.grid = tuple(grid)
        for layer in self.propagation:
            assert isinstance(layer, GraphLayer)
            layer.resize((self.grid[0], self.regions))

    def use_classes(self, names: Sequence[str]) -> None:
        """Takes the class names of the data: the bank's classes are put into their order.

        Raises:
            ValueError: a bank of other classes; names them.
        """
        if self.bank is not None and self.class_names is not None:
            read = TextBank(self.bank.bank.float(), self.class_names, self.sentences, "")
            self.bank.start(read.ordered(names, "bank: the classes of the data").vectors)
        self.class_names = tuple(names)

    def semantic_names(self) -> list[str]:
        """The text of each index in ``extras["semantics"]``: the prompts with the class names."""
        names = self.class_names or tuple(f"class {number}" for number in range(self.classes))
        # The prompts of vectors of one's own are names, without the class in them.
        titles = [sentence if SLOT in sentence else f"{SLOT}, {sentence}" for sentence in self.sentences]
        return [filled(title, name) for title in titles for name in names]


def stored_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an ``ArtHead`` as a checkpoint holds them: the sizes of its bank instead of its file.

    Raises:
        OSError, ValueError: as ``TextBank.read``; or no file is given.
    """
    given = options.get("bank")
    if given is None:
        return dict(options)
    if not isinstance(given, str):
        raise ValueError(f"art.bank: expected the file of a text bank, such as bank.safetensors; given {given!r}")
    bank = TextBank.read(given)
    sizes = {"prompts": list(bank.prompts), "channels": bank.vectors.shape[-1], "digest": bank.digest}
    return {**options, "bank": sizes}


def _opened(
    given: str | Mapping[str, Any] | None, count: int | None, classes: int, momentum: float, temperature: float
) -> tuple[SemanticBank | None, tuple[str, ...] | None, tuple[str, ...]]:
    """The bank, its class names where it is read from a file, and its prompts."""
    if given is None:
        return None, None, ()
    if isinstance(given, Mapping):
        prompts, channels = _sizes(given)
        # The vectors are in the state dict: nothing is allocated for them here.
        vectors, names, where = torch.zeros(1).expand(len(prompts), classes, channels), None, "bank"
    elif isinstance(given, str):
        read, where = TextBank.read(given), f"text bank {given}"
        if len(read.classes) != classes:
            raise ValueError(f"{where}: {len(read.classes)} classes, {listed(read.classes)}; the data have {classes}")
        vectors, names, prompts = read.vectors, read.classes, read.prompts
    else:
        raise ValueError(f"bank: expected the file of a text bank, such as bank.safetensors; given {given!r}")
    if count is not None and not 1 <= count <= len(prompts):
        raise ValueError(f"bank_prompts {count}: {where} has {len(prompts)} prompts")
    return SemanticBank(vectors[:count], momentum, temperature), names, prompts[:count]


def _sizes(given: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """The prompts and the channels of a bank whose vectors a checkpoint holds."""
    for key in ("prompts", "channels"):
        if key not in given:
            raise ValueError(f"bank: no {key} in it; it has {', '.join(map(str, given)) or 'nothing'}")
    prompts, channels = given["prompts"], given["channels"]
    if not isinstance(prompts, list | tuple) or not prompts or not all(isinstance(one, str) for one in prompts):
        raise ValueError("bank.prompts: expected a list of texts, at least one")
    if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
        raise ValueError(f"bank.channels: expected a number of 1 or more; given {channels!r}")
    return tuple(prompts), channels
