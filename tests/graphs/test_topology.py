"""Rules against a reading of their definition, node by node."""

from dataclasses import dataclass
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import SPATIAL, TEMPORAL, Chain, Clique, NoEdges, Topology, Union, graph

few = settings(derandomize=True, max_examples=40)
grids = st.tuples(*[st.integers(1, 5)] * 3)
rules = st.builds(
    lambda names, reach: sum([Clique()] * ("s" in names) + [Chain(reach)] * ("t" in names), NoEdges()),
    st.sampled_from(["", "s", "t", "st"]),
    st.integers(1, 6),
)


@dataclass(frozen=True)
class Ahead(Topology):
    """A rule as a user writes it: one method, directed, mixed types, overlapping with clique and chain."""

    def edges(self, grid, device="cpu"):
        nodes = torch.arange(torch.Size(self.checked(grid)).numel(), device=device)
        edge_index = torch.stack([nodes[:-1], nodes[1:]])
        positions = grid[1] * grid[2]
        kind = (edge_index[0] // positions != edge_index[1] // positions).long()
        return edge_index, kind


def expected_edges(rule, grid):
    """Every ordered pair of nodes, asked one at a time, targets outside and sources inside."""
    frames, height, width = grid
    cells = [(t, h, w) for t in range(frames) for h in range(height) for w in range(width)]
    parts = rule.parts if isinstance(rule, Union) else (rule,)
    spatial = Clique() in parts
    reach = max([part.reach for part in parts if isinstance(part, Chain)], default=0)
    found = []
    for target, (t, h, w) in enumerate(cells):
        for source, (u, y, x) in enumerate(cells):
            if spatial and t == u and source != target:
                found.append((source, target, SPATIAL))
            elif (h, w) == (y, x) and 0 < abs(t - u) <= reach:
                found.append((source, target, TEMPORAL))
    return found


def listed(rule, grid):
    edge_index, edge_type = rule.edges(grid)
    assert edge_index.dtype == edge_type.dtype == torch.long
    return list(zip(*edge_index.tolist(), edge_type.tolist(), strict=True))


@few
@given(rules, grids)
def test_edges_follow_the_definition_sorted_by_target_then_source(rule, grid):
    assert listed(rule, grid) == expected_edges(rule, grid)


@few
@given(rules, grids)
def test_counts_degrees_and_mask_agree_with_the_edges(rule, grid):
    source, target, _ = torch.tensor(expected_edges(rule, grid), dtype=torch.long).reshape(-1, 3).T
    one = graph(rule, grid)
    mask = torch.zeros(one.num_nodes, one.num_nodes, dtype=torch.bool)
    mask[target, source] = True
    assert rule.num_edges(grid) == one.num_edges == len(source)
    assert torch.equal(one.mask, mask)
    assert torch.equal(one.mask, one.mask.T)
    assert not one.mask.diagonal().any()
    assert torch.equal(one.degree, mask.sum(1))
    assert torch.equal(rule.degree(grid), torch.bincount(target, minlength=one.num_nodes))


@pytest.mark.parametrize(("frames", "edges"), [(4, 9_702), (8, 19_502)])
def test_the_papers_graph_has_its_number_of_edges(frames, edges):
    rule = Clique() + Chain()
    assert rule.num_edges((frames, 7, 7)) == rule.edges((frames, 7, 7))[1].numel() == edges
    assert set((rule.degree((frames, 7, 7)) + 1).tolist()) == {50, 51}


def test_counting_and_degrees_do_not_list_the_edges(monkeypatch):
    def refuse(*args):
        raise AssertionError("listed")

    monkeypatch.setattr(Clique, "edges", refuse)
    monkeypatch.setattr(Chain, "edges", refuse)
    one = graph(Clique() + Chain(2), (6, 31, 37))
    assert one.num_edges == int(one.degree.sum()) == 6 * 1147 * 1146 + 2 * 1147 * (5 + 4)
    assert one.pos.shape == (6 * 1147, 3)


@pytest.mark.parametrize("grid", [(1, 1, 1), (5, 1, 1), (1, 3, 2)], ids=str)
def test_a_single_frame_or_place_has_no_edges_of_the_missing_kind(grid):
    frames, positions = grid[0], grid[1] * grid[2]
    assert Clique().num_edges(grid) == frames * positions * (positions - 1) == len(listed(Clique(), grid))
    assert Chain().num_edges(grid) == 2 * positions * (frames - 1) == len(listed(Chain(), grid))


def test_a_reach_beyond_the_clip_costs_no_more_than_the_clip():
    assert listed(Chain(10**12), (3, 1, 2)) == listed(Chain(2), (3, 1, 2))
    assert Chain(10**12).num_edges((3, 1, 2)) == 12
    assert Chain(10**12).degree((3, 1, 2)).tolist() == [2] * 6


def test_sums_do_not_depend_on_order_nesting_or_repetition():
    rule = Clique() + Chain(2)
    same = [
        Chain(2) + Clique(),
        Union((Chain(2), Clique())),
        Union([Union((Clique(), Chain(1))), Chain(2), Clique(), NoEdges()]),
        NoEdges() + Clique() + (Chain(1) + Chain(2)) + Clique(),
    ]
    for other in same:
        assert other == rule
        assert hash(other) == hash(rule)
    assert rule != Clique() + Chain(1)
    assert Clique() + Clique() == Clique() == Clique() + NoEdges()
    assert Chain(3) + Chain(1) == Chain(3)


def test_a_rule_of_ones_own_needs_only_its_edges():
    rule, grid = Ahead(), (2, 1, 3)
    assert listed(rule, grid) == [(0, 1, 0), (1, 2, 0), (2, 3, 1), (3, 4, 0), (4, 5, 0)]
    assert rule.num_edges(grid) == 5
    assert rule.degree(grid).tolist() == [0, 1, 1, 1, 1, 1]
    assert graph(rule, grid).mask.nonzero().tolist() == [[1, 0], [2, 1], [3, 2], [4, 3], [5, 4]]


def test_an_edge_that_two_parts_share_is_there_once():
    rule, grid = Ahead() + Clique(), (2, 1, 3)
    expected = sorted(set(listed(Clique(), grid)) | {(2, 3, TEMPORAL)}, key=lambda edge: (edge[1], edge[0]))
    assert listed(rule, grid) == expected
    assert rule.num_edges(grid) == len(expected) == 13
    assert rule.degree(grid).tolist() == [2, 2, 2, 3, 2, 2]


@pytest.mark.parametrize(
    "grid", [(2, 3), (1, 2, 3, 4), (0, 2, 2), (2, -1, 2), (2.0, 2, 2), (True, 2, 2), 7, None, "abc"], ids=str
)
@pytest.mark.parametrize(
    "rule", [Ahead(), Ahead() + Clique(), Chain() + Ahead()], ids=["own", "own+clique", "own+chain"]
)
def test_a_grid_that_is_not_three_positive_integers_is_refused(rule, grid):
    for ask in (rule.edges, rule.num_edges, rule.degree, lambda given: graph(rule, given)):
        with pytest.raises(ValueError, match=r"3 positive integers \(frames, height, width\), given"):
            ask(grid)


@pytest.mark.parametrize("grid", [(), (0, 2, 2), (2, -1), (2.0, 2), (True, 2, 2), 7, None, "abc"], ids=str)
@pytest.mark.parametrize("rule", [Clique(), Chain(), Clique() + Chain(), NoEdges()], ids=str)
def test_a_grid_that_is_not_positive_integers_is_refused_by_rules_for_any_rank(rule, grid):
    for ask in (rule.edges, rule.num_edges, rule.degree, lambda given: graph(rule, given)):
        with pytest.raises(ValueError, match=r"at least 1 positive integer \(frames, \.\.\.\), given"):
            ask(grid)


@few
@given(rules, st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_further_axes_are_the_positions_of_a_frame_whatever_their_number(rule, grid):
    frames, *others = grid
    same = (frames, prod(others), 1)
    assert listed(rule, grid) == listed(rule, same)
    assert rule.num_edges(grid) == rule.num_edges(same)
    assert torch.equal(rule.degree(grid), rule.degree(same))
    one = graph(rule, grid)
    assert one.pos.shape == (prod(grid), len(grid))
    assert torch.equal(torch.tensor(grid).prod(), torch.tensor(len(one.pos.unique(dim=0))))


@dataclass(frozen=True)
class Bones(Topology):
    """A rule of a user's own on two axes: an edge from each joint to the next, in the same frame."""

    axes = ("frames", "joints")
    edge_types = (SPATIAL,)

    def edges(self, grid, device="cpu"):
        frames, joints = self.checked(grid)
        nodes = torch.arange(frames * joints, device=device).view(frames, joints)
        edge_index = torch.stack([nodes[:, :-1].flatten(), nodes[:, 1:].flatten()])
        return edge_index, torch.full_like(edge_index[0], SPATIAL)


def test_rules_for_any_rank_take_the_axes_of_the_others():
    assert Clique().axes == Chain().axes == NoEdges().axes == (Clique() + Chain()).axes == ("frames", ...)
    for rule in (Bones() + Chain(), Chain() + Bones(), Clique() + Chain() + Bones()):
        assert rule.axes == ("frames", "joints")
        with pytest.raises(ValueError, match=r"2 positive integers \(frames, joints\), given"):
            rule.edges((2, 3, 1))
    assert (Bones() + NoEdges()).axes == ("frames", "joints")
    assert listed(Bones() + Chain(), (2, 2)) == [(2, 0, TEMPORAL), (0, 1, SPATIAL), (3, 1, TEMPORAL),
                                                 (0, 2, TEMPORAL), (1, 3, TEMPORAL), (2, 3, SPATIAL)]  # fmt: skip
    assert (Ahead() + Clique()).axes == ("frames", "height", "width")


def test_rules_for_any_rank_may_name_more_than_the_first_axis():
    @dataclass(frozen=True)
    class Joints(Bones):
        axes = ("frames", "joints", ...)

    assert (Joints() + Chain()).axes == (Chain() + Joints()).axes == ("frames", "joints", ...)
    assert (Joints() + Bones()).axes == ("frames", "joints")
    with pytest.raises(ValueError, match=r"at least 2 positive integers \(frames, joints, \.\.\.\), given"):
        Joints().checked((3,))
    assert Joints().checked((3, 2, 1)) == (3, 2, 1)
    with pytest.raises(ValueError, match="same axes"):
        Joints() + Ahead()


@pytest.mark.parametrize("reach", [0, -1, 1.5, True, None, "2"], ids=repr)
def test_a_reach_that_is_not_a_positive_integer_is_refused(reach):
    with pytest.raises(ValueError, match=f"reach .* given {reach!r}"):
        Chain(reach)


@pytest.mark.parametrize("parts", [(), (Clique(),), (Clique(), NoEdges()), (Chain(1), Chain(2))], ids=str)
def test_a_union_of_fewer_than_two_rules_is_refused(parts):
    with pytest.raises(ValueError, match="at least two different rules"):
        Union(parts)


def test_only_topologies_add_up():
    with pytest.raises(TypeError):
        Clique() + "chain"
    with pytest.raises(ValueError, match="takes topologies, given 'chain'"):
        Union((Clique(), "chain"))


def test_rules_over_other_axes_do_not_add_up():
    for first, second in ((Ahead(), Bones()), (Bones(), Ahead()), (Clique() + Ahead(), Chain() + Bones())):
        with pytest.raises(ValueError, match=r"same axes: .*frames, height, width") as raised:
            first + second
        assert "Bones has frames, joints" in str(raised.value)


def test_a_rule_of_ones_own_is_written_by_its_dotted_path():
    assert str(Bones()) == f"{__name__}.Bones"
    assert str(Clique() + Bones()) in (f"clique+{__name__}.Bones", f"{__name__}.Bones+clique")
