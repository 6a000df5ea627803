import numpy as np
import pytest

from graphs.skeleton import find
from taggnn.data.clips import Clip
from taggnn.data.skeleton import formats
from taggnn.data.skeleton.synthetic import FLIP_PAIRS, LIMBS, MOTIONS, make_sequence, make_synthetic

FEW = {"train": 2, "val": 1, "test": 1}


def angles(x, limb):
    """Angle of a limb in turns, frame by frame. **Shapes:** (T, V, 3) -> (T,)"""
    joints = find("ntu").joints
    inner, outer = (x[:, joints.index(name)] for name in (LIMBS[limb][0][0], LIMBS[limb][0][-1]))
    return np.unwrap(np.arctan2(*(outer - inner)[:, 1::-1].T)) / (2 * np.pi)


@pytest.mark.parametrize("motion", list(MOTIONS))
def test_only_the_limb_of_a_class_turns_and_in_its_direction(motion):
    x = make_sequence(motion, 48, np.random.default_rng(0))[0]
    for limb in LIMBS:
        turned = angles(x, limb)[-1] - angles(x, limb)[0]
        if limb == MOTIONS[motion][0]:
            assert 0.6 < MOTIONS[motion][1] * turned < 1.4
        else:
            assert abs(turned) < 0.1


def test_flip_pairs_are_the_exchange_of_left_and_right():
    for one, other in FLIP_PAIRS.items():
        assert one.startswith("left")
        assert other.startswith("right")
        assert MOTIONS[one][1] == -MOTIONS[other][1]


def test_the_set_is_complete_and_the_same_again(tmp_path):
    root = make_synthetic(tmp_path / "a", FEW, frames=8)
    again = make_synthetic(tmp_path / "b", FEW, frames=8)
    files = sorted(path.relative_to(root) for path in root.rglob("*.npz"))
    assert len(files) == 4 * len(MOTIONS)
    for file in files:
        one, other = (formats.read(Clip(str(top / file), 0, file.name)).coordinates for top in (root, again))
        assert tuple(one.shape) == (1, 8, 25, 3)
        assert (one == other).all()


def test_an_interrupted_set_is_completed_and_others_are_refused(tmp_path):
    root = make_synthetic(tmp_path, FEW, frames=8)
    lost = next(root.rglob("*.npz"))
    content = lost.read_bytes()
    lost.unlink()
    make_synthetic(root, FEW, frames=8)
    assert lost.read_bytes() == content
    with pytest.raises(ValueError, match=r"synthetic\.json"):
        make_synthetic(root, FEW, frames=9)


@pytest.mark.parametrize(
    "options",
    [{"frames": 7}, {"clips_per_class": {"train": 0}}, {"clips_per_class": {}}],
    ids=["frames", "clips", "none"],
)
def test_impossible_numbers_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        make_synthetic(tmp_path, **options)
