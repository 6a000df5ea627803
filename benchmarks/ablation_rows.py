"""The rows of ablations: for each paper the variants of its method by name, as options of ``taggnn.train``.

A new row is a line here. The first row of a paper is what the others are compared with.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """A variant.

    Args:
        name: of its row and folder.
        options: words of the command line, after those of the recipe.
        question: what the row answers.
    """

    name: str
    options: tuple[str, ...]
    question: str


class Paper(NamedTuple):
    """The ablation of a paper.

    Args:
        title: name and link.
        recipe: what is trained without ``--config``.
        rows: the variants; the first is the reference.
    """

    title: str
    recipe: str
    rows: tuple[Row, ...]


def _plug(name: str, options: str, question: str, *more: str) -> Row:
    words = ["--backbone.plug", "sf"]
    words += ["--backbone.plug_options", options] if options else []
    return Row(name, (*words, *more), question)


def _losses(*names: str, weight: float = 0.1) -> tuple[str, tuple[str, str]]:
    """The options that switch losses on, and their weights."""
    weights = ", ".join(f'"{name}": {weight}' for name in names)
    return f'{{"losses": {list(names)}}}'.replace("'", '"'), ("--optim.losses", f"{{{weights}}}")


def _with_losses(name: str, question: str, *losses: str, weight: float = 0.1) -> Row:
    options, words = _losses(*losses, weight=weight)
    return _plug(name, options, question, *words)


_BOTH = ("consistency", "redundancy")
_TAG = ("--head", "tag", "--tag.encoder_heads", "4")

PAPERS = {
    "sf": Paper(
        "SF-Head, https://arxiv.org/abs/2412.14833",
        "nw_ucla",
        (
            Row("bare", (), "the backbone without the plug"),
            _plug("sf", "", "SF-Head in every block"),
            _plug("sste", '{"aggregation": false}', "the spatial and temporal gates (SSTE) alone"),
            _plug("acfa", '{"extraction": false}', "the aggregation across dimensions (AC-FA) alone"),
            *(_plug(f"groups {n}", f'{{"groups": {n}}}', f"{n} groups instead of 8") for n in (2, 4)),
            # The first block takes coordinates, whose channels do not divide.
            _plug(
                "before",
                '{"position": "before", "blocks": [2, 3, 4, 5, 6, 7, 8, 9, 10]}',
                "before the graph convolution instead of after it",
            ),
            _plug("after", '{"position": "after"}', "after the temporal convolution"),
            _plug("first stage", '{"blocks": [1, 2, 3, 4]}', "in the blocks of the first stage only"),
            _plug("last stage", '{"blocks": [8, 9, 10]}', "in the blocks of the last stage only"),
            *(_with_losses(name, f"with the {name} loss", name) for name in _BOTH),
            _plug(
                "redundancy by channel",
                '{"losses": ["redundancy"], "redundancy": "channels"}',
                "with the redundancy loss of each channel by itself",
                *("--optim.losses", '{"redundancy": 0.1}'),
            ),
            _with_losses("both losses", "with both losses", *_BOTH),
            *(
                _with_losses(f"lambda {weight:g}", f"both losses with weight {weight:g}", *_BOTH, weight=weight)
                for weight in (0.01, 1.0)
            ),
        ),
    ),
    "tag": Paper(
        "TAG-Head, https://arxiv.org/abs/2604.11498",
        "demo",
        (
            Row("no edges", (*_TAG, "--tag.topology", "none"), "the same network trained without edges"),
            Row("clique+chain", _TAG, "full inside a frame and the same position in neighbouring frames"),
            Row("clique", (*_TAG, "--tag.topology", "clique"), "edges inside a frame only"),
            Row("chain", (*_TAG, "--tag.topology", "chain"), "edges in time only"),
            Row("no graph", (*_TAG, "--tag.graph_layers", "0"), "the encoder alone"),
            Row("no encoder", (*_TAG, "--tag.encoder_layers", "0"), "the graph alone"),
            Row("mean read-out", (*_TAG, "--tag.readout", "mean"), "the mean over nodes instead of attention"),
            Row("released", ("--head", "tag_released"), "the head as its authors released it"),
            Row("pool", ("--head", "pool"), "global average and a linear layer"),
        ),
    ),
}
