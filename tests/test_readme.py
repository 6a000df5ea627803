"""README and docs/ say what is there: their commands parse, their tables name everything, their pictures exist."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.distributed import run

import taggnn
from taggnn import (
    ablate,
    app,
    check,
    compare,
    doctor,
    ensemble,
    evaluate,
    explain,
    export,
    extract,
    folds,
    models,
    predict,
    runs,
    serve,
    skeletons,
    textbank,
)
from taggnn.backbones import BACKBONES
from taggnn.cli import config, explaining, locations, planning, sweep_options, variations
from taggnn.cli.grid import Sweep
from taggnn.data import synthetic_regions
from taggnn.evaluation.sweep_table import SweepTable
from taggnn.heads import HEADS
from taggnn.kernels import IMPLS
from taggnn.nn.convs import CONVS
from taggnn.nn.layers import READOUTS

ROOT = Path(__file__).parents[1]
PAGES = {path: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]}
README = "\n".join(PAGES.values())
COMMANDS = [
    ["python", "-m", *shlex.split(command, comments=True)]
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    # Behind python, torchrun or srun, on one line or several.
    for command in re.findall(r"-m (?:-- )?(taggnn\..*)", block.replace("\\\n", " "))
]


def _id(command: list[str]) -> str:
    return " ".join(command[2:6])


@pytest.fixture
def mine(monkeypatch, tmp_path):
    """What the reader's own module is called; other tests have one of that name, too."""
    (tmp_path / "mine.py").write_text("from taggnn.heads import TagHead as Head")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine", None)


@pytest.mark.parametrize("command", COMMANDS, ids=_id)
def test_command_parses(command, monkeypatch, mine):
    program, *arguments = command[2:]
    monkeypatch.chdir(ROOT)
    if program == "taggnn.sweep":
        own, words = sweep_options.split(arguments)
        given = sweep_options.parser().parse_args(own)
        tokens = "--data.tokens" in words
        over = variations.over(given.over or [])
        # The folder of tokens is not there; one combination stands for all.
        words = [
            "--data.root=." if word == "--data.tokens" else word for word in words if not tokens or word != "tokens"
        ]
        first = {key: values[:1] for key, values in over.items()}
        assert given.table or planning.plan(given.config, first, variations.seeds(given.seeds), words, ROOT)
        return
    if "--data.tokens" in arguments:
        # The folder, which has the root in it, is opened before all else and is not there.
        assert config.parser().parse_args([*arguments, "--data.root=."]).data.tokens
    elif program == "taggnn.train" and "--resume" in arguments:
        assert locations.moved(arguments)["resume"]
    elif program == "taggnn.train":
        assert config.parse(arguments).data.root
    elif program == "taggnn.evaluate" and "--predictions" in arguments:
        # The other arguments of a checkpoint are not asked for then.
        assert evaluate.parser().parse_args([*arguments, "--checkpoint=x", "--data.root=."]).predictions
    elif program == "taggnn.evaluate":
        assert evaluate.parser().parse_args(arguments).checkpoint
    elif program == "taggnn.ablate":
        built = ablate.parser()
        assert built.parse_args(built.as_lists(arguments)).checkpoint
    elif program == "taggnn.compare":
        assert compare.parser().parse_args(arguments).runs
    elif program == "taggnn.ensemble":
        built = ensemble.parser()
        assert built.parse_args(built.as_lists(arguments)).runs
    elif program == "taggnn.skeletons":
        assert skeletons.parser().parse_args(arguments).videos
    elif program == "taggnn.textbank":
        assert textbank.parser().parse_args(arguments).out
    elif program == "taggnn.export":
        assert export.parser().parse_args(arguments).checkpoint
    elif program == "taggnn.explain":
        built = explain.parser()
        read = built.parse_args(built.as_lists(arguments))
        assert explaining.methods_of(read.methods)
    elif program == "taggnn.predict":
        read = predict.parser().parse_args(arguments)
        assert read.files or read.camera
    elif program in ("taggnn.check", "taggnn.extract"):
        built = {"taggnn.check": check, "taggnn.extract": extract}[program].parser()
        assert config.parse(arguments, built).data.root
    elif program == "taggnn.data.synthetic_regions":
        assert synthetic_regions.parser().parse_args(arguments).root
    elif program in ("taggnn.doctor", "taggnn.folds"):
        assert {"taggnn.doctor": doctor, "taggnn.folds": folds}[program].parser().parse_args(arguments)
    elif program == "taggnn.runs":
        assert runs.parser().parse_args(arguments).folder
    elif program in ("taggnn.serve", "taggnn.app"):
        assert {"taggnn.serve": serve, "taggnn.app": app}[program].parser().parse_args(arguments).run
    elif program == "taggnn.models":
        assert models.parser().parse_args(arguments)
    else:
        pytest.fail(f"README has a command that this test does not know: {program}")


