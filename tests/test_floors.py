"""The floors of the house: a file imports only from below, so that a part can be read and changed without the rest.

The order is that of the lists: a file may import from every floor below its own, and on floors 2 and 4 from those that
stand before it. Heads, backbones and data are siblings and never import each other, nor do programs; one implementation of
kernels/ imports no other.
"""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A new module or package of taggnn is listed here, as deep as it can stand.
FLOORS = [
    ["graphs", "names", "types", "seeding", "atomic", "processes", "signals"],
    ["kernels"],
    ["convs", "macs", "layers", "losses"],
    ["heads", "backbones", "data"],
    # report is a program too, but train and evaluate write reports by its functions.
    [
        *("arguments", "environment", "run_folder", "terminal", "launch"),
        *("calibration", "longtail", "metrics", "bootstrap", "paired"),
        *("pictures", "preview", "page", "bars", "check_page", "predictions"),
        *("diagrams", "matching", "beside", "report_statistics", "loss_parts", "report"),
        *("figures", "screen", "rescoring", "comparison", "compare_page"),
        *(
            "model",
            "mixing",
            "consensus",
            "trust",
            "exported",
            "loaded",
            "checkpoint",
            "scoring",
            "training",
            "config",
            "extraction",
            "counting",
            "overhead",
        ),
    ],
    ["train", "evaluate", "compare", "predict", "check", "extract", "export", "models"],
]
PLACES = {name: (floor, step) for floor, names in enumerate(FLOORS) for step, name in enumerate(names)}
IN_STEPS = (2, 4)
# What implementations share; only the package's own __init__ knows implementations.
SHARED_BY_KERNELS = ("taggnn.kernels.operators", "taggnn.kernels.kernel", "taggnn.kernels.precision")


def files():
    return sorted([*ROOT.glob("taggnn/**/*.py"), *ROOT.glob("graphs/**/*.py")])


