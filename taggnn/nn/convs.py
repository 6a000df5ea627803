"""Graph convolutions by name: a short table, and any other class by its dotted path or as it is."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import nn

from taggnn.names import find, unknown


class Row(NamedTuple):
    """One convolution.

    Args:
        builder: the dotted path of its class, or the class, so that PyG is imported at first use only.
        options: what differs from the class's own defaults.
        summary: what it is, in one line.
        paper: address of the paper.
    """

    builder: str | Callable[..., nn.Module]
    options: dict[str, Any]
    summary: str
    paper: str = ""


# Names of the arguments that a class or function is given, where it has them.
SIZES = ("in_channels", "out_channels", "channels")
# What PyG calls the number of columns of edge_attr.
EDGE_SIZES = ("edge_dim", "in_edge_channels", "dim")

_OURS = "taggnn.nn.graph_convs"

CONVS: dict[str, Row] = {
    "gcn": Row(
        "torch_geometric.nn.GCNConv",
        {},
        "sum over the neighbours, weighted by both degrees",
        "https://arxiv.org/abs/1609.02907",
    ),
    "gat": Row(
        "torch_geometric.nn.GATConv",
        {"heads": 4},
        "attention: softmax over the neighbours of an additive score",
        "https://arxiv.org/abs/1710.10903",
    ),
    "gatv2": Row(
        "torch_geometric.nn.GATv2Conv",
        {"heads": 4},
        "attention whose ranking of the neighbours depends on the node",
        "https://arxiv.org/abs/2105.14491",
    ),
    "sage": Row(
        "torch_geometric.nn.SAGEConv",
        {},
        "the node and the mean, sum or maximum of its neighbours, each with weights",
        "https://arxiv.org/abs/1706.02216",
    ),
    "graphconv": Row(
        "torch_geometric.nn.GraphConv",
        {},
        "the node and the sum of its neighbours, each with weights",
        "https://arxiv.org/abs/1810.02244",
    ),
    "gin": Row(
        "torch_geometric.nn.GINConv",
        {},
        "a perceptron of the node plus the sum of its neighbours",
        "https://arxiv.org/abs/1810.00826",
    ),
    "transformer": Row(
        "torch_geometric.nn.TransformerConv",
        {"heads": 4},
        "dot-product attention over the neighbours",
        "https://arxiv.org/abs/2009.03509",
    ),
    "appnp": Row(
        "torch_geometric.nn.APPNP",
        {"K": 2, "alpha": 0.1},
        "K steps of propagation that return to the start, no weights",
        "https://arxiv.org/abs/1810.05997",
    ),
    "relational": Row(
        f"{_OURS}.relational.RelationalConv",
        {},
        "the node and the means of the same, earlier and later frames, each with weights",
        "https://arxiv.org/abs/1703.06103",
    ),
    "motion": Row(
        f"{_OURS}.relational.RelationalConv",
        {"differences": True},
        "the same with differences between frames as messages",
        "https://arxiv.org/abs/2012.10071",
    ),
    "relational_attention": Row(
        f"{_OURS}.relational_attention.RelationalAttentionConv",
        {"heads": 4},
        "GATv2 with weights of its own for the same, earlier and later frames",
        "https://arxiv.org/abs/1904.05811",
    ),
    "temporal": Row(
        f"{_OURS}.temporal.TemporalConv",
        {},
        "depth-wise convolutions along the chain, a causal and an anti-causal one",
        "https://arxiv.org/abs/1904.02811",
    ),
    "knn": Row(
        f"{_OURS}.knn.KnnConv",
        {},
        "edges to the nearest nodes in feature space, drawn at each call, and those of the topology",
        "https://arxiv.org/abs/1801.07829",
    ),
    "adaptive": Row(
        f"{_OURS}.adaptive.AdaptiveConv",
        {},
        "GCN with a learned adjacency added to the fixed one",
        "https://arxiv.org/abs/1805.07694",
    ),
}


def build(
    conv: str | Callable[..., nn.Module] | nn.Module,
    channels: int,
    edge_width: int | None = None,
    grid: Sequence[int] | None = None,
    /,
    **options: Any,
) -> nn.Module:
    """Builds a convolution from ``channels`` to ``channels``.

    Args:
        conv: a key of ``CONVS``; the dotted path of a class or function ("torch_geometric.nn.RGCNConv", "mine.convs.MyConv"); the
            class or function itself; or a module, which is returned as it is, so that layers built with it share its weights. A
            class or function is given those of ``in_channels``, ``out_channels`` and ``channels`` that it names. Attention heads
            that are concatenated share ``channels`` between them. ``GINConv`` and ``GINEConv`` get a two-layer
            perceptron as their ``nn``.
        channels: C, of input and output.
        edge_width: D, columns of the edge attributes that it will be given; the class is given it as the first of ``edge_dim``,
            ``in_edge_channels`` and ``dim`` that it names. None (default): no edge attributes.
        grid: sizes of the token grid of one clip, time first, which a class that names ``grid`` is given (default: not known).
        options: further arguments of the class, by name.

    Raises:
        ValueError: the name, the path or an option is unknown, ``channels`` is no multiple of ``heads``, or the class refuses
            a value.
    """
    name = name_of(conv)
    builder, defaults = _builder(conv, name)
    if isinstance(builder, nn.Module):
        if options:
            raise ValueError(f"convolution {name} is built already: it takes no options; given {', '.join(options)}")
        return builder
    taken, forwards = _options_of(builder)
    options = {**defaults, **options}
    for option in options:
        if option not in taken and not forwards:
            raise unknown(f"option of convolution {name}", option, taken)
    if "nn" in taken and "nn" not in options and getattr(builder, "__name__", "") in ("GINConv", "GINEConv"):
        options["nn"] = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels))
    heads = options.get("heads", 1) if "heads" in taken else 1
    if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1:
        raise ValueError(f"convolution {name}: heads must be a whole number, 1 or more; given {heads!r}")
    split = heads if options.get("concat", True) else 1
    if channels % split:
        raise ValueError(
            f"convolution {name}: {channels} channels cannot be shared by heads={split}; heads must divide channels"
        )
    sizes = dict(zip(SIZES, (channels, channels // split, channels), strict=True))
    given: dict[str, Any] = {size: value for size, value in sizes.items() if size in taken}
    if edge_width is not None:
        given |= dict.fromkeys([size for size in EDGE_SIZES if size in taken][:1], edge_width)
    if grid is not None and "grid" in taken:
        given["grid"] = tuple(grid)
    given |= options
    try:
        built = builder(**given)
    except (TypeError, ValueError, AssertionError, ZeroDivisionError, ImportError, RuntimeError) as error:
        # PyG states some of its conditions as bare assertions.
        reason = str(error) or f"{name_of(builder)} refuses its options ({type(error).__name__})"
        stated = ", ".join(f"{key}={value!r}" for key, value in given.items() if not isinstance(value, nn.Module))
        raise ValueError(f"convolution {name}: {reason}; given {stated}; possible: {', '.join(taken)}") from error
    if not isinstance(built, nn.Module):
        raise ValueError(f"convolution {name} must give a torch.nn.Module; it gave {built!r}")
    return built


def name_of(conv: Any) -> str:
    """What messages call a convolution: its name or path, or that of its class or function."""
    return conv if isinstance(conv, str) else getattr(conv, "__name__", type(conv).__name__)


def _builder(conv: Any, name: str) -> tuple[Any, dict[str, Any]]:
    """The class, function or module that was chosen, and the options of its row."""
    with warnings.catch_warnings():
        # A deprecation warning of PyTorch 2.15 about PyG's own import.
        warnings.filterwarnings("ignore", ".*torch.jit.script.*")
        found = find("convolution", conv, CONVS)
        defaults: dict[str, Any] = {}
        if isinstance(found, Row):
            defaults = found.options
            found = find("convolution", found.builder, {})
    if isinstance(found, type) or not callable(found):
        fits = isinstance(found, type) and issubclass(found, nn.Module)
    else:
        # A function that wants something, but no size, builds no layer.
        parameters = inspect.signature(found).parameters.values() if not isinstance(found, nn.Module) else ()
        wanted = [
            p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        fits = not wanted or bool(set(SIZES) & {p.name for p in parameters})
    if not fits:
        raise ValueError(
            f"convolution {name!r} is no torch.nn.Module class but {found!r}; a function that builds one takes "
            f"{', '.join(SIZES[:-1])} or {SIZES[-1]}"
        )
    return found, defaults


def _options_of(builder: Callable[..., nn.Module]) -> tuple[list[str], bool]:
    """The argument names of a function, or of a constructor along the bases it forwards to; and whether another may be meant."""
    if not isinstance(builder, type):
        return _named(list(inspect.signature(builder).parameters.values()))
    names: list[str] = []
    for owner in builder.__mro__:
        if "__init__" not in vars(owner):
            continue
        own, forwards = _named(list(inspect.signature(vars(owner)["__init__"]).parameters.values())[1:])
        names += [name for name in own if name not in names]
        if not forwards:
            return names, False
    return names, True


def _named(parameters: list[inspect.Parameter]) -> tuple[list[str], bool]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    forwards = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    return [p.name for p in parameters if p.kind in kinds], forwards
