"""What `benchmarks/accuracy.py` trains: the sets, and on each the arms of docs/graph_study.md, as options of ``taggnn.train``.

A new set or arm is a line here. Arms differ in the head alone; what the graph adds is the first arm minus each of the others.
"""

from typing import NamedTuple


class Arm(NamedTuple):
    """A head on trial.

    Args:
        name: of its row and folder.
        options: words of the command line, after those of the set.
        question: what the first arm minus this one answers.
    """

    name: str
    options: tuple[str, ...]
    question: str


class Set(NamedTuple):
    """Data, and how networks are trained on it.

    Args:
        title: for the table.
        words: words of the command line of all arms.
        arms: the first is the one with the graph; the others are subtracted from it.
        by_group: whether it needs folds, which keep clips of one group (a speaker) together.
    """

    title: str
    words: tuple[str, ...]
    arms: tuple[Arm, ...]
    by_group: bool = False


def _arms(*graph: str) -> tuple[Arm, ...]:
    """The arms of a set, with these options of the graph."""
    own = ("--head", "tag_graph", *graph)
    return (
        Arm("graph", own, "the head on trial"),
        Arm("without edges", (*own, "--tag_graph.topology", "none"), "do the edges help, the rest being equal?"),
        Arm("pool", ("--head", "pool"), "does the head help?"),
        Arm("pool ordered", ("--head", "pool", "--pool.ordered", "true"), "... more than the order of the frames?"),
        Arm("encoder", ("--head", "tag"), "is the Transformer encoder needed?"),
        Arm("released", ("--head", "tag_released"), "is it better than the authors' head?"),
    )


_RELATION = ("--tag_graph.conv", "relational")
_JOINTS = ("--tag_graph.topology", "bones(skeleton=nw_ucla)+chain")

SETS = {
    "miracl_words": Set(
        "ten spoken words, new speakers",
        ("--config", "miracl_words"),
        _arms(*_RELATION, "--tag_graph.reach", "4"),
        True,
    ),
    "nw_ucla": Set(
        "ten actions, skeletons, a new view",
        ("--config", "nw_ucla", "--data.version", "xview_unique"),
        _arms(*_RELATION, *_JOINTS),
    ),
    **{
        rung: Set(
            f"synthetic: {what}",
            ("--config", "relations", "--data.synthetic", rung, "--data.root", f"datasets/synthetic_{rung}"),
            _arms(*_RELATION),
        )
        for rung, what in {
            "relation": "two colours in one frame",
            "order": "two colours, early and late",
            "both": "two colours apart in space and time",
        }.items()
    },
}
