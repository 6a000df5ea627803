"""Shared fixtures: the edges of TAG-Head by plain loops, its released head composed from PyG, one tiny run."""

import contextlib
import io
import multiprocessing
import os
import pickle
import re
import signal
import socket
import sys
import time
import traceback
import wave
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import av
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch_geometric import data as graph_data
from torch_geometric.nn import APPNP, global_mean_pool

from taggnn import model, train
from taggnn.cli import evaluating, experiment, terminal
from taggnn.data.synthetic import make_synthetic
from taggnn.io import checkpoint
from taggnn.reporting.run_page import write_report
from taggnn.training.history import History
from taggnn.training.loop import Trainer
from taggnn.training.options import Optimisation, Training
from taggnn.types import VIDEO_AXES, Batch

with contextlib.suppress(ImportError):
    import hypothesis

    # A loaded machine must not fail a test.
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")

if "PYTEST_XDIST_WORKER" in os.environ:
    # One core for each worker and for the programs that it starts.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def loops(grid, spatial=True, reach=1):
    """Edges of one clip, as in the paper: (edge_index (2, E), edge_type (E,))."""
    frames, height, width = grid
    nodes = [(t, y, x) for t in range(frames) for y in range(height) for x in range(width)]
    edges, kinds = [], []
    for i, (t, *position) in enumerate(nodes):
        for j, (u, *other) in enumerate(nodes):
            if spatial and t == u and i != j:
                edges.append((i, j))
                kinds.append(0)
            if position == other and 1 <= abs(t - u) <= reach:
                edges.append((i, j))
                kinds.append(1)
    return torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T, torch.tensor(kinds, dtype=torch.long)


@pytest.fixture(scope="session")
def fused_loops():
    """The fused C++ loops; compiled once and kept with the user's other caches: seconds the first time."""
    from taggnn.kernels.structured.fused import library

    found = library.load()
    if found is None:
        pytest.skip(f"no fused loops here: {library.describe()}")
    return found


