"""TAG-Head: the released form equals a composition of PyG's and torch's own parts, and every option has its effect."""

from dataclasses import dataclass
from math import prod

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from graphs import Chain, Clique, NoEdges, Topology
from taggnn.heads import HEADS, build
from taggnn.heads.tag import TagHead

SIZES = [
    ("haa500", (4, 7, 7), 512, 500, 3_513_844, 9_702),
    ("gym99", (8, 7, 7), 1024, 99, 4_458_083, 19_502),
    ("gym288", (8, 7, 7), 2048, 288, 6_654_240, 19_502),
]
GRIDS = [((4, 7, 7), 2), ((1, 3, 2), 3), ((3, 2, 5), 2), ((2, 1, 4), 1)]


def with_weights_of(reference, grid, classes, ffn):
    """Our released head with the weights of a composition, entry by entry."""
    head = TagHead.released(512, grid, classes, ffn=ffn)
    theirs = reference.state_dict()
    ours = {"position.tables.0": theirs.pop("pos_embedding").reshape(*grid, 512)}
    ours |= {f"norm.{name}": theirs.pop(f"mlp_head.0.{name}") for name in ("weight", "bias")}
    ours |= {f"classifier.{name}": theirs.pop(f"mlp_head.1.{name}") for name in ("weight", "bias")}
    ours |= {key.replace("transformer.", "encoder."): value for key, value in theirs.items()}
    head.load_state_dict(ours, strict=True)
    return head


def named_gradients(head):
    return {name: parameter.grad for name, parameter in head.named_parameters()}


@pytest.mark.parametrize(
    ("grid", "ffn", "classes", "parameters", "edges"), [row[1:] for row in SIZES], ids=[row[0] for row in SIZES]
)
def test_released_sizes(grid, ffn, classes, parameters, edges):
    head = TagHead.released(512, grid, classes, ffn=ffn)
    assert sum(p.numel() for p in head.parameters()) == parameters
    assert head.topology.num_edges(grid) == edges == head.topology.edges(grid)[0].shape[1]