@pytest.mark.parametrize("command", re.findall(r"^torchrun (-.*)", README.replace("\\\n", " "), re.MULTILINE))
def test_torchrun_takes_only_its_own(command):
    """It takes a beginning of its options for the option wherever it stands, `--run` for `--run-path`."""
    words = shlex.split(command, comments=True)
    read = run.parse_args(words)
    assert read.training_script == "taggnn.train"
    assert read.training_script_args == words[words.index("taggnn.train") + 1 :]


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.partition("\n")[0])
def test_python_runs(block, trained, videos, monkeypatch, tmp_path):
    """As it stands there, with small stand-ins for what is the reader's own."""
    loaded = taggnn.load(trained[0])
    for name in ("load", "load_released"):
        monkeypatch.setattr(taggnn, name, lambda *_, **__: loaded, raising=False)
    # A finished run stands for those that the reader trains.
    run = taggnn.Run(trained[0])
    made = Sweep(tmp_path, {"conv=gcn": {0: run}}, SweepTable("conv", [], {}, None, "conv=gcn", {}, True, {}, []))
    monkeypatch.setattr(taggnn, "fit", lambda *_, **__: run, raising=False)
    monkeypatch.setattr(taggnn, "grid", lambda *_, **__: made, raising=False)
    small = nn.Conv3d(3, 512, (2, 16, 16), stride=(2, 16, 16))
    monkeypatch.setattr(torchvision.models.video, "r2plus1d_18", lambda **_: small)
    for name in re.findall(r"\w+\.mp4", block):
        shutil.copy(videos / "test" / "left" / "left_000.mp4", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    clips = torch.zeros(1, 3, 16, 112, 112)
    own = {"clips": clips, "backbone": small, "loader": [(clips, torch.tensor([1]))]}
    # A block that imports has all that it needs; the others go on where those ended.
    known = {} if "import" in block else {"torch": torch, "taggnn": taggnn}
    exec(compile(block, "README.md", "exec"), {**known, **own})


def test_commands_are_found():
    named = {command[2].removeprefix("taggnn.") for command in COMMANDS}
    ours = {
        "train",
        "evaluate",
        "predict",
        "ablate",
        "sweep",
        "runs",
        "compare",
        "check",
        "doctor",
        "ensemble",
        "explain",
        "extract",
        "models",
        "export",
        "folds",
        "serve",
        "app",
        "skeletons",
        "textbank",
        "data.synthetic_regions",
    }
    assert named == ours


@pytest.mark.parametrize(
    "names",
    [HEADS, CONVS, READOUTS, IMPLS, config.recipes()],
    ids=["heads", "convolutions", "read-outs", "implementations", "recipes"],
)
def test_every_name_is_told(names):
    missing = [name for name in names if f"`{name}`" not in README]
    assert not missing, f"README does not name {missing}"


def test_no_unknown_backbone_is_named():
    named = re.search(r"\| `--backbone.name` \|(.*?)\|", README)[1]
    assert set(re.findall(r"`(\w+)`", named)) <= set(BACKBONES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pictures_and_links_exist(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGES[page]):
        assert (page.parent / target).is_file(), f"{page} points to {target}, which is not there"


def test_no_gap_is_left_to_fill():
    assert not re.findall(r"@\w+@|TODO|XXX", README)