@pytest.fixture(scope="session")
def real_data():
    """A folder of real data by its name, inside the folder TAGGNN_REAL_DATA; skips without one."""

    def find(name):
        root = os.environ.get("TAGGNN_REAL_DATA")
        if not root:
            pytest.skip("needs real data: set TAGGNN_REAL_DATA to the folder that holds them")
        if not (Path(root) / name).is_dir():
            pytest.skip(f"needs real data: no folder {name} in TAGGNN_REAL_DATA {root}")
        return Path(root) / name

    return find


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _member(rank, count, port, function, arguments, answers):
    """One process of a group, with the environment variables of a launcher."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(count))
    os.environ.update(LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(count), GROUP_RANK="0")
    try:
        dist.init_process_group("gloo", timeout=timedelta(seconds=60))
        answer = (rank, True, function(*arguments))
    except BaseException:
        answer = (rank, False, traceback.format_exc())
    # As bytes: a queue would send tensors in shared memory, which is lost with this process.
    answers.put(pickle.dumps(answer))


@pytest.fixture(scope="session")
def fork_server():
    """Starts processes that have imported the libraries: 0.1 s of computing each, where a new interpreter takes 6."""
    if os.name == "nt":
        pytest.skip("no fork server")
    start = multiprocessing.get_context("forkserver")
    programs = ["taggnn.train", "taggnn.evaluate", "taggnn.extract"]
    start.set_forkserver_preload(["pytest", "av", "torch.distributed.run", *programs])
    return start


@pytest.fixture(scope="session")
def together(fork_server):
    """Runs a function of a test module in several processes of one gloo group; returns the result of each."""
    start = fork_server

    def run(count, function, *arguments, seconds=300):
        answers, port = start.Queue(), free_port()
        members = [
            start.Process(target=_member, args=(rank, count, port, function, arguments, answers), daemon=True)
            for rank in range(count)
        ]
        for member in members:
            member.start()
        try:
            found = []
            for _ in members:
                rank, succeeded, answer = pickle.loads(answers.get(timeout=seconds))
                assert succeeded, f"process {rank}:\n{answer}"
                found.append((rank, answer))
        finally:
            for member in members:
                member.kill()
                member.join()
        return [answer for _, answer in sorted(found, key=lambda result: result[0])]

    return run


def _alone(function, arguments, out, err):
    """A process of its own: what it and its own processes write is in two files."""
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    torch.set_num_threads(1)
    # Loader processes of the program are what they are in one that a user starts, and not from a server that outlives it.
    multiprocessing.set_start_method(None, force=True)
    # Under a script in the background SIGINT is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(function(*arguments))


@pytest.fixture
def begin(fork_server, tmp_path_factory):
    """``begin(function, *arguments)``: a function of a test module in a process of its own, which may be killed.

    Returns the process, with ``out()`` and ``err()``, what it has written so far, and ``end()``, which waits for it. The
    function returns the exit code. What still runs behind the test is killed.
    """
    begun = []

    class Begun:
        def __init__(self, function, arguments):
            folder = tmp_path_factory.mktemp("process")
            self._files = folder / "out", folder / "err"
            for path in self._files:
                path.touch()
            self.process = fork_server.Process(target=_alone, args=(function, arguments, *self._files))
            self.process.start()
            self.pid = self.process.pid
            begun.append(self.process)

        def out(self):
            return self._files[0].read_text()

        def err(self):
            return self._files[1].read_text()

        def wait_for(self, text, seconds=300):
            """Until it has written this."""
            limit = time.monotonic() + seconds
            while text not in self.out():
                assert self.process.is_alive(), self.err()
                assert time.monotonic() < limit, self.out() + self.err()
                time.sleep(0.05)

        def end(self, seconds=300):
            self.process.join(seconds)
            if self.process.exitcode is None:
                raise AssertionError(f"has not ended in {seconds} s:\n{self.out()}{self.err()}")
            return Ended(self.process.exitcode, self.out(), self.err())

    yield lambda function, *arguments: Begun(function, arguments)
    for process in begun:
        process.kill()
        process.join()


SMALL = {
    "backbone": {"name": "small", "width": 4},
    "head": {"name": "tag", "dim": 16, "encoder_heads": 4},
    "input": {"kind": "video", "axes": list(VIDEO_AXES), "shape": [3, 2, 16, 32], "options": {"frames": 2}},
    "classes": ["a", "b", "c"],
}


@dataclass
class Setup:
    """A model and the options of its training."""

    model: model.Recogniser
    architecture: dict
    optimisation: Optimisation

    @property
    def header(self):
        """The content of a checkpoint without weights and progress."""
        content = {"architecture": self.architecture, "split_options": {"seed": 1}, "trained_on": {}}
        return {"format": checkpoint.FORMAT, **content, "optimisation": vars(self.optimisation), "seed": 0}

    def weights(self):
        """A copy of the state dict."""
        return {name: value.clone() for name, value in self.model.state_dict().items()}


@pytest.fixture(scope="session")
def build():
    """``build(lr=0.1)``: a tiny model with these options of its optimisation."""

    def small(seed=0, architecture=None, **optimisation):
        torch.manual_seed(seed)
        whole = {**SMALL, **(architecture or {})}
        return Setup(model.build(whole), whole, Optimisation(**{"lr": 0.01, **optimisation}))

    return small


@pytest.fixture(scope="session")
def batches():
    """``batches(4, clips=3)``: 4 batches for it, equal on every call."""

    def made(count, clips=3, first=0):
        found = []
        for number in range(first, first + count):
            x = torch.randn(clips, 3, 2, 16, 32, generator=torch.Generator().manual_seed(number))
            found.append(Batch(x, (torch.arange(clips) + number) % 3, torch.arange(clips) + number * clips))
        return found

    return made


class Batches:
    """Batches in memory as a loader; a position is a number of batches."""

    step = 1

    def __init__(self, batches):
        self.all, self.clips = batches, len(batches)

    def __len__(self):
        return len(self.all)

    def __iter__(self):
        return iter(self.all)

    def batches(self, position=0):
        return len(self.all) - position

    def epoch(self, number, position=0):
        return iter(self.all[position:])


@pytest.fixture
def fit(tmp_path):
    """``fit(setup, batches, val)``: the training loop over batches in memory; returns the trainer.

    ``resume``: a checkpoint to continue from. ``keep``: after which batches of the run and epochs a checkpoint is written,
    batch_5.ckpt and epoch_1.ckpt. ``watch``: called with the trainer after every batch. ``scale``: 16-mixed on a CPU, which the
    program does not offer there, since float16 is slow.
    """

    def run(
        setup, batches, val, epochs=2, resume=None, keep=None, watch=None, scale=None, folder=tmp_path, kind=Trainer,
        history=None, data_spec=None, **options,
    ):  # fmt: skip
        training = {key: options.pop(key) for key in list(options) if key in Training.__dataclass_fields__}

        class Watched(kind):
            def train_batch(self, number, batch):
                super().train_batch(number, batch)
                total = self.progress.epoch * self.batches + number + 1
                if total in (keep or {}).get("batches", ()):
                    self.save(f"batch_{total}.ckpt")
                if watch:
                    watch(self)

            def finish_epoch(self, measured):
                super().finish_epoch(measured)
                if self.progress.epoch - 1 in (keep or {}).get("epochs", ()):
                    self.save(f"epoch_{self.progress.epoch - 1}.ckpt")

        trainer = Watched(
            *(setup.model, data_spec or setup.model.spec, Batches(batches), Batches(val), setup.optimisation),
            *(Training(epochs=epochs, **training), history or History(folder), setup.header),
            **{"precision": "16-mixed" if scale else "32-true", **options},
        )
        if scale:
            trainer.step.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=2000)
        if resume:
            trainer.load(resume)
        trainer.fit()
        return trainer

    return run


@pytest.fixture(scope="session")
def checkpoint_of():
    """``checkpoint_of(architecture)``: a model and the content of its checkpoint file, without any training."""

    def made(architecture, **changes):
        torch.manual_seed(0)
        built = model.build(architecture)
        # A fresh classifier and fresh running statistics could equal those of a model that loads nothing.
        for value in built.state_dict().values():
            value.add_(torch.rand(value.shape).to(value.dtype))
        content = {
            "format": checkpoint.FORMAT,
            "architecture": architecture,
            "split_options": {"seed": 5, "val_fraction": 0.1, "test_fraction": 0.2},
            "trained_on": {"counts": [7] * len(architecture["classes"])},
            "model": built.state_dict(),
            "progress": {"epoch": 8, "position": 0, "step": 70},
        }
        return built.eval(), {**content, **changes}

    return made


class Composition(nn.Module):
    """The released head by its description; its state dict has the names of the published checkpoints."""

    def __init__(self, grid, classes, ffn, channels=512):
        super().__init__()
        nodes = grid[0] * grid[1] * grid[2]
        self.edges = loops(grid)[0]
        self.pos_embedding = nn.Parameter(torch.randn(1, nodes, channels))
        layer = nn.TransformerEncoderLayer(channels, 8, ffn, 0.5, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.propagation = APPNP(2, 0.1)
        self.mlp_head = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, classes))
        # Initially norms are the identity and biases zero: a swapped pair would not be noticed.
        for parameter in self.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter, 0.5, 0.5)

    def forward(self, tokens):
        x = self.transformer(tokens.reshape(len(tokens), -1, tokens.shape[-1]) + self.pos_embedding)
        batch = graph_data.Batch.from_data_list([graph_data.Data(x=clip, edge_index=self.edges) for clip in x])
        x = self.propagation(batch.x, batch.edge_index)
        return self.mlp_head(global_mean_pool(x, batch.batch))


@pytest.fixture(scope="session")
def naive_edges():
    return loops


@pytest.fixture(scope="session")
def composition():
    return Composition


@dataclass(frozen=True)
class Ended:
    """The exit code and the output of a program."""

    code: int
    out: str
    err: str


def _run(program, *words):
    """Runs ``taggnn.train``, ``evaluate`` or ``predict`` in this process, as ``python -m`` would."""
    out, err = io.StringIO(), io.StringIO()
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = terminal.run(program.main, program.__name__, [str(word) for word in words])
        except SystemExit as leaving:
            code = leaving.code or 0
        finally:
            torch.set_num_threads(threads)
            torch.set_rng_state(random)
    return Ended(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _without_reports():
    with pytest.MonkeyPatch.context() as patched:
        for written_by in (experiment, evaluating):
            patched.setattr(written_by, "write_report", lambda folder: folder / "report.html")
        yield


@pytest.fixture
def no_report():
    """Trainings and evaluations of this test leave their page out, which takes longer than they do."""
    with _without_reports():
        yield


@pytest.fixture(scope="module")
def no_reports():
    """As ``no_report``, for a whole module with its fixtures."""
    with _without_reports():
        yield


@pytest.fixture(scope="session")
def program():
    """``program(taggnn.train, "--seed", 1)`` -> exit code, output, messages."""
    return _run


def _write_bad(folder, good):
    """A file of each unusable kind, with names that are sorted first."""
    data = good.read_bytes()
    (folder / "a_empty.mp4").write_bytes(b"")
    (folder / "a_text.mp4").write_text("no video at all\n" * 20)
    (folder / "a_truncated.mp4").write_bytes(data[: len(data) // 2])
    with wave.open(str(folder / "a_audio.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    whole = folder / ".fragmented.mp4"
    with (
        av.open(str(good)) as source,
        av.open(str(whole), "w", options={"movflags": "frag_keyframe+empty_moov"}) as out,
    ):
        copied = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copied
                out.mux(packet)
    data = whole.read_bytes()
    (folder / "a_no_frames.mp4").write_bytes(data[: data.index(b"moof") - 4])
    whole.unlink()


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """A synthetic set of 16 training, 8 validation and 8 test clips, with the five kinds of bad files in each split."""
    root = make_synthetic(
        tmp_path_factory.mktemp("data") / "videos", {"train": 2, "val": 1, "test": 1}, frames=8, size=32, progress=False
    )
    for split in ("train", "val", "test"):
        _write_bad(root / split / "clockwise", root / split / "left" / "left_000.mp4")
    return root


@pytest.fixture(scope="session")
def tiny(videos, tmp_path_factory):
    """A configuration file for a run of seconds: two epochs of six batches, with the baseline."""
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    path.write_text(
        f"""
data: {{root: {videos}, batch_size: 4, workers: 0}}
video: {{frames: 4, short_side: 32, size: 32}}
backbone: {{options: {{width: 8}}}}
tag: {{encoder_layers: 1, encoder_heads: 4}}
optim: {{warmup_epochs: 0.5}}
train: {{epochs: 2}}
device: cpu
compare: [pool]
threads: 1
"""
    )
    return path


@pytest.fixture(scope="session")
def trained(tiny, tmp_path_factory):
    """The folder of one such run, and the result of the program."""
    with pytest.MonkeyPatch.context() as patched:
        # Also where a module without reports needs it first.
        patched.setattr(experiment, "write_report", write_report)
        ended = _run(train, "--config", tiny, "--runs", tmp_path_factory.mktemp("runs"))
    assert ended.code == 0, ended.err
    folder = re.search(r"^run +(.+)$", ended.out, re.MULTILINE)[1]
    return Path(folder), ended
