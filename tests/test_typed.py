"""What a user's type checker sees: mypy in strict mode finds the public names and their types."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import taggnn

ROOT = Path(__file__).parents[1]
# Parts of other packages that no type of ours comes from; with them mypy takes four times as long.
SETTINGS = """
[mypy]
strict = true
follow_imports = silent
[mypy-torch._dynamo.*,torch._inductor.*,torch.distributed.*,torch.fx.*,torch.onnx.*,torch.ao.*,torch._functorch.*]
follow_imports = skip
[mypy-torch.export.*,torch._export.*,lightning.*,torchvision.*,numpy.*]
follow_imports = skip
"""


def test_strict_mypy_accepts_what_users_write(tmp_path):
    if find_spec("mypy") is None:
        pytest.skip("needs mypy: pip install mypy")
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    command = [sys.executable, "-m", "mypy", "--config-file", tmp_path / "mypy.ini", "--cache-dir", tmp_path / "cache"]
    done = subprocess.run([*command, ROOT / "tests" / "typed" / "user.py"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["taggnn", "graphs"])
def test_the_packages_say_that_they_are_typed(package):
    assert (ROOT / package / "py.typed").is_file()
    assert f"\n{package} =\n" in (ROOT / "setup.cfg").read_text()


def test_every_public_name_is_there_and_listed():
    assert set(taggnn.__all__) <= set(dir(taggnn))
    for name in taggnn.__all__:
        assert getattr(taggnn, name).__name__.rpartition(".")[2] == name
        assert getattr(taggnn, name).__doc__
    with pytest.raises(AttributeError, match="module 'taggnn' has no attribute 'atach'"):
        taggnn.atach  # noqa: B018
