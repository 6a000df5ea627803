"""taggnn.evaluation.matching: the same clips, whatever the order of clips and classes in each file."""

import pytest
import torch

from taggnn.evaluation.matching import aligned, matched
from taggnn.evaluation.metrics import summarise
from taggnn.evaluation.predictions import Predictions


def predictions(names="abcdef", classes=("x", "y", "z"), seed=0, grain=None):
    draw = torch.Generator().manual_seed(seed)
    shares = torch.randn(len(names), len(classes), generator=draw).softmax(1)
    if grain:
        shares = (shares * grain).round() / grain
    labels = torch.tensor([ord(name) % len(classes) for name in names])
    return Predictions(list(names), list(names), labels, shares, list(classes))


def reordered(file, clips, classes):
    """The same file with its clips and classes in another order."""
    clips, columns = torch.tensor(clips), torch.tensor(classes)
    return Predictions(
        [file.names[at] for at in clips],
        [file.paths[at] for at in clips],
        columns.argsort()[file.labels[clips]],
        file.probabilities[clips][:, columns],
        [file.classes[at] for at in columns],
    )


@pytest.mark.parametrize("grain", [None, 2], ids=["distinct", "ties"])
def test_order_of_clips_and_classes_does_not_matter(grain):
    one = predictions(grain=grain)
    other = reordered(one, [3, 0, 5, 1, 4, 2], [2, 0, 1])
    found = matched([one, other], ["one", "other"])
    assert found.names == one.names
    assert found.notes == []
    first, second = found.answers
    assert torch.equal(first.labels, second.labels)
    if grain is None:
        assert torch.equal(first.predicted, second.predicted)
    # Each file keeps its own figures, ties decided in its own order.
    assert found.scores == [summarise(file.probabilities, file.labels) for file in (one, other)]
    assert second.right.sum() == round(found.scores[1].top1 * 6)


def test_aligned_probabilities_have_the_first_files_order():
    one, second = predictions(), predictions(seed=1)
    other = reordered(second, [3, 0, 5, 1, 4, 2], [2, 0, 1])
    found = aligned([one, other], ["one", "other"])
    assert (found.names, found.classes, found.left_out, found.notes) == (one.names, one.classes, [[], []], [])
    assert torch.equal(found.labels, one.labels)
    assert torch.equal(found.probabilities[0], one.probabilities)
    assert torch.equal(found.probabilities[1], second.probabilities)


def named(names, seed=0):
    """Clips a, b, ... with these names."""
    given = predictions("abcdef"[: len(names)], seed=seed)
    return Predictions(names, names, given.labels, given.probabilities, given.classes)


@pytest.mark.parametrize(
    ("names", "others", "kind"),
    [
        (["w/a.mp4", "w/b.mp4"], ["w/a.npz", "w/b.npz"], "name without the file's ending"),
        (
            ["a.mp4 [0.0, 2.5)", "a.mp4 [2.5, end)"],
            ["a.npz [0.0, 2.5)", "a.npz [2.5, end)"],
            "name without the file's ending",
        ),
        (["rgb/w/a.mp4", "rgb/w/b.mp4"], ["a.skeleton", "b.skeleton"], "name without folders and the file's ending"),
    ],
    ids=["ending", "cut", "folder"],
)
def test_names_are_compared_without_what_two_files_do_not_share(names, others, kind):
    found = aligned([named(names), named(others, seed=1)], ["one", "other"])
    assert found.names == names
    assert found.notes == [f"clips are matched by {kind}: {names[0]!r} is {others[0]!r}"]


def test_a_short_name_of_two_clips_decides_nothing():
    one, other = named(["w/a.mp4", "v/a.mp4"]), named(["x/a.npz", "y/a.npz"])
    with pytest.raises(ValueError, match="no clip in common"):
        aligned([one, other], ["one", "other"])


def test_only_common_clips_count_and_the_others_are_told():
    found = matched([predictions("abcdef"), predictions("cfxa", seed=1)], ["one", "other"])
    assert found.names == ["a", "c", "f"]
    assert [scores.measured for scores in found.scores] == [3, 3]
    assert found.notes == [
        "one: 3 of its 6 clips are not in every file and are left out: 'b', 'd', 'e'",
        "other: 1 of its 4 clips are not in every file and are left out: 'x'",
    ]
    assert len(matched([predictions(), predictions("abc"), predictions("cd")], list("123")).names) == 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (predictions("uvw"), "one and other have no clip in common, by name: the first is 'a' in one and 'u'"),
        (predictions("aab"), "other: 1 name of several clips: 'a'"),
        (predictions("abc", classes=("x", "y", "w")), "other classes: only in other: 'w'; only in one: 'z'"),
        (predictions("abc", classes=("x", "y", "z", "w")), "other classes: only in other: 'w'$"),
        (predictions("abc", classes=("x", "y", "y")), "other: several classes have the same name"),
        (
            predictions("abc", classes=("x", "z", "y")),
            "2 of 3 clips have another true class in other .*'a': 'z' and 'y'",
        ),
        (
            Predictions([], [], torch.zeros(0, dtype=torch.long), torch.zeros(0, 3), ["x", "y", "z"]),
            "other: no clip in it",
        ),
    ],
    ids=["no common clip", "a name twice", "other classes", "more classes", "a class twice", "other labels", "empty"],
)
def test_what_cannot_be_compared_is_named(other, message):
    with pytest.raises(ValueError, match=message):
        matched([predictions(), other], ["one", "other"])
