"""Attributes of edges: each equals what a loop over the edges gives, whatever the topology."""

from dataclasses import dataclass

import pytest
import torch

from graphs import EDGE_ATTRIBUTES, SPATIAL, Topology, edge_attributes_width, graph, parse, to_batch

GRIDS = [(3, 2, 4), (1, 3, 1), (4, 5)]


def of_one_edge(name, source, target, kind, sizes):
    """The numbers of one edge between two positions."""
    steps = [a - b for a, b in zip(source, target, strict=True)]
    offset = [step / max(size - 1, 1) for step, size in zip(steps, sizes, strict=True)]
    return {
        "type": [float(kind == 0), float(kind == 1)],
        "offset": offset,
        "direction": [float((steps[0] > 0) - (steps[0] < 0))],
        "distance": [sum(value**2 for value in offset) ** 0.5],
    }[name]


@pytest.mark.parametrize("topology", ["clique+chain(reach=2)", "chain", "none"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("name", EDGE_ATTRIBUTES)
def test_equals_a_loop_over_the_edges(name, grid, topology):
    one = graph(parse(topology), grid)
    pos = one.pos.tolist()
    edges = zip(*one.edge_index.tolist(), one.edge_type.tolist(), strict=True)
    expected = [of_one_edge(name, pos[j], pos[i], kind, grid) for j, i, kind in edges]
    found = one.attributes([name])
    assert found.shape == (one.num_edges, edge_attributes_width(len(grid), [name]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor(expected).reshape(found.shape))


def test_columns_stand_in_the_order_of_the_names():
    one = graph(parse("clique+chain"), (3, 2, 2))
    both = one.attributes(["direction", "type"])
    assert torch.equal(both, torch.cat([one.attributes(["direction"]), one.attributes(["type"])], 1))
    assert one.attributes(["direction", "type"]) is both


@pytest.mark.parametrize("names", [[], ["tpye"], ["type", "type"]], ids=["none", "unknown", "twice"])
def test_wrong_names_are_refused(names):
    with pytest.raises(ValueError, match="edge attribute"):
        graph(parse("chain"), (3, 2, 2)).attributes(names)
    with pytest.raises(ValueError, match="edge attribute"):
        edge_attributes_width(3, names)


@dataclass(frozen=True)
class ThirdKind(Topology):
    edge_types = (SPATIAL, 2)

    def edges(self, grid, device="cpu"):
        return torch.tensor([[0], [1]], device=device), torch.tensor([2], device=device)


def test_an_edge_type_that_has_no_column_is_refused():
    one = graph(ThirdKind(), (2, 1, 1))
    assert one.attributes(["direction"]).tolist() == [[-1.0]]
    with pytest.raises(ValueError, match="ThirdKind"):
        one.attributes(["type"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_a_batch_is_that_of_one_data_a_clip(dtype):
    from torch_geometric.data import Batch

    tokens, rule, names = torch.randn(3, 2, 2, 3, 5, dtype=dtype), parse("clique+chain"), ["type", "offset"]
    batch = to_batch(tokens, rule, names)
    again = Batch.from_data_list(batch.to_data_list())
    assert batch.edge_attr.dtype == dtype
    for key in ("x", "edge_index", "edge_attr", "edge_type", "batch", "ptr"):
        assert torch.equal(batch[key], again[key])
    assert torch.equal(batch[1].edge_attr, graph(rule, (2, 2, 3)).attributes(names).to(dtype))
    assert "edge_attr" not in to_batch(tokens, rule)
