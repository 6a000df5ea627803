"""What an import costs: nothing heavy before it is needed, and no decoder where no video is read."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("av", "torch_scatter", "matplotlib", "lightning", "jsonargparse", "torchvision")

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def run(code, blocked=()):
    """Runs code in a fresh interpreter and returns what it prints."""
    code = (BLOCK.format(blocked=set(blocked)) if blocked else "") + code
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("name", ["taggnn", "graphs"])
def test_an_import_brings_nothing_heavy(name):
    code = f"import sys, {name}\nprint(*(part for part in {HEAVY!r} if part in sys.modules))"
    assert run(code) == []


def test_the_check_sees_what_is_imported():
    code = f"import sys, matplotlib\nprint(*(part for part in {HEAVY!r} if part in sys.modules))"
    assert run(code) == ["matplotlib"]


def test_everything_but_reading_video_works_without_av_and_torch_scatter():
    code = """
import graphs, taggnn, torch
from taggnn.io import checkpoint
from taggnn.training import loop
model = taggnn.attach("small", classes=2, clip=(1, 16, 16), backbone_options={"width": 4})
print(*model.eval()(torch.zeros(1, 3, 1, 16, 16)).logits.shape)
"""
    assert run(code, blocked=("av", "torch_scatter", "torchcodec")) == ["1", "2"]


def test_a_head_in_python_warns_of_nothing():
    code = "import taggnn; taggnn.heads.TagHead(channels=8, grid=(1, 2, 2), classes=2)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert "Warning" not in done.stderr
