"""Graph convolutions by name: a short table, and the dotted path of any other class."""

import importlib
import inspect
import warnings
from typing import Any

from torch import nn

from taggnn.names import unknown

# name -> (class, options that differ from PyG's own defaults)
CONVS: dict[str, tuple[str, dict[str, Any]]] = {
    "gcn": ("torch_geometric.nn.GCNConv", {}),
    "gat": ("torch_geometric.nn.GATConv", {"heads": 4}),
    "gatv2": ("torch_geometric.nn.GATv2Conv", {"heads": 4}),
    "sage": ("torch_geometric.nn.SAGEConv", {}),
    "graphconv": ("torch_geometric.nn.GraphConv", {}),
    "gin": ("torch_geometric.nn.GINConv", {}),
    "transformer": ("torch_geometric.nn.TransformerConv", {"heads": 4}),
    "appnp": ("torch_geometric.nn.APPNP", {"K": 2, "alpha": 0.1}),
}


def build(name: str, channels: int, **options: Any) -> nn.Module:
    """Builds a convolution from ``channels`` to ``channels``.

    Args:
        name: a key of ``CONVS``, or the dotted path of a class ("torch_geometric.nn.RGCNConv", "mine.convs.MyConv"). The class
            is given those of ``in_channels``, ``out_channels`` and ``channels`` that its constructor names. Attention heads that
            are concatenated share ``channels`` between them. ``GINConv`` gets a two-layer perceptron as its ``nn``.
        channels: C, of input and output.
        options: further arguments of the class, by name.

    Raises:
        ValueError: the name, the path or an option is unknown, ``channels`` is no multiple of ``heads``, or the class refuses
            a value.
    """
    path, defaults = CONVS.get(name, (name, {}))
    conv_class = _class(name, path)
    taken, forwards = _options_of(conv_class)
    options = {**defaults, **options}
    for option in options:
        if option not in taken and not forwards:
            raise unknown(f"option of convolution {name}", option, taken)
    if "nn" in taken and "nn" not in options and conv_class.__name__ == "GINConv":
        options["nn"] = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels))
    heads = options.get("heads", 1) if "heads" in taken else 1
    if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1:
        raise ValueError(f"convolution {name}: heads must be a whole number, 1 or more; given {heads!r}")
    split = heads if options.get("concat", True) else 1
    if channels % split:
        raise ValueError(
            f"convolution {name}: {channels} channels cannot be shared by heads={split}; heads must divide channels"
        )
    sizes = {"in_channels": channels, "out_channels": channels // split, "channels": channels}
    given = {size: value for size, value in sizes.items() if size in taken} | options
    try:
        return conv_class(**given)
    except (TypeError, ValueError, AssertionError, ZeroDivisionError, ImportError, RuntimeError) as error:
        # PyG states some of its conditions as bare assertions.
        reason = str(error) or f"{conv_class.__name__} refuses its options ({type(error).__name__})"
        stated = ", ".join(f"{key}={value!r}" for key, value in given.items() if not isinstance(value, nn.Module))
        raise ValueError(f"convolution {name}: {reason}; given {stated}; possible: {', '.join(taken)}") from error


def _class(name: str, path: str) -> type[nn.Module]:
    module, _, attribute = path.rpartition(".")
    if not all(path.split(".")) or not module:
        raise unknown("convolution", name, [*CONVS, "the dotted path of a class"])
    try:
        with warnings.catch_warnings():
            # PyG's import calls what PyTorch 2.15 warns of; nobody who asks for a head can do anything about it.
            warnings.filterwarnings("ignore", ".*torch.jit.script.*")
            found = getattr(importlib.import_module(module), attribute)
    # A module of one's own may fail in any way while it is imported.
    except (ImportError, SyntaxError, NameError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise ValueError(f"convolution {name!r}: cannot import {module!r} ({error})") from error
    except AttributeError:
        raise unknown(f"convolution in {module}", attribute, _public(module)) from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(f"convolution {name!r} is no torch.nn.Module class but {found!r}")
    return found


def _public(module: str) -> list[str]:
    return [name for name in dir(importlib.import_module(module)) if name.endswith("Conv")]


def _options_of(conv_class: type) -> tuple[list[str], bool]:
    """The constructor's argument names along the bases it forwards to, and whether an unknown one may still be meant."""
    names: list[str] = []
    for owner in conv_class.__mro__:
        if "__init__" not in vars(owner):
            continue
        parameters = list(inspect.signature(owner.__init__).parameters.values())[1:]
        names += [
            p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in names
        ]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names, False
    return names, True
