"""The program that draws a topology."""

import subprocess
import sys

import pytest
import torch

from graphs import Chain, Clique, NoEdges, parse
from graphs.__main__ import main
from graphs.describe import describe
from graphs.draw import picture


def test_writes_a_picture_and_says_what_it_shows(tmp_path, capsys):
    out = tmp_path / "topology.png"
    assert main(["--frames", "3", "--height", "2", "--width", "2", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"{describe(Clique() + Chain(), (3, 2, 2))}\n\npicture in {out}\n"


def test_text_has_counts_and_the_adjacency_matrix():
    assert describe(Clique() + Chain(), (2, 1, 2)).splitlines() == [
        "clique+chain on 2 frames of 1 x 2 positions",
        "  nodes       4",
        "  edges       8 (each direction counts)",
        "    spatial   4",
        "    temporal  4",
        "  degree      2, with self-loop 3",
        "",
        "  t=0   t=1",
        "  0 1   2 3",
        "",
        "  edges from column to row: s spatial, t temporal",
        "    0 1 2 3",
        "  0 . s t .",
        "  1 s . . t",
        "  2 t . . s",
        "  3 . t s .",
    ]


def test_text_of_a_large_grid_keeps_to_the_counts():
    text = describe(Clique() + Chain(2), (16, 100, 100))
    assert "edges       1,600,420,000" in text
    assert "degree      10,001 to 10,003, with self-loop 10,002 to 10,004" in text
    assert "from column to row" not in text


def lines_of(figure):
    return [collection for collection in figure.axes[0].collections if hasattr(collection, "get_segments")]


def test_a_small_grid_is_drawn_whole():
    spatial, temporal = (len(lines.get_segments()) for lines in lines_of(picture(Clique() + Chain(), (3, 2, 2))))
    assert (spatial, temporal) == (18, 8)


@pytest.mark.parametrize(
    ("rule", "grid", "expected"),
    [
        (Clique() + Chain(), (4, 7, 7), (48, 2)),
        (Clique() + Chain(), (16, 14, 14), (195, 2)),
        (NoEdges(), (1, 1, 1), (0, 0)),
        (Chain(), (1, 2, 1), (0, 0)),
        (Clique(), (1, 1, 3), (3, 0)),
    ],
    ids=str,
)
def test_a_large_grid_is_thinned_to_the_middle_node_and_odd_ones_are_drawn(rule, grid, expected):
    figure = picture(rule, grid)
    assert tuple(len(lines.get_segments()) for lines in lines_of(figure)) == expected
    thinned = any("only the edges of node" in text.get_text() for text in figure.texts)
    assert thinned == (grid[0] * grid[1] * grid[2] > 100)


def test_bends_lines_that_would_pass_over_a_node():
    spatial, _ = lines_of(picture(Clique(), (1, 1, 3)))
    bent = []
    for curve in spatial.get_segments():
        first, middle, last = (torch.as_tensor(curve[i]) for i in (0, len(curve) // 2, -1))
        a, b = middle - first, last - first
        bent.append(abs(float(a[0] * b[1] - a[1] * b[0])) > 1e-3)
    assert bent == [False, True, False]


@pytest.mark.parametrize("grid", [(5,), (3, 17), (2, 2, 1, 3)], ids=str)
def test_grids_of_another_rank_are_drawn_and_described(grid, tmp_path, capsys):
    out = tmp_path / "topology.png"
    assert main(["--grid", *map(str, grid), "--out", str(out)]) == 0
    assert out.is_file()
    text = capsys.readouterr().out
    assert f"on {grid[0]} frames of {' x '.join(map(str, grid[1:])) or '1'} " in text
    drawn = sum(len(lines.get_segments()) for lines in lines_of(picture(Clique() + Chain(), grid)))
    assert 2 * drawn == (Clique() + Chain()).num_edges(grid)


def test_a_rule_of_ones_own_on_two_axes_by_its_path(tmp_path, capsys, monkeypatch):
    (tmp_path / "ownrules.py").write_text(
        "import torch, graphs\n"
        "class Bones(graphs.Topology):\n"
        "    axes = ('frames', 'joints')\n"
        "    def edges(self, grid, device='cpu'):\n"
        "        frames, joints = self.checked(grid)\n"
        "        n = torch.arange(frames * joints, device=device)[:-1]\n"
        "        return torch.stack([n, n + 1]), n * 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "topology.png"
    assert main(["--grid", "3", "5", "--topology", "ownrules.Bones", "--out", str(out)]) == 0
    assert "ownrules.Bones on 3 frames of 5" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--topology", "ownrules.Bones", "--out", str(out)])
    assert "grid is 2 positive integers (frames, joints), given (3, 2, 2)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "0"], "grid is at least 1 positive integer (frames, ...), given (0, 2, 2)"),
        (["--grid", "3", "0"], "grid is at least 1 positive integer (frames, ...), given (3, 0)"),
        (["--topology", "own.rules.Bones"], "cannot import 'own.rules.Bones': No module named 'own'"),
        (["--frames", "three"], "argument --frames: invalid int value: 'three'"),
        (
            ["--topology", "clik"],
            "unknown topology 'clik'; did you mean 'clique'? Possible: clique, chain, bones, tracklets, only, rewired, none",
        ),
        (["--reach", "0"], "reach is a number of frames, an integer of at least 1, given 0"),
        (["--depth", "3"], "unrecognized arguments: --depth 3"),
        (["--height", "900", "--width", "900"], "a grid of 3 x 900 x 900 is too large to draw"),
        (["--out", "missing/topology.png"], "no folder 'missing' to write 'topology.png' to"),
        (["--out", "topology.xyz"], "Format 'xyz' is not supported"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_gives_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("python -m graphs: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_text_still_comes(monkeypatch, tmp_path, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"] + ["matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(tmp_path / "topology.png")])
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out.startswith("clique+chain on 3 frames")
    assert captured.err == "python -m graphs: the picture needs matplotlib: pip install matplotlib\n"


def test_runs_as_a_module_and_needs_neither_pyg_nor_taggnn(tmp_path):
    program = (
        "import runpy, sys\n"
        "sys.argv = ['graphs', '--topology', 'chain', '--out', sys.argv[1]]\n"
        "try:\n    runpy.run_module('graphs', run_name='__main__')\n"
        "finally:\n    print(sorted({'torch_geometric', 'taggnn'} & set(sys.modules)))\n"
    )
    out = tmp_path / "topology.svg"
    ran = subprocess.run([sys.executable, "-c", program, str(out)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("[]\n")
    assert "<svg" in out.read_text(encoding="utf-8")


def test_every_name_the_help_lists_is_a_topology(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "clique, chain, bones, tracklets, only, rewired, none" in capsys.readouterr().out
    for name in ("clique", "chain", "tracklets", "none"):
        assert str(parse(name)) == name