@pytest.mark.parametrize(("grid", "clips"), GRIDS, ids=str)
def test_released_logits_equal_the_composition_in_float32(composition, grid, clips):
    torch.manual_seed(0)
    reference = composition(grid, 5, 64).eval()
    head = with_weights_of(reference, grid, 5, 64).eval()
    tokens = torch.randn(clips, *grid, 512)
    with torch.no_grad():
        torch.testing.assert_close(head(tokens).logits, reference(tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("grid", "clips"), GRIDS, ids=str)
def test_released_logits_and_gradients_equal_the_composition_in_float64(composition, grid, clips):
    torch.manual_seed(1)
    reference = composition(grid, 5, 64).double().eval()
    head = with_weights_of(reference, grid, 5, 64).double().eval()
    given = torch.randn(clips, *grid, 512, dtype=torch.float64)
    ours, theirs = given.clone().requires_grad_(), given.clone().requires_grad_()
    # A different weight for every logit: the plain sum would hide a gradient that lands at the wrong clip or class.
    weights = torch.randn(clips, 5, dtype=torch.float64)
    got, expected = head(ours).logits, reference(theirs)
    (got * weights).sum().backward()
    (expected * weights).sum().backward()
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(got, expected, **close)
    torch.testing.assert_close(ours.grad, theirs.grad, **close)
    got, expected = named_gradients(head), named_gradients(reference)
    assert len(got) == len(expected)
    torch.testing.assert_close(got.pop("position.tables.0").flatten(0, 2)[None], expected.pop("pos_embedding"), **close)
    for name, value in got.items():
        their = name.replace("encoder.", "transformer.").replace("classifier.", "mlp_head.1.")
        their = their.replace("norm.", "mlp_head.0.") if name.startswith("norm.") else their
        torch.testing.assert_close(value, expected.pop(their), **close, msg=lambda text, name=name: f"{name}: {text}")
    assert not expected


def test_released_dropout_is_one_half_everywhere_in_the_encoder_and_nowhere_else():
    head = TagHead.released(512, (1, 2, 2), 3)
    rates = {name: part.p for name, part in head.named_modules() if isinstance(part, torch.nn.Dropout)}
    assert {rate for name, rate in rates.items() if name.startswith("encoder.")} == {0.5}
    assert {rate for name, rate in rates.items() if not name.startswith("encoder.")} == {0.0}
    assert {layer.self_attn.dropout for layer in head.encoder.layers} == {0.5}


def test_released_position_table_starts_from_a_standard_normal():
    torch.manual_seed(0)
    table = TagHead.released(512, (4, 7, 7), 3).position.tables[0].detach()
    assert table.shape == (4, 7, 7, 512)
    assert float(table.std()) == pytest.approx(1, abs=0.02)
    assert float(table.mean()) == pytest.approx(0, abs=0.02)


def test_released_pooling_weights_nearly_cancel_the_graph(naive_edges):
    # The claim of the docstring, once by matrices and once through our own layer.
    grid, alpha = (8, 7, 7), 0.1
    nodes = 392
    adjacency = torch.eye(nodes, dtype=torch.float64)
    source, target = naive_edges(grid)[0]
    adjacency[target, source] = 1
    scale = adjacency.sum(1).rsqrt()
    step = scale[:, None] * adjacency * scale
    once = (1 - alpha) * step + alpha * torch.eye(nodes, dtype=torch.float64)
    twice = (1 - alpha) * step @ once + alpha * torch.eye(nodes, dtype=torch.float64)
    weights = twice.sum(0)
    assert 0.999665 < float(weights.min()) < 0.9997 < 1.0003 < float(weights.max()) < 1.000335

    layer = TagHead.released(512, grid, 2).propagation[0].double()
    basis = torch.eye(nodes, dtype=torch.float64).reshape(1, *grid, nodes)
    torch.testing.assert_close(layer(basis).sum((0, 1, 2, 3)), weights, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("grid", [(1, 3, 2), (3, 2, 1)], ids=str)
@pytest.mark.parametrize("readout", ["mean", "max", "attention"])
def test_extras(grid, readout):
    head = TagHead(16, grid, 3, encoder_heads=4, readout=readout).eval()
    logits, extras = head(torch.randn(2, *grid, 16))
    assert logits.shape == (2, 3)
    assert extras["encoded"].shape == extras["propagated"].shape == (2, *grid, 16)
    assert extras["pooled"].shape == (2, 16)
    assert ("weights" in extras) == (readout == "attention")
    torch.testing.assert_close(head.classifier(head.norm(extras["pooled"])), logits)
    if readout == "attention":
        assert extras["weights"].shape == (2, *grid)
        torch.testing.assert_close(extras["weights"].sum((1, 2, 3)), torch.ones(2))


@pytest.mark.parametrize("graph_first", [False, True], ids=["encoder first", "graph first"])
def test_the_graph_stands_before_or_after_the_encoder(graph_first):
    torch.manual_seed(0)
    grid = (3, 2, 1)
    head = TagHead(8, grid, 3, encoder_heads=2, conv="gcn", graph_layers=2, graph_first=graph_first).eval()
    tokens = torch.randn(2, *grid, 8)

    def encode(x):
        return head.encoder(x.flatten(1, -2)).unflatten(1, grid)

    def propagate(x):
        return head.propagation[1](head.propagation[0](x))

    start = head.position(tokens)
    expected = encode(propagate(start)) if graph_first else propagate(encode(start))
    extras = head(tokens).extras
    torch.testing.assert_close(extras["nodes"], expected)
    torch.testing.assert_close(extras["propagated"], propagate(start) if graph_first else expected)
    torch.testing.assert_close(extras["encoded"], expected if graph_first else encode(start))


def test_clips_of_a_batch_are_independent():
    torch.manual_seed(0)
    head = TagHead(16, (2, 3, 1), 3, encoder_heads=4).eval()
    tokens = torch.randn(3, 2, 3, 1, 16)
    together = head(tokens).logits
    apart = torch.cat([head(clip[None]).logits for clip in tokens])
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize(
    ("channels", "options", "dim"),
    [(16, {}, 16), (600, {}, 512), (16, {"dim": 8}, 8), (8, {"dim": 16}, 16)],
    ids=["as-given", "512-at-most", "narrower", "wider"],
)
def test_a_linear_layer_and_norm_lead_to_the_heads_own_channels(channels, options, dim):
    head = TagHead(channels, (1, 2, 1), 3, encoder_layers=0, **options)
    kinds = [type(part).__name__ for part in head.project]
    assert kinds == ([] if dim == channels else ["Linear", "LayerNorm"])
    assert head(torch.randn(1, 1, 2, 1, channels)).extras["pooled"].shape == (1, dim)


def test_the_released_head_leads_other_channels_to_512():
    head = TagHead.released(64, (1, 2, 2), 3)
    assert [tuple(p.shape) for p in head.project.parameters()] == [(512, 64), (512,), (512,), (512,)]
    assert head(torch.randn(1, 1, 2, 2, 64)).extras["pooled"].shape == (1, 512)


def test_topology_and_reach():
    def edges(**options):
        head = TagHead(8, (4, 2, 3), 2, encoder_layers=0, **options)
        return head.topology

    assert edges() == Clique() + Chain()
    assert edges(topology="chain", reach=2) == Chain(2)
    assert edges(topology="none") == NoEdges()


def test_without_encoder_and_graph_the_head_is_a_linear_model_of_the_mean():
    head = TagHead(8, (2, 1, 3), 4, encoder_layers=0, graph_layers=0, readout="mean").eval()
    tokens = torch.randn(2, 2, 1, 3, 8)
    mean = (tokens + head.position.tables[0]).mean((1, 2, 3))
    torch.testing.assert_close(head(tokens).logits, head.classifier(head.norm(mean)))


def test_another_topology_for_a_diagnosis_reaches_every_layer():
    torch.manual_seed(0)
    options = {"encoder_layers": 0, "graph_layers": 2}
    head = TagHead(8, (2, 2, 1), 4, **options).eval()
    bare = TagHead(8, (2, 2, 1), 4, topology="none", **options).eval()
    bare.load_state_dict(head.state_dict())
    tokens = torch.randn(2, 2, 2, 1, 8)
    torch.testing.assert_close(head(tokens, topology=NoEdges()).logits, bare(tokens).logits)
    assert not torch.allclose(head(tokens).logits, bare(tokens).logits, atol=1e-4)


def test_resize_takes_clips_of_another_grid_and_keeps_every_other_weight():
    torch.manual_seed(0)
    head = TagHead(8, (2, 3, 3), 4, encoder_layers=0).eval()
    before = {key: value.clone() for key, value in head.state_dict().items() if not key.startswith("position.")}
    with pytest.raises(ValueError, match=r"\(4, 2, 5\).*built for \(2, 3, 3\).*resize"):
        head(torch.randn(1, 4, 2, 5, 8))
    head.resize((4, 2, 5))
    logits, extras = head(torch.randn(1, 4, 2, 5, 8))
    assert logits.shape == (1, 4)
    assert extras["propagated"].shape == (1, 4, 2, 5, 8)
    assert extras["weights"].shape == (1, 4, 2, 5)
    after = head.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", HEADS)
def test_build_by_name_learns_in_every_parameter(name):
    torch.manual_seed(0)
    head = build(name, 16, (2, 2, 1), 3)
    # Attention scores start at zero, and then nothing reaches the layers before them: one step away from there.
    for parameter in head.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    # Some learn from their own losses only, as a classifier that is not used in evaluation.
    output = head.eval()(torch.randn(2, 2, 2, 1, 16), torch.tensor([0, 2]))
    (output.logits.square().sum() + sum(loss.mean() for loss in output.losses.values())).backward()
    assert [n for n, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tagg", {}, r"unknown head 'tagg'; did you mean 'tag'"),
        ("tag", {"readouts": "mean"}, r"unknown option of head tag 'readouts'; did you mean 'readout'"),
        ("tag_released", {"conv": "gat"}, r"unknown option of head tag_released 'conv'.*Possible: ffn, impl"),
        ("pool", {"dropuot": 0.1}, r"unknown option of head pool 'dropuot'; did you mean 'dropout'"),
        ("tag", {"conv": "gatt"}, r"unknown convolution 'gatt'; did you mean 'gat'"),
        ("tag", {"topology": "cliqe"}, r"unknown topology 'cliqe'; did you mean 'clique'"),
        ("tag", {"reach": 0}, r"reach.*at least 1.*0"),
        ("tag", {"readout": "median"}, r"unknown read-out 'median'.*mean, max, attention"),
        ("tag", {"graph_activation": "rely"}, r"unknown activation 'rely'; did you mean 'relu'"),
        ("tag", {"impl": "pgy"}, r"unknown implementation 'pgy'; did you mean 'pyg'"),
        ("tag", {"encoder_heads": 3}, r"16 channels cannot have 3 attention heads"),
        ("tag", {"position": "jiont"}, r"unknown position table 'jiont'; did you mean 'joint'"),
        ("tag", {"encoder_activation": "gelo"}, r"unknown activation of the encoder 'gelo'; did you mean 'gelu'"),
    ],
)
def test_a_wrong_name_or_option_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, 16, (2, 2, 1), 3, **options)


