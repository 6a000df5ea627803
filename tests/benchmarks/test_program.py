"""Options, mistakes in one line, results that are written whole."""

import json

import pytest
import torch

from benchmarks import exported, latency, leak, program, scaling, throughput, training


class Failing:
    """A program that ends with an error."""

    SCRIPT = "benchmarks/failing.py"

    def __init__(self, error):
        self.error = error

    def main(self, arguments):
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("one\nmistake"), 2, "one mistake"),
        (FileNotFoundError(2, "No such file", "x.json"), 2, "'x.json'"),
        (KeyboardInterrupt(), 1, "interrupted"),
    ],
    ids=["value", "file", "interrupt"],
)
def test_a_mistake_is_one_line(error, code, said, bench):
    ended = bench(Failing(error))
    assert ended.code == code
    assert ended.err.startswith("benchmarks/failing.py: ")
    assert ended.err.count("\n") == 1
    assert said in ended.err


def test_a_mistake_of_ours_is_not_hidden(bench):
    with pytest.raises(TypeError):
        bench(Failing(TypeError("ours")))


def test_a_traceback_can_be_had(bench, monkeypatch):
    monkeypatch.setenv("TAGGNN_TRACEBACK", "1")
    with pytest.raises(ValueError, match="mistake"):
        bench(Failing(ValueError("mistake")))


def test_results_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "new" / "a.json"
    program.write(path, {"kind": "latency", "rows": [{"ms": 1.5, "none": None}]})
    assert program.read(path) == {"schema": program.SCHEMA, "kind": "latency", "rows": [{"ms": 1.5, "none": None}]}


def test_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        program.write(tmp_path / "a.json", {"ms": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "match"),
    [("{", "no JSON"), ("[1]", "schema 'list'"), (json.dumps({"schema": 0}), "schema 0.*measure again")],
    ids=["broken", "list", "older"],
)
def test_what_is_no_result_is_refused(text, match, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=match):
        program.read(path)


def test_the_file_is_named_for_device_and_dtype(tmp_path):
    cpu = torch.device("cpu")
    assert program.out_path(None, cpu, "float32", "latency") == program.OWN / "cpu-float32.json"
    assert program.out_path(None, torch.device("cuda:1"), "bfloat16", "head") == program.OWN / "cuda-bfloat16-head.json"
    assert program.out_path(tmp_path / "a.json", cpu, "float32", "latency") == tmp_path / "a.json"
    with pytest.raises(ValueError, match=r"end the name in \.json"):
        program.out_path(tmp_path / "a.txt", cpu, "float32", "latency")


def test_names_may_be_joined_by_commas():
    assert program.names(["gat,gcn", "gat", "sage"]) == ["gat", "gcn", "sage"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said():
    with pytest.raises(ValueError, match=r"--device cuda: .* finds no CUDA GPU on this machine; possible: cpu"):
        program.device_of("cuda")


@pytest.mark.parametrize(
    ("read", "given"), [(program.device_of, "tpu"), (program.dtype_of, "float8")], ids=["device", "dtype"]
)
def test_unknown_names_are_told_with_what_is_possible(read, given):
    with pytest.raises(ValueError, match=f"unknown .* '{given}'.*(Possible|did you mean)"):
        read(given)


def test_threads_are_all_cores_or_those_given():
    before = torch.get_num_threads()
    try:
        program.set_threads(1)
        assert torch.get_num_threads() == 1
        program.set_threads(None)
        assert torch.get_num_threads() == program.machine.cores()
    finally:
        torch.set_num_threads(before)


MISTAKES = {
    latency: {
        "--convs gatt": "gatt",
        "--impls densee": "implementation 'densee'",
        "--grids G7": "grid 'G7'",
        "--grids B1-T2-2x2-C9-A2": "9 channels",
        "--dtype float12": "dtype 'float12'",
        "--device gpu": "device 'gpu'",
        "--topology circle": "topology 'circle'",
        "--threads 0": "--threads",
        "--budget -1": "--budget",
        "--budgets 1": "--budgets",
        "--out a.csv": ".json",
        "--backbone": "--backbone",
        "--head --convs gat": "--convs",
        "--head --presets gym98": "preset 'gym98'",
    },
    scaling: {
        "--sweeps position": "sweep 'position'",
        "--positions 0": "--positions",
        "--convs gat --channels 6": "6 channels",
    },
    leak: {"--loads 9": "--loads 9", "--every 0": "--every", "--data.root nowhere": "nowhere"},
    throughput: {
        "--clips 0": "--clips",
        "--loader-workers -1": "--loader-workers -1",
        "--config demoo": "recipe 'demoo'",
        "--video.frams 8": "--video.frams",
        "--data.root nowhere": "nowhere",
    },
    training: {
        "--device cpu --recipe demo": "recipe 'demo'",
        "--device cpu --precisions 16-true": "precision '16-true'",
        "--device cpu --modes jit": "mode 'jit'",
    },
    exported: {"--models smal:gcn": "smal"},
}


@pytest.mark.parametrize(
    ("module", "words", "named"),
    [(module, words, named) for module, cases in MISTAKES.items() for words, named in cases.items()],
    ids=lambda value: getattr(value, "SCRIPT", value),
)
def test_a_mistake_on_the_command_line_is_one_line_that_names_it(module, words, named, bench):
    ended = bench(module, *words.split())
    assert ended.code == 2
    assert named in ended.err
    assert ended.err.startswith(f"{module.SCRIPT}: ")
    assert ended.err.count("\n") == 1