def module_of(path):
    """graphs/batch.py -> graphs.batch, taggnn/heads/__init__.py -> taggnn.heads"""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name):
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imports(source, module, package):
    """Full names of the modules that a file imports anywhere in it, with their lines."""
    home = module if package else module.rpartition(".")[0]
    tree = ast.parse(source)
    # For type checkers only: never imported.
    unseen = {inner for node in ast.walk(tree) if _is_for_types(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if node in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(home.split(".")[: len(home.split(".")) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if is_module(inner) else base), node.lineno


def _is_for_types(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def part_of(module):
    """The listed part that a module belongs to: graphs.batch -> graphs, taggnn.heads.tag -> heads."""
    parts = module.split(".")
    return "graphs" if parts[0] == "graphs" else ".".join(parts[1:2])


def implementation_of(module):
    """taggnn.kernels.structured.gat -> structured; the package itself is none."""
    return ".".join(module.split(".")[2:3])


def complaints(source, module, package=False):
    """Every import of a file that the floors forbid, one line each."""
    own = part_of(module)
    found = []
    for target, line in imports(source, module, package):
        where = f"{module}, line {line}: imports {target}"
        if target.split(".")[0] in ("tests", "benchmarks"):
            found.append(f"{where}; nothing imports {target.split('.')[0]}/")
        if target.split(".")[0] not in ("taggnn", "graphs"):
            continue
        part = part_of(target)
        if part not in PLACES:
            found.append(f"{where}, which is on no floor: import the module that holds it, and list that in FLOORS")
            continue
        if module == "taggnn":
            found.append(f"{where}; `import taggnn` is cheap and takes its parts on first use")
        elif part == own:
            apart = implementation_of(target) != implementation_of(module)
            if own == "kernels" and module != "taggnn.kernels" and apart and target not in SHARED_BY_KERNELS:
                found.append(f"{where}; implementations never import each other")
        elif own == "graphs":
            found.append(f"{where}; graphs/ knows nothing of taggnn")
        else:
            (floor, step), (other, before) = PLACES[own], PLACES[part]
            if other > floor or (other == floor and not (floor in IN_STEPS and before < step)):
                why = "a sibling" if other == floor and floor not in IN_STEPS else "not below it"
                found.append(f"{where}; {part} (floor {other}) is {why} for {own} (floor {floor})")
    return found


@pytest.mark.parametrize("path", files(), ids=module_of)
def test_a_file_imports_only_from_below(path):
    module = module_of(path)
    own = part_of(module)
    assert own in PLACES or module == "taggnn", (
        f"{path.relative_to(ROOT)} is on no floor: list {own!r} in FLOORS of tests/test_floors.py, above all that it imports "
        "and below all that import it"
    )
    assert complaints(path.read_text(encoding="utf-8"), module, path.name == "__init__.py") == []


def test_every_listed_part_is_there():
    gone = [name for name in PLACES if name != "graphs" and not is_module(f"taggnn.{name}")]
    assert gone == [], "listed in FLOORS of tests/test_floors.py, but no module of taggnn"


@pytest.mark.parametrize("path", [path for path in files() if path.parts[-2] == "graphs"], ids=module_of)
def test_graphs_knows_no_models_and_no_video(path):
    package = path.name == "__init__.py"
    found = {name.split(".")[0] for name, _ in imports(path.read_text(encoding="utf-8"), module_of(path), package)}
    assert found <= {"graphs", "torch", "torch_geometric", "numpy", "matplotlib", *sys.stdlib_module_names}


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("taggnn.heads.tag", "from ..backbones import build", "backbones (floor 3) is a sibling for heads"),
        ("taggnn.heads.tag", "from taggnn import data", "data (floor 3) is a sibling for heads"),
        ("taggnn.data.video", "import taggnn.heads.tag", "heads (floor 3) is a sibling for data"),
        ("taggnn.layers", "from . import model", "model (floor 4) is not below it for layers (floor 2)"),
        ("taggnn.convs", "from .layers import readout", "layers (floor 2) is not below it for convs (floor 2)"),
        ("taggnn.metrics", "from .report import write_report", "report (floor 4) is not below it for metrics"),
        ("taggnn.train", "from .evaluate import main", "evaluate (floor 5) is a sibling for train"),
        ("taggnn.model", "def f():\n    from .train import main", "line 2: imports taggnn.train"),
        ("taggnn.names", "from .atomic import write_text", "atomic (floor 0) is a sibling for names"),
        ("taggnn.kernels.dense", "from .pyg import EdgeList", "implementations never import each other"),
        ("taggnn.kernels.pyg", "from . import find", "implementations never import each other"),
        (
            "taggnn.kernels.structured.gat",
            "from taggnn.kernels.dense import x",
            "implementations never import each other",
        ),
        ("graphs.batch", "from taggnn.names import unknown", "graphs/ knows nothing of taggnn"),
        ("taggnn.model", "from taggnn import attach", "imports taggnn, which is on no floor"),
        ("taggnn.model", "from .utils import x", "imports taggnn.utils, which is on no floor"),
        ("taggnn.model", "import tests.conftest", "nothing imports tests/"),
        ("taggnn", "from taggnn.model import attach", "takes its parts on first use"),
    ],
)
def test_an_import_from_above_or_beside_is_found(module, source, complaint):
    found = complaints(source, module, package=module == "taggnn")
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("taggnn.layers", "from . import convs, kernels\nfrom .names import unknown\nfrom graphs import graph"),
        (
            "taggnn.checkpoint",
            "from . import model\nfrom .model import Recogniser\nfrom .data.transforms import Transform",
        ),
        ("taggnn.data.clips", "from taggnn.data import folders"),
        ("taggnn.heads.tag", "from ..layers import encoder\nimport torch"),
        ("taggnn", "if TYPE_CHECKING:\n    from taggnn.model import attach"),
    ],
)
def test_an_import_from_below_is_allowed(module, source):
    assert complaints(source, module, package=module == "taggnn") == []


def test_the_kernels_table_may_import_its_files():
    assert complaints("from . import pyg", "taggnn.kernels", package=True) == []
