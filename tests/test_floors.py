"""The floors of the house: a file imports only from below, so that a part can be read and changed without the rest.

A floor is a folder (or ``model.py``, or what stands alone below everything); what has no floor of its own is a program.
Parts of one floor never import each other, nor do implementations of kernels/, and no import runs in a circle.
"""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = [
    ["graphs", "types", "names", "papers"],
    ["runtime"],
    ["kernels", "text"],
    ["nn"],
    ["heads", "backbones", "data"],
    ["model"],
    ["io"],
    ["evaluation"],
    ["explanation"],
    ["training"],
    ["reporting"],
    ["cli", "serving"],
]
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}
PROGRAMS = len(FLOORS)
# Lines of a program: it parses, calls and prints.
LONGEST_PROGRAM = 150
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
    """The part that a module belongs to: graphs.batch -> graphs, taggnn.heads.tag -> heads."""
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
        floor, other = FLOOR.get(own, PROGRAMS), FLOOR.get(part, PROGRAMS)
        if target == "taggnn" or not is_module(target):
            found.append(f"{where}: import the module that holds what is wanted")
        elif module == "taggnn":
            found.append(f"{where}; `import taggnn` is cheap and takes its parts on first use")
        elif part == own:
            apart = implementation_of(target) != implementation_of(module)
            if own == "kernels" and module != "taggnn.kernels" and apart and target not in SHARED_BY_KERNELS:
                found.append(f"{where}; implementations never import each other")
        elif other >= floor:
            found.append(f"{where}; {part} (floor {other}) is not below {own} (floor {floor})")
    return found


@pytest.mark.parametrize("path", files(), ids=module_of)
def test_a_file_imports_only_from_below(path):
    assert complaints(path.read_text(encoding="utf-8"), module_of(path), path.name == "__init__.py") == []


def test_every_floor_is_there():
    assert [part for part in FLOOR if part != "graphs" and not is_module(f"taggnn.{part}")] == []


def test_no_import_runs_in_a_circle():
    wanted = {}
    for path in files():
        module = module_of(path)
        found = imports(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
        # A package's table knows its files; a file that reads `from package import name` reads another file of it.
        wanted[module] = {name for name, _ in found if is_module(name) and name != module}
    graphlib.TopologicalSorter(wanted).prepare()


@pytest.mark.parametrize("path", sorted(ROOT.glob("taggnn/*.py")), ids=module_of)
def test_a_program_is_short(path):
    if part_of(module_of(path)) not in FLOOR:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_PROGRAM


@pytest.mark.parametrize("path", [path for path in files() if path.parts[-2] == "graphs"], ids=module_of)
def test_graphs_knows_no_models_and_no_video(path):
    package = path.name == "__init__.py"
    found = {name.split(".")[0] for name, _ in imports(path.read_text(encoding="utf-8"), module_of(path), package)}
    assert found <= {"graphs", "torch", "torch_geometric", "numpy", "matplotlib", *sys.stdlib_module_names}


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("taggnn.heads.tag", "from ..backbones import build", "backbones (floor 4) is not below heads (floor 4)"),
        ("taggnn.heads.tag", "from taggnn import data", "data (floor 4) is not below heads"),
        ("taggnn.data.video.reading", "import taggnn.heads.tag", "heads (floor 4) is not below data"),
        ("taggnn.nn.layers", "from taggnn import model", "model (floor 5) is not below nn (floor 3)"),
        ("taggnn.names", "from taggnn.types import InputSpec", "types (floor 0) is not below names (floor 0)"),
        ("taggnn.evaluation.metrics", "from taggnn.reporting.run_page import x", "reporting (floor 10) is not below"),
        ("taggnn.train", "from .evaluate import main", "evaluate (floor 12) is not below train (floor 12)"),
        ("taggnn.model", "def f():\n    from .train import main", "line 2: imports taggnn.train"),
        ("taggnn.kernels.dense", "from .pyg import EdgeList", "implementations never import each other"),
        ("taggnn.kernels.pyg", "from . import find", "implementations never import each other"),
        (
            "taggnn.kernels.structured.gat",
            "from taggnn.kernels.dense import x",
            "implementations never import each other",
        ),
        ("graphs.batch", "from taggnn.names import unknown", "names (floor 0) is not below graphs"),
        ("taggnn.model", "from taggnn import attach", "import the module that holds what is wanted"),
        ("taggnn.model", "from .utils import x", "import the module that holds what is wanted"),
        ("taggnn.model", "import tests.conftest", "nothing imports tests/"),
        ("taggnn", "from taggnn.model import attach", "takes its parts on first use"),
    ],
)
def test_an_import_from_above_or_of_the_same_floor_is_found(module, source, complaint):
    found = complaints(source, module, package=module == "taggnn")
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("taggnn.nn.layers", "from taggnn import kernels\nfrom taggnn.names import unknown\nfrom graphs import graph"),
        (
            "taggnn.io.checkpoint",
            "from taggnn.model import Recogniser\nfrom taggnn.data.video.transforms import Transform",
        ),
        ("taggnn.data.clips", "from taggnn.data.lists import folders"),
        ("taggnn.heads.tag", "from taggnn.nn.layers import encoder\nimport torch"),
        ("taggnn", "if TYPE_CHECKING:\n    from taggnn.model import attach"),
    ],
)
def test_an_import_from_below_is_allowed(module, source):
    assert complaints(source, module, package=module == "taggnn") == []


def test_the_kernels_table_may_import_its_files():
    assert complaints("from . import pyg", "taggnn.kernels", package=True) == []
