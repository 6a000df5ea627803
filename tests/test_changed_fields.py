"""Random changes of every JSON, YAML and checkpoint file that taggnn reads end in a ValueError, or are no harm; in no traceback.

``TAGGNN_CHANGES=1000 pytest tests/test_changed_fields.py -s`` makes so many changes, and prints the slowest and the peak memory.
"""

import contextlib
import copy
import io
import json
import math
import os
import random
import time

import pytest
import torch
import yaml

import taggnn
from taggnn.cli import config
from taggnn.data import shards
from taggnn.data.token_index import BACKBONE, FORMAT, INDEX, KIND
from taggnn.data.tokens import TokenSource
from taggnn.data.video.source import VideoSource
from taggnn.evaluation.predictions import Predictions
from taggnn.evaluation.results import Results
from taggnn.io import checkpoint, exporters
from taggnn.reporting.run_page import write_report

CHANGES = int(os.environ.get("TAGGNN_CHANGES", "150"))
VALUES = [
    *(
        None,
        True,
        -1,
        0,
        1,
        7,
        10**6,
        10**12,
        10**30,
        0.5,
        -1e308,
        math.nan,
        math.inf,
        "",
        "x" * 1000,
        "a\n\x1b[31m",
        "\udcff",
    ),
    *(
        "os.system",
        "torch_geometric.nn.Sequential",
        "../../x",
        "/dev/zero",
        "auto",
        [],
        {},
        [[]],
        [1, 2],
        {"a": 1},
        ["a"],
    ),
]
ARCHITECTURE = {
    "backbone": {"name": "small", "width": 4},
    "head": {
        "name": "tag",
        "dim": 16,
        "encoder_layers": 1,
        "encoder_heads": 4,
        "conv": "appnp",
        "conv_options": {"K": 2},
    },
    "input": VideoSource(frames=4, size=[32, 32]).spec.plain(),
    "classes": ["a", "b", "c"],
}


def nodes(value, path=()):
    """Paths of all values in a tree."""
    found = [path] if path else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [one for key, inner in pairs for one in nodes(inner, (*path, key))]


def changed(content, draws):
    """A copy with one value replaced, removed, renamed, repeated or wrapped; and what was done."""
    content = copy.deepcopy(content)
    path = draws.choice(nodes(content))
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    last, how = path[-1], draws.randrange(8)
    if how == 0:
        del inner[last]
    elif how == 1 and isinstance(inner, dict):
        inner[f"{last}x"] = inner.pop(last)
    elif how == 2 and isinstance(inner[last], list):
        inner[last] = inner[last] * 1000
    elif how == 3:
        inner[last] = [inner[last]]
    else:
        inner[last] = draws.choice(VALUES)
    return content, f"{'.'.join(map(str, path))} ({how}): {inner.get(last) if isinstance(inner, dict) else inner!r:.60}"


