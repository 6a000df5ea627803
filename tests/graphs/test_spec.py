"""Topologies by name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import Chain, Clique, NoEdges, parse

rules = st.lists(st.sampled_from([Clique(), NoEdges()]) | st.builds(Chain, st.integers(1, 9)), max_size=4).map(
    lambda parts: sum(parts, NoEdges())
)


@settings(derandomize=True, max_examples=40, deadline=None)
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


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cliqe", "unknown topology 'cliqe'; did you mean 'clique'? Possible: clique, chain, none"),
        ("grid", "unknown topology 'grid'. Possible: clique, chain, none"),
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
