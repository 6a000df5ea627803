"""Topologies by name."""

from dataclasses import dataclass, fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import SPATIAL, Chain, Clique, NoEdges, Topology, parse

rules = st.lists(st.sampled_from([Clique(), NoEdges()]) | st.builds(Chain, st.integers(1, 9)), max_size=4).map(
    lambda parts: sum(parts, NoEdges())
)


@settings(derandomize=True, max_examples=40)
@given(rules, st.integers(1, 9))
def test_a_topology_is_read_back_from_its_text(rule, reach):
    text = str(rule)
    # A chain of reach 1 writes no reach, so it is the one that takes the reach from outside.
    assert parse(text) == rule
    assert "reach" not in text or parse(text, reach=reach) == rule


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("clique", Clique()),
        ("chain", Chain(3)),
        ("none", NoEdges()),
        ("clique+chain", Clique() + Chain(3)),
        (" chain + clique ", Clique() + Chain(3)),
        ("clique()+chain( reach = 2 )", Clique() + Chain(2)),
        ("clique+none", Clique()),
    ],
)
def test_names_stand_for_rules(spec, rule):
    assert parse(spec, reach=3) == rule


def test_texts():
    assert str(Clique() + Chain()) == str(Chain() + Clique()) == "clique+chain"
    assert str(Chain(2) + Clique()) == "clique+chain(reach=2)"
    assert str(NoEdges()) == "none"


@dataclass(frozen=True)
class Ring(Topology):
    """A rule of a user's own with options of several types."""

    joints: int = 17
    pairs: tuple = ()
    name: str = "a"
    reach: int = 1

    def __post_init__(self):
        if self.joints < 1:
            raise ValueError(f"joints of at least 1, given {self.joints}")

    def edges(self, grid, device="cpu"):
        none = torch.empty(2, 0, dtype=torch.long, device=device)
        return none, none[0] + SPATIAL


class Outer:
    class Inner(Ring):
        pass


@pytest.mark.parametrize(
    "rule",
    [
        Ring(),
        Ring(3, ((0, 1), (1, 2)), "x + y, (z)"),
        Ring(5, name="it's"),
        Outer.Inner(4),
        Clique() + Ring(joints=2) + Chain(3),
    ],
    ids=str,
)
def test_a_rule_of_ones_own_is_read_back_from_its_text(rule):
    assert parse(str(rule)) == rule
    # The reach from outside is the chain's.
    assert {field.name for field in fields(Ring)} == {"joints", "pairs", "name", "reach"}
    assert "chain" in str(rule) or parse(str(rule), reach=3) == rule


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (f"{__name__}.Rign", f"unknown topology in {__name__} 'Rign'; did you mean 'Ring'"),
        (f"{__name__}.SPATIAL", "is no class of graphs.Topology but 0"),
        (f"{__name__}.Ring(joint=3)", "unknown option of"),
        (f"{__name__}.Ring(name=two)", "name is a Python literal such as 2"),
        (f"{__name__}.Ring(joints=0)", "joints of at least 1, given 0"),
        ("torch.nn.Linear", "is no class of graphs.Topology but <class"),
        ("tortsch.Ring", "No module named 'tortsch'"),
        (".Ring", "unknown topology '.Ring'"),
    ],
)
def test_a_path_that_leads_to_no_topology_is_refused(spec, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        parse(f"clique+{spec}")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "cliqe",
            "unknown topology 'cliqe'; did you mean 'clique'? Possible: clique, chain, bones,",
        ),
        ("abc", "unknown topology 'abc'. Possible: clique, chain, bones, tracklets, only, rewired, none"),
        ("clique+chian", "topology 'clique+chian': unknown topology 'chian'; did you mean 'chain'? Possible:"),
        ("chain(rech=2)", "unknown option of chain 'rech'; did you mean 'reach'? Possible: reach"),
        ("chain(reach=two)", "reach is an integer, given 'two'"),
        ("chain(reach=0)", "reach is a number of frames, an integer of at least 1, given 0"),
        ("clique(reach=2)", "clique takes no options, given 'reach=2'"),
        ("clique+", "'' is not a rule such as"),
        ("", "'' is not a rule such as"),
        ("chain(reach=2", "'chain(reach=2' is not a rule such as"),
        (3, "a text such as 'clique+chain', given 3"),
    ],
)
def test_a_text_that_names_no_topology_is_refused_with_what_is_possible(spec, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        parse(spec)
    assert message in str(raised.value)