@pytest.fixture(scope="module")
def files(tmp_path_factory, checkpoint_of):
    """Kind of file -> its content without tensors, how it is written, how it is read."""
    folder = tmp_path_factory.mktemp("changed")
    _, content = checkpoint_of(ARCHITECTURE)
    weights = content.pop("model")
    checkpoint.save(folder / "best.ckpt", {**content, "model": weights})
    loaded = taggnn.load(folder / "best.ckpt")
    exporters.export(loaded, torch.randn(3, 4, 32, 32), folder, ["safetensors"])

    def use(path):
        again = taggnn.load(path)
        again.logits(again.spec.example(1))

    tokens = folder / "tokens"
    tokens.mkdir()
    shards.write_shard(tokens / BACKBONE, {"weight": torch.ones(3)})
    name = "train-00000.safetensors"
    held = {"tokens": torch.ones(2, 4, 2, 2, 8), "clip": torch.arange(2), "label": torch.arange(2)}
    shards.write_shard(tokens / name, held)
    rows = [
        {"path": f"{n}.mp4", "label": n, "name": str(n), "tokens": [name, n], "views": [[name, n]]} for n in range(2)
    ]
    index = {
        **{
            "kind": KIND,
            "format": FORMAT,
            "complete": True,
            "settings": {"backbone.name": "small", "data.source": "video"},
        },
        **{"input": ARCHITECTURE["input"], "tokens": [4, 2, 2, 8], "dtype": "float32", "views": 1, "seed": 7},
        **{"rows_a_shard": 8, "split_options": {"seed": 7}, "classes": ["a", "b"], "notes": ["a note"], "versions": {}},
        "weights": {"origin": "random", "digest": "abc", **shards.file_info(tokens / BACKBONE)},
        "shards": {name: shards.file_info(tokens / name)},
        "splits": {
            "train": {"source": "list", "clips": rows, "missing": ["x"], "missing_labels": [1]},
            "val": {"same_as": "train"},
        },
    }

    def read_tokens(path):
        source = TokenSource(path.parent)
        for clip in source.splits.train:
            source(clip, None), source(clip, 3)

    run = folder / "run"
    run.mkdir()
    probabilities = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]])
    predictions = Predictions(["x", "y", "z"], ["x", "y", "z"], torch.tensor([0, 1, 1]), probabilities, ["a", "b"])
    results = Results.from_predictions(
        *("test", predictions), training_counts=[3, 4], listed_counts=[1, 2], resamples=10, title="a", subtitle="b",
        model={"head": "tag"}, environment={"command": "python", "seed": 1}, durations={"test": 1.0}, notes=["n"], best_epoch=2,
        losses={"cross_entropy": {"weight": 1.0, "last": 0.5}}, evaluation={"views": 1, "peak_memory": {"main": 5}},
        comparison=[{"name": "tag", "chosen": True, "top1": 0.5, "measured": 3, "listed": 3, "parameters": 7, "seconds": 1.0}],
        graph_effect={"top1_with": 0.5, "top1_without": 0.5, "changed": 0.1, "relative_logits": 0.1, "p": 0.5, "only_with": 1,
                      "only_without": 1, "gain_low": -0.1, "gain_high": 0.1, "clips": 3},
        paired=[{"name": "tag", "against": "pool", "clips": 3, "top1": {"value": 0.1, "low": 0.0, "high": 0.2}, "only_name": 1,
                 "only_against": 0, "p": 0.5, "p_holm": 0.5, "verdict": "none",
                 "confused": [{"one": "a", "other": "b", "clips": 3, "first": 1, "second": 0, "only_first": 1, "only_second": 0,
                               "p": 1.0, "p_holm": 1.0}]}],
        ensemble={"average": "probabilities", "chosen": "validation", "figure": "top1", "value": 0.5, "equal": 0.5, "clips": 2,
                  "step": 0.1, "members": [{"name": "A", "source": "a", "weight": 1.0}],
                  "test_choice": {"figure": "top1", "value": 0.5, "weights": [1.0]}},
    ).to_json()  # fmt: skip

    def read_results(path):
        Results.read(path.parent)
        write_report(path.parent)

    def as_json(path, value):
        path.write_bytes(json.dumps(value).encode())

    settings = yaml.safe_load(config.dump(config.parse(["--data.root", "videos"])))
    meta = json.loads((folder / "model.json").read_text())
    return {
        "best.ckpt": (folder, content, lambda path, value: torch.save({**value, "model": weights}, path), use),
        "model.json": (folder, meta, as_json, lambda path: use(path.with_suffix(".safetensors"))),
        INDEX: (tokens, index, as_json, read_tokens),
        "results.json": (run, results, as_json, read_results),
        "config.yaml": (
            folder,
            settings,
            lambda path, v: path.write_text(yaml.safe_dump(v, explicit_end=True)),
            lambda p: config.of_run(p.parent),
        ),
    }


def refusal(read, path, what):
    """The message with which a file is refused; empty where it is read."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            read(path)
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    except SystemExit as ended:
        return f"{told.getvalue()} (exit code {ended.code})"
    except Exception as error:
        raise AssertionError(f"{path.name}: {what}") from error
    return ""


# The parser of configurations takes half a second.
@pytest.mark.parametrize(
    ("kind", "share"),
    [("best.ckpt", 0.25), ("model.json", 0.2), (INDEX, 0.25), ("results.json", 0.25), ("config.yaml", 0.05)],
)
def test_a_changed_field_is_refused_in_a_sentence_or_does_no_harm(kind, share, files):
    folder, content, write, read = files[kind]
    write(folder / kind, content)
    read(folder / kind)
    draws, times, refused = random.Random(kind), [], 0
    for _ in range(max(5, int(CHANGES * share))):
        value, what = changed(content, draws)
        write(folder / kind, value)
        started = time.perf_counter()
        refused += bool(refusal(read, folder / kind, what))
        times.append((time.perf_counter() - started, what))
    if "TAGGNN_CHANGES" in os.environ:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"\n{kind}: {len(times)} changes, {refused} refused, slowest {max(times)[0]:.2f} s ({max(times)[1]}), {peak:.2f} GiB"
        )