RANKS = [(4,), (3, 5), (2, 3, 2), (2, 2, 1, 3)]


@dataclass(frozen=True)
class Limbs(Topology):
    """A rule of a user's own on two axes, for five joints only."""

    axes = ("frames", "joints")
    bones: tuple = ((0, 1), (0, 2), (1, 3))

    def edges(self, grid, device="cpu"):
        frames, joints = self.checked(grid)
        if joints != 5:
            raise ValueError(f"five joints, given {joints}")
        pairs = torch.tensor([*self.bones, *((b, a) for a, b in self.bones)], device=device)
        pairs = pairs[(pairs[:, 1] * joints + pairs[:, 0]).argsort()]
        edge_index = (pairs + joints * torch.arange(frames, device=device)[:, None, None]).flatten(0, 1).T.contiguous()
        return edge_index, torch.zeros_like(edge_index[0])


@pytest.mark.parametrize("position", ["joint", "factorised"])
@pytest.mark.parametrize("grid", RANKS, ids=str)
def test_a_grid_of_any_rank_is_the_same_as_its_positions_in_a_row(grid, position):
    torch.manual_seed(0)
    options = {"encoder_layers": 1, "encoder_heads": 2, "position": position, "conv": "gatv2"}
    head = TagHead(8, grid, 3, **options).double().eval()
    nn.init.normal_(head.readout.score.weight)
    flat = TagHead(8, (grid[0], prod(grid[1:]), 1), 3, **options | {"position": "joint"}).double().eval()
    weights = {key: value for key, value in head.state_dict().items() if not key.startswith("position.")}
    table = sum(table.detach().expand(*grid, 8) for table in head.position.tables)
    flat.load_state_dict({**weights, "position.tables.0": table.reshape(*flat.grid, 8)})
    tokens = torch.randn(2, *grid, 8, dtype=torch.float64)
    (logits, extras), (expected, others) = head(tokens), flat(tokens.reshape(2, *flat.grid, 8))
    torch.testing.assert_close(logits, expected)
    assert extras["weights"].shape == (2, *grid)
    for name, value in extras.items():
        torch.testing.assert_close(value.flatten(), others[name].flatten())


