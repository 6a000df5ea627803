"""The rows of ablations: for each paper the variants of its method by name, as options of ``taggnn.train``.

A new row is a line here. The first row of a paper is what the others are compared with.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple


class Row(NamedTuple):
    """A variant.

    Args:
        name: of its row and folder.
        options: words of the command line, after those of the recipe.
        question: what the row answers.
        text: whether it changes something only where there is a text bank (default: no).
        published: the figure that the paper states for it: data set -> text (default: none). No run of ours.
    """

    name: str
    options: tuple[str, ...]
    question: str
    text: bool = False
    published: Mapping[str, str] = {}


class Paper(NamedTuple):
    """The ablation of a paper.

    Args:
        title: name and link.
        recipe: what is trained without ``--config``.
        rows: the variants; the first is the reference.
        stated: where the paper's figures come from, and how they were measured (default: none are stated).
    """

    title: str
    recipe: str
    rows: tuple[Row, ...]
    stated: str = ""


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


_LEVELS = ("spatial", "temporal", "tracklet")


def _art(name: str, question: str, *words: str) -> Row:
    return Row(name, ("--head", "art", *words), question)


def _text(name: str, question: str, *words: str) -> Row:
    return _art(name, question, *words)._replace(text=True)


def _levels(*kept: str) -> Row:
    """ART with some levels of the contrast; the others have weight 0."""
    weights = ", ".join(f'"{level}": 0' for level in _LEVELS if level not in kept)
    name = " and ".join(kept) or "no contrast"
    return _art(name, f"of the three levels of the contrast: {name}", "--optim.losses", f"{{{weights}}}")


_BOTH = ("consistency", "redundancy")
_TAG = ("--head", "tag", "--tag.encoder_heads", "4")

# Row, what it is, name in the table of backbones, the paper's figures without the head.
_BACKBONES: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    ("r2plus1d_34", "R(2+1)D-34", "r2plus1d_34_32_ig65m", {"Gym99": "93.6", "Gym288": "89.1"}),
    ("slowfast", "SlowFast R50 8x8", "slowfast_r50_8x8", {}),
    ("i3d", "I3D R50 8x8", "i3d_r50_8x8", {}),
)

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
            Row("both edges", _TAG, "full inside a frame, and the same position in neighbouring frames"),
            Row("spatial edges only", (*_TAG, "--tag.topology", "clique"), "edges inside a frame"),
            Row("temporal edges only", (*_TAG, "--tag.topology", "chain"), "edges in time"),
            Row("no edges", (*_TAG, "--tag.topology", "none"), "the same network without an edge"),
            Row(
                "random edges",
                (*_TAG, "--tag.topology", "rewired(of=clique+chain, seed=0)"),
                "as many edges at every node, their other ends random",
            ),
            Row("encoder off", (*_TAG, "--tag.encoder_layers", "0"), "the graph alone"),
            Row("graph off", (*_TAG, "--tag.graph_layers", "0"), "the encoder alone"),
            Row("both off", (*_TAG, "--tag.encoder_layers", "0", "--tag.graph_layers", "0"), "position and read-out"),
            Row("mean read-out", (*_TAG, "--tag.readout", "mean"), "the mean over nodes instead of attention"),
            Row(
                "released",
                ("--head", "tag_released"),
                "the head as its authors released it",
                published={"Gym99": "95.6", "Gym288": "92.2", "HAA500": "86.1"},
            ),
            Row("backbone alone", ("--head", "pool"), "global average and a linear layer on the recipe's backbone"),
            *(
                Row(f"{name}{', alone' * alone}", options, f"{of} {'without' if alone else 'with'} the head", **more)
                for name, of, backbone, published in _BACKBONES
                for alone, options, more in (
                    (False, (*_TAG, "--backbone.name", backbone), {}),
                    (True, ("--head", "pool", "--backbone.name", backbone), {"published": published}),
                )
            ),
        ),
        stated="TAG-Head's comparison with the state of the art, on R(2+1)D-34 from IG-65M, top-1 in per cent of the paper's own "
        "lists; 'alone' is another recipe than the authors'. It states no figures for the other rows that are known here.",
    ),
    "art": Paper(
        "ART, https://arxiv.org/abs/2511.21202",
        "demo_art",
        (
            _art("art", "the head as given"),
            *(_art(f"{n} regions", f"{n} regions instead of 2", "--art.regions", str(n)) for n in (1, 3, 4)),
            *(
                _art(
                    f"{n} layers",
                    f"{n} layers of enhancement and of region attention",
                    *("--art.enhancement_layers", str(n), "--art.region_layers", str(n)),
                )
                for n in (1, 2, 4)
            ),
            _art("no enhancement", "no layers before the region attention", "--art.enhancement_layers", "0"),
            *(
                _art(f"lambda {m:g}", f"neighbouring frames pulled together up to {m:g}", "--art.margin", f"{m:g}")
                for m in (0.2, 0.4, 0.8, 1.0)
            ),
            *(_levels(*kept) for kept in ((), *((one,) for one in _LEVELS), *combinations(_LEVELS, 2))),
            _art("squared", "squared cosines instead of their positive part", "--art.contrast", "squared"),
            _text("text-free", "without text: learnt queries only", "--art.bank", "null"),
            _text("one prompt", "the first prompt of the bank only", "--art.bank_prompts", "1"),
            _text("any semantics", "the nearest entries of the bank, of whatever class", "--art.semantics", "entries"),
            _text("bank not tuned", "the bank stays as it is", "--art.bank_momentum", "1"),
            _text(
                "no semantic loss",
                "the bank is tuned by the rows of the classifier only",
                *("--optim.losses", '{"semantic": 0}'),
            ),
            _text(
                "no classifier loss",
                "the bank is tuned by the videos only",
                *("--optim.losses", '{"semantic_classifier": 0}'),
            ),
            _art("graph", "a graph layer over the regions of all frames", "--art.graph_layers", "1"),
            _art(
                "no edges",
                "the same layer trained without edges",
                *("--art.graph_layers", "1", "--art.topology", "none"),
            ),
            Row("tag and art", ("--head", "tag_art"), "ART on the tokens after TAG-Head's graph"),
            Row("tag", _TAG, "TAG-Head"),
            Row("pool", ("--head", "pool"), "global average and a linear layer"),
        ),
    ),
}
