"""The views of a graph and the PyG Batch of many clips."""

import copy
import pickle
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import Distance

from graphs import Chain, Clique, NoEdges, graph, to_batch
from graphs import batch as module

few = settings(derandomize=True, max_examples=25)
shapes = st.tuples(st.integers(1, 3), *[st.integers(1, 4)] * 3, st.integers(1, 3))
rules = st.sampled_from([Clique() + Chain(), Clique() + Chain(2), Clique(), Chain(3), NoEdges()])


@pytest.fixture(autouse=True)
def _forget():
    module._graph.cache_clear()


def reference(tokens, rule):
    """The same Batch as PyG makes it, one Data a clip."""
    edge_index, edge_type = rule.edges(tokens.shape[1:4])
    pos = torch.tensor([list(index) for index in torch.ones(tokens.shape[1:4]).nonzero().tolist()]).to(tokens.dtype)
    clips = [Data(x=clip.flatten(0, 2), edge_index=edge_index, edge_type=edge_type, pos=pos) for clip in tokens]
    return Batch.from_data_list(clips)


def assert_same(given, expected):
    assert type(given) is type(expected)
    assert given.keys() == expected.keys()
    for key in expected.keys():  # noqa: SIM118
        assert torch.equal(given[key], expected[key]), key
        assert given[key].dtype == expected[key].dtype, key


@few
@given(shapes, rules)
def test_batch_equals_from_data_list_whole_and_cut_apart(shape, rule):
    tokens = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    batch, expected = to_batch(tokens, rule), reference(tokens, rule)
    assert_same(batch, expected)
    assert batch.num_graphs == expected.num_graphs == len(tokens)
    assert batch.num_nodes == expected.num_nodes
    for name in ("_slice_dict", "_inc_dict"):
        notes, expected_notes = getattr(batch, name), getattr(expected, name)
        assert notes.keys() == expected_notes.keys()
        assert all(torch.equal(notes[key], expected_notes[key]) for key in notes)
    for one, other in zip(batch.to_data_list(), expected.to_data_list(), strict=True):
        assert_same(one, other)
    assert_same(batch[len(tokens) - 1], expected[len(tokens) - 1])


def test_tokens_in_another_memory_layout_give_the_same_batch():
    channels_first = torch.randn(2, 5, 3, 2, 4)
    tokens = channels_first.movedim(1, -1)
    assert not tokens.is_contiguous()
    assert_same(to_batch(tokens, Clique() + Chain()), reference(tokens.contiguous(), Clique() + Chain()))


def test_gradients_flow_back_to_the_tokens():
    tokens = torch.randn(2, 3, 1, 2, 4, dtype=torch.double, requires_grad=True)
    weight = torch.randn(12, 4, dtype=torch.double)
    batch = to_batch(tokens, Clique() + Chain())
    source, target = batch.edge_index
    heard = torch.zeros_like(batch.x).index_add(0, target, batch.x[source])
    (heard * weight).sum().backward()
    mask = graph(Clique() + Chain(), (3, 1, 2)).mask.double()
    expected = mask.T @ weight.view(2, 6, 4)
    torch.testing.assert_close(tokens.grad.view(2, 6, 4), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_positions_are_exact_numbers_that_transforms_can_use(dtype):
    # From 257 on bfloat16 would round.
    batch = to_batch(torch.zeros(1, 302, 1, 1, 1, dtype=dtype), Chain())
    assert batch.x.dtype == dtype
    assert batch.pos[:, 0].tolist() == list(range(302))
    assert torch.equal(Distance(norm=False)(batch).edge_attr, torch.ones(602, 1, dtype=batch.pos.dtype))


@dataclass(frozen=True)
class OnVideo(Clique):
    axes = ("frames", "height", "width")


@pytest.mark.parametrize("shape", [(3, 2, 2, 4), (1, 2, 3, 2, 2, 4)], ids=str)
def test_tokens_of_another_rank_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(clips, frames, height, width, channels\), given a tensor of shape"):
        to_batch(torch.zeros(shape), OnVideo())
    with pytest.raises(ValueError, match=r"\(clips, frames, \.\.\., channels\), given a tensor of shape"):
        to_batch(torch.zeros(2, 3), Clique())


@pytest.mark.parametrize("grid", [(4,), (3, 5), (2, 2, 1, 3)], ids=str)
def test_grids_of_any_rank_are_cut_apart_again(grid):
    tokens = torch.randn(2, *grid, 6)
    batch = to_batch(tokens, Clique() + Chain())
    assert batch.pos.shape == (batch.num_nodes, len(grid))
    for clip, one in zip(tokens, batch.to_data_list(), strict=True):
        assert torch.equal(one.x, clip.flatten(0, -2))
        assert torch.equal(one.edge_index, (Clique() + Chain()).edges(grid)[0])


@pytest.mark.parametrize(("shape", "message"), [((0, 2, 2, 2, 3), "at least one clip"), ((2, 0, 2, 2, 3), "positive")])
def test_empty_tokens_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        to_batch(torch.zeros(shape), Clique())


def test_a_graph_is_made_once_for_each_rule_grid_and_device():
    one = graph(Clique() + Chain(), (3, 2, 1))
    assert graph(Chain() + Clique(), torch.Size([3, 2, 1]), torch.device("cpu")) is one
    assert graph(Clique() + Chain(), [3, 2, 1], "cpu:0") is one
    assert graph(Clique() + Chain(), (3, 1, 2)) is not one
    assert graph(Clique() + Chain(2), (3, 2, 1)) is not one
    assert graph(Clique(), (3, 2, 1), "meta") is not graph(Clique(), (3, 2, 1))
    assert one.edge_index is one.edge_index
    assert one.batched(2)[0] is one.batched(2)[0]


def test_a_device_without_an_index_is_the_current_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert graph(Clique(), (1, 1, 2), "cuda") is graph(Clique(), (1, 1, 2), "cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert graph(Clique(), (1, 1, 2), "cuda") is graph(Clique(), (1, 1, 2), "cuda:0")


@pytest.mark.parametrize("view", ["edge_index", "edge_type", "mask", "degree", "pos"])
def test_views_are_on_the_graphs_device_whatever_the_default_is(view):
    with torch.device("meta"):
        assert getattr(graph(Clique() + Chain(), (2, 2, 1)), view).device.type == "cpu"
        assert to_batch(torch.zeros(2, 2, 2, 1, 3, device="cpu"), Clique())._slice_dict["x"].device.type == "cpu"


def test_pos_counts_time_slowest():
    assert graph(NoEdges(), (2, 1, 2)).pos.tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1]]
    assert not graph(NoEdges(), (2, 1, 2)).pos.is_floating_point()


