"""Skeletons as data: trees over all joints, pairs of left and right, layouts; the bones as a rule and as adjacency subsets."""

import dataclasses

import pytest
import torch

from graphs import SKELETONS, SPATIAL, Bones, Chain, Clique, adjacency_subsets, distance_subsets, graph, parse
from graphs.__main__ import main
from graphs.draw import picture
from graphs.skeleton import find

each = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)


@pytest.mark.parametrize(
    ("name", "joints", "root", "pairs"),
    [
        ("ntu", 25, "spine shoulder", 10),
        ("nw_ucla", 20, "shoulder center", 8),
        ("coco", 17, "nose", 8),
        ("openpose", 18, "neck", 8),
        ("mediapipe", 33, "nose", 16),
        ("hand", 21, "wrist", 0),
    ],
)
def test_the_published_joints_are_there(name, joints, root, pairs):
    skeleton = find(name)
    assert (len(skeleton), skeleton.joints[skeleton.root], len(skeleton.pairs)) == (joints, root, pairs)
    assert len(set(skeleton.joints)) == joints


@each
def test_the_layout_is_a_body_seen_from_the_front(skeleton):
    assert len(set(skeleton.layout)) == len(skeleton)
    for left, right in skeleton.pairs:
        assert skeleton.layout[left] == (-skeleton.layout[right][0], skeleton.layout[right][1])
        assert skeleton.layout[left][0] > 0


@each
def test_a_mirror_keeps_the_bones(skeleton):
    mirrored = skeleton.mirrored
    assert [mirrored[mirrored[joint]] for joint in range(len(skeleton))] == list(range(len(skeleton)))
    assert {(mirrored[child], mirrored[parent]) for child, parent in skeleton.bones} == set(skeleton.bones)


@pytest.mark.parametrize(
    "bones",
    [((1, 0),), ((1, 0), (2, 1), (0, 2)), ((1, 0), (1, 2)), ((1, 2), (2, 1)), ((1, 0), (5, 0))],
    ids=["a joint alone", "a circle", "two parents", "apart", "no joint"],
)
def test_bones_that_are_no_tree_are_refused(bones):
    skeleton = dataclasses.replace(
        find("hand"), joints=("a", "b", "c"), layout=((0, 0), (1, 0), (2, 0)), bones=((1, 0), (2, 0))
    )
    with pytest.raises(ValueError, match="bones"):
        dataclasses.replace(skeleton, bones=bones)


@each
@pytest.mark.parametrize("frames", [1, 3])
def test_bones_are_edges_in_both_directions_of_every_frame(skeleton, frames):
    joints = len(skeleton)
    topology, grid = Bones(skeleton.name), (frames, joints)
    edge_index, edge_type = topology.edges(grid)
    expected = {
        (t * joints + a, t * joints + b)
        for t in range(frames)
        for bone in skeleton.bones
        for a, b in (bone, bone[::-1])
    }
    assert set(zip(*edge_index.tolist(), strict=True)) == expected
    assert edge_index.shape[1] == topology.num_edges(grid) == len(expected)
    assert edge_type.unique().tolist() == [SPATIAL]
    # By target, then source: the list is in CSR form.
    key = edge_index[1] * frames * joints + edge_index[0]
    assert torch.equal(key, key.sort().values)


def test_bones_add_up_with_clique_and_chain():
    assert str(parse("bones(skeleton=coco)+chain")) == "bones(skeleton='coco')+chain"
    assert parse("bones(skeleton='coco')+chain(reach=2)") == Bones("coco") + Chain(2)
    grid = (3, 17)
    # Every bone is an edge of the clique.
    assert (Bones("coco") + Clique()).num_edges(grid) == Clique().num_edges(grid)
    assert graph(Bones("coco") + Chain(), grid).num_edges == 3 * 32 + 2 * 2 * 17


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bones", "skeleton"),
        ("bones(skeleton=coca)", "did you mean 'coco'"),
        ("bones(joints=3)", "did you mean|Possible: skeleton"),
    ],
)
def test_unknown_skeletons_and_options_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        parse(spec)


def test_a_grid_with_other_joints_is_refused():
    with pytest.raises(ValueError, match=r"25 joints, the grid .* has 17"):
        Bones("ntu").edges((3, 17))
    with pytest.raises(ValueError, match=r"\(frames, joints\)"):
        Bones("ntu").num_edges((3, 5, 5))


@each
def test_adjacency_subsets_are_those_of_the_published_networks(skeleton):
    own, inward, outward = adjacency_subsets(skeleton)
    assert torch.equal(own, torch.eye(len(skeleton)))
    children = torch.zeros(len(skeleton))
    for child, parent in skeleton.bones:
        # A joint has one parent, whose whole column it is; a parent shares its outward column among its children.
        assert inward[parent, child] == 1
        assert outward[child, parent] > 0
        children[parent] += 1
    assert int((inward > 0).sum()) == int((outward > 0).sum()) == len(skeleton.bones)
    torch.testing.assert_close(outward.sum(0), (children > 0).float())


@each
def test_distance_subsets_split_one_normalised_graph(skeleton):
    level, nearer, farther = distance_subsets(skeleton)
    torch.testing.assert_close((level + nearer + farther).sum(0), torch.ones(len(skeleton)))
    assert torch.equal(level, level.diagonal().diag())
    assert not (nearer[:, skeleton.root] > 0).any()
    assert all(nearer[parent, child] > 0 and farther[child, parent] > 0 for child, parent in skeleton.bones)


@each
def test_a_skeleton_is_drawn_with_its_bones(skeleton):
    figure = picture(Bones(skeleton.name) + Chain(), (2, len(skeleton)), skeleton)
    spatial, temporal = [lines for lines in figure.axes[0].collections if hasattr(lines, "get_segments")]
    assert (len(spatial.get_segments()), len(temporal.get_segments())) == (2 * len(skeleton.bones), len(skeleton))


def test_the_program_draws_it(tmp_path, capsys):
    out = tmp_path / "ntu.png"
    assert main(["--skeleton", "ntu", "--frames", "2", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "bones(skeleton='ntu')+chain on 2 frames of 25 positions" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["--skeleton", "ntu", "--grid", "2", "17", "--topology", "chain", "--out", str(out)])
    assert ended.value.code == 2