@pytest.mark.parametrize("grid", RANKS, ids=str)
def test_gradients_on_a_grid_of_any_rank(grid):
    torch.manual_seed(0)
    head = TagHead(4, grid, 2, encoder_layers=1, encoder_heads=2, ffn=4, dropout=0.0, position="factorised").double()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.5)
    tokens = torch.randn(1, *grid, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: head(x).logits, tokens, eps=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "topology",
    [Limbs(), Limbs, f"{__name__}.Limbs", f"{__name__}.Limbs(bones=((0, 1), (0, 2), (1, 3)))", Limbs() + Chain()],
    ids=["instance", "class", "path", "options", "sum"],
)
def test_a_rule_for_five_joints_on_two_axes(topology):
    torch.manual_seed(0)
    head = TagHead(8, (3, 5), 2, topology=topology, encoder_layers=0).eval()
    layer = head.propagation[0]
    assert layer.kernel.impl == "structured"
    x = torch.randn(2, 3, 5, 8)
    nodes = layer.norm(x).flatten(1, 2)
    out = torch.stack([layer.conv(clip, head.topology.edges((3, 5))[0]) for clip in nodes])
    torch.testing.assert_close(layer(x), x + F.gelu(out).reshape(x.shape))
    again = TagHead(8, (3, 5), 2, topology=str(head.topology), encoder_layers=0)
    assert again.topology == head.topology
    head.resize((6, 5))
    assert head(torch.randn(1, 6, 5, 8)).logits.shape == (1, 2)


@pytest.mark.parametrize(
    ("topology", "grid", "words"),
    [
        (Limbs(), (3, 5, 1), ["2 positive integers (frames, joints)", "(3, 5, 1)"]),
        (Limbs(), (3, 4), ["five joints, given 4"]),
        (f"{__name__}.Limb", (3, 5), ["unknown topology in", "did you mean 'Limbs'"]),
        (3, (3, 5), ["topology is a text", "3"]),
    ],
    ids=["rank", "joints", "path", "number"],
)
def test_a_topology_that_does_not_fit_is_refused(topology, grid, words):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        TagHead(8, grid, 2, topology=topology, encoder_layers=0)
    assert [word for word in words if word not in str(raised.value)] == []


class Norms(nn.Module):
    """A read-out of a user's own: the mean, weighted by the norm of each node."""

    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        weights = x.norm(dim=-1).softmax(-1)
        return (weights[..., None] * x).sum(1), weights


@pytest.mark.parametrize("given", [Norms, f"{__name__}.Norms", Norms(8)], ids=["class", "path", "module"])
def test_a_read_out_of_ones_own(given):
    head = TagHead(8, (3, 5), 2, encoder_layers=0, readout=given).eval()
    answer = head(torch.randn(2, 3, 5, 8))
    torch.testing.assert_close(
        answer.extras["weights"], answer.extras["propagated"].norm(dim=-1).flatten(1).softmax(-1).view(2, 3, 5)
    )