def test_batched_keeps_a_few_sizes_only():
    one = graph(Clique() + Chain(), (2, 1, 2))
    for clips in range(1, 50):
        edge_index, edge_type = one.batched(clips)
        assert edge_index.shape == (2, clips * one.num_edges)
        assert edge_type.shape == (clips * one.num_edges,)
    assert sorted(one._batches) == [46, 47, 48, 49]
    kept = one.batched(46)
    one.batched(3)
    assert one.batched(46) is kept


def test_copies_and_pickles_carry_the_rule_and_not_the_tensors():
    one = graph(Clique() + Chain(), (4, 7, 7))
    assert one.mask.any()
    holder = torch.nn.Module()
    holder.graph = one
    assert copy.deepcopy(holder).graph is one
    assert copy.copy(one) is one
    sent = pickle.dumps(holder)
    assert len(sent) < 2_000
    assert pickle.loads(sent).graph is one
    module._graph.cache_clear()
    again = pickle.loads(sent).graph
    assert again is not one
    assert torch.equal(again.edge_index, one.edge_index)


class Clips(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return to_batch(torch.full((1, 2, 2, 1, 3), float(index)), Clique() + Chain())[0]


def test_loader_workers_can_ask_for_graphs():
    graph(Clique() + Chain(), (2, 2, 1)).batched(1)
    loader = torch.utils.data.DataLoader(Clips(), batch_size=None, num_workers=1)
    assert [int(data.x.sum()) for data in loader] == [0, 12]
    assert all(torch.equal(data.edge_index, graph(Clique() + Chain(), (2, 2, 1)).edge_index) for data in loader)


def test_tensors_first_asked_for_under_inference_mode_can_be_trained_with():
    rule = Clique() + Chain()
    with torch.inference_mode():
        one = graph(rule, (2, 2, 1))
        made = [one.edge_index, one.edge_type, one.mask, one.degree, one.pos, *one.batched(2)]
        to_batch(torch.zeros(2, 2, 2, 1, 3), rule)
    assert not any(tensor.is_inference() for tensor in made)
    tokens = torch.randn(2, 2, 2, 1, 3, requires_grad=True)
    batch = to_batch(tokens, rule)
    gathered = batch.x[batch.edge_index[0]] * batch.x[batch.edge_index[1]]
    gathered.sum().backward()
    assert tokens.grad.abs().sum() > 0


def test_stand_ins_of_a_trace_are_not_kept():
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    one = graph(Clique() + Chain(), (2, 2, 1))
    with FakeTensorMode():
        assert isinstance(one.pos, FakeTensor)
    assert not isinstance(one.pos, FakeTensor)
