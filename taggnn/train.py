"""``python -m taggnn.train``: labelled videos in, a trained recogniser and a report out.

Alone it runs the demo recipe. ``--config NAME|FILE`` picks another one, every value can be given on the command line, and
``--resume RUN_DIR`` continues an interrupted run to the result it would have had; ``--run RUN_DIR`` begins one there, or
continues it, so that a job can be started again with the same words.
"""

import contextlib
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace

from taggnn import model
from taggnn.cli import config, launch, terminal
from taggnn.data.fingerprint import marks, said_changes
from taggnn.data.lists.splits import SPLITS
from taggnn.data.loader import ClipData
from taggnn.data.tokens import differences
from taggnn.evaluation import metrics
from taggnn.evaluation.paired_comparison import paired_comparison
from taggnn.evaluation.predictions import read_skipped, write_predictions, write_skipped
from taggnn.evaluation.results import Results
from taggnn.evaluation.scoring import score
from taggnn.io import checkpoint, environment
from taggnn.io.run_folder import held, new_folder
from taggnn.model import Recogniser
from taggnn.nn import losses
from taggnn.reporting.console import summary_lines
from taggnn.reporting.page import p_value
from taggnn.reporting.preview import write_preview
from taggnn.reporting.run_page import write_report
from taggnn.runtime import distributed
from taggnn.runtime.atomic import write_text
from taggnn.runtime.seeding import seed_everything
from taggnn.runtime.signals import Ended, Watch
from taggnn.training import compiling, loggers, optim
from taggnn.training.bar import Bar
from taggnn.training.device import devices_of, precision_of
from taggnn.training.history import History
from taggnn.training.loop import Trainer
from taggnn.training.options import Optimisation, Training
from taggnn.training.saving import Saving

# Seconds until a file of one machine is there on another: network file systems may look again after a minute only.
_SEEN_WITHIN = 90


def main(arguments: Sequence[str]) -> None:
    with launch.only_first_heard():
        settings, folder = _settings(arguments)
    if settings.preview:
        if distributed.place().rank:
            return
        place = Path(settings.runs) / (settings.recipe or "run") / "preview.png"
        print(f"preview   {write_preview(place, data_of(settings), settings.preview, _mixing_notes(settings))}")
        return
    devices = devices_of(settings.devices, settings.device)
    gpus = [device.index or 0 for device in devices if device.type == "cuda"]
    with launch.joined(len(devices), "taggnn.train", arguments, gpus, settings.threads):
        _run(settings, folder)


def _run(settings: Namespace, folder: Path | None) -> None:
    """Trains what the configuration says, in every process that there is."""
    data = launch.agreed(lambda: data_of(settings))
    if settings.run is not None and folder is not None:
        launch.agreed(lambda: _check_same(settings, folder))
    heads = list(dict.fromkeys((settings.head, *settings.compare)))
    launch.agreed(lambda: _check_models(settings, data, heads, folder is not None))
    # The first process says where.
    made = launch.agreed(lambda: str(folder or _new_folder(settings)) if distributed.is_first() else None)
    folder = Path(distributed.from_first(made))
    with contextlib.ExitStack() as stack:
        launch.agreed(lambda: stack.enter_context(held(folder)) if distributed.is_first() else None)
        _run_in(folder, settings, data, heads)


def _run_in(folder: Path, settings: Namespace, data: ClipData, heads: Sequence[str]) -> None:
    places = {head: folder if head == settings.head else folder / "compare" / head for head in heads}
    ended = distributed.from_first(all(_finished(place) for place in places.values()))
    print(f"run       {folder}{' (has ended: only its report is written again)' if ended else ''}", flush=True)
    if distributed.count() > 1:
        print(_said_step(settings))
    if distributed.is_first():
        write_text(folder / "config.yaml", config.dump(settings))
    launch.agreed(lambda: _check_seen(folder))
    rows = []
    try:
        with Watch() as watch:
            for head, place in places.items():
                done = distributed.from_first(_finished(place)) or _train(settings, data, head, place, watch)
                assert done.comparison
                rows.append({**done.comparison[0], "chosen": head == settings.head})
    except (KeyboardInterrupt, Ended, RuntimeError) as left:
        if isinstance(left, RuntimeError) and (left := distributed.lost(left)) is None:
            raise
        hint = f"continue with: python -m taggnn.train --resume {shlex.quote(str(folder))}"
        if settings.run is not None:
            hint = "continue with the same command"
        raise type(left)(*left.args, hint) from None
    if not distributed.is_first():
        return
    results = replace(Results.read(folder), comparison=rows, paired=paired_comparison(places))
    results.write(folder)
    report = write_report(folder)
    _print_summary(results.to_json(), folder, report)
    for name, note in data.traits.notes().items():
        print(f"{name:9} {note}")


def _check_seen(folder: Path) -> None:
    """Refuses machines that do not see what the first process writes: the best epoch is read by all of them in the end."""
    until = time.monotonic() + _SEEN_WITHIN
    while not (folder / "config.yaml").is_file():
        if time.monotonic() > until:
            raise ValueError(
                f"run folder {folder.absolute()}: what the first process has written there is not seen here; --runs or --run "
                "must be on a file system that all machines share"
            )
        time.sleep(0.1)


def _device(settings: Namespace) -> torch.device:
    """The device of this process."""
    return devices_of(settings.devices, settings.device)[distributed.place().local_rank]


def _new_folder(settings: Namespace) -> Path:
    if settings.run is not None:
        folder = Path(settings.run)
        folder.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        if others:
            raise ValueError(
                f"--run {folder}: no run has begun in it (no config.yaml), and it is not empty: {', '.join(others[:5])}"
            )
        return folder
    return new_folder(Path(settings.runs) / (settings.recipe or "run"))


def _said_step(settings: Namespace) -> str:
    """How many clips a step of the optimiser sees: ``step      4 processes x batch 8 x accumulate 2 = 64 clips``."""
    together = settings.train.accumulate
    count = distributed.count() * settings.data.batch_size * together
    accumulated = f" x accumulate {together}" if together > 1 else ""
    return f"step      {distributed.count()} processes x batch {settings.data.batch_size}{accumulated} = {count} clips"


def _check_models(settings: Namespace, data: ClipData, heads: Sequence[str], resumes: bool) -> None:
    """Builds every model once before any of them is trained: a wrong option of the last one is known now."""
    # Likewise a device that is not there, a precision that it has not, or an implementation that it cannot compute.
    device = _device(settings)
    precision_of(settings.precision, device)
    compiling.check(settings.compile, device)
    loggers.check(settings.loggers)
    losses.find(settings.optim.loss)
    names: list[str] = []
    for head in heads:
        # A run that is resumed has its weights in its checkpoint.
        weights = settings.backbone.weights if not resumes and head == settings.head else None
        built = recogniser_of(settings, data, head, weights)
        built.check_device(device)
        compiling.check_model(built, settings.compile)
        fed = built.accepting(data.spec)
        if mixing := Optimisation(**settings.optim.as_dict()).mixing:
            mixing.check(data.spec)
        # A dry run costs as much as a batch; losses without a weight of their own are known by the first one, too.
        if settings.optim.losses:
            names += optim.loss_names(fed, data.spec, len(data.classes))
        print(built.describe() if head == settings.head else f"beside    {built.found['head']}")
    optim.check_losses(settings.optim.losses, names, losses.name_of(settings.optim.loss))


def _settings(arguments: Sequence[str]) -> tuple[Namespace, Path | None]:
    """The configuration, and the folder of the run to continue if there is one."""
    if not any(word.split("=")[0] == "--resume" for word in arguments):
        settings = config.parse(arguments)
        begun = settings.run is not None and (Path(settings.run) / "config.yaml").is_file()
        return settings, Path(settings.run) if begun else None
    arguments = [
        part for word in arguments for part in (word.split("=", 1) if word.startswith("--resume=") else [word])
    ]
    if len(arguments) != 2 or arguments[0] != "--resume":
        raise ValueError(
            "--resume takes the run folder and nothing else: a run goes on with the configuration it began with"
        )
    folder = Path(arguments[1])
    if not (folder / "config.yaml").is_file():
        what = "no config.yaml in it" if folder.is_dir() else "no such folder"
        raise FileNotFoundError(f"--resume {folder}: {what}; give the folder that the run printed as 'run'")
    settings = config.of_run(folder)
    settings.run = None
    if distributed.place().count > 1:
        # Another number of processes than it began with may continue.
        settings.devices = "auto"
    return settings, folder


def _check_same(settings: Namespace, folder: Path) -> None:
    changed = config.changes(config.of_run(folder), settings)
    if changed:
        raise ValueError(
            f"--run {folder}: it has begun with another configuration ({'; '.join(changed)}); give that again, or another "
            "folder"
        )


def _mixing_notes(settings: Namespace) -> list[str]:
    """What training does to a batch behind what a preview shows."""
    mixing = Optimisation(**settings.optim.as_dict()).mixing
    return [f"not shown: {mixing.describe()}, on whole batches"] if mixing else []


def _finished(folder: Path) -> Results | None:
    return Results.read(folder) if (folder / "results.json").is_file() else None


def data_of(settings: Namespace) -> ClipData:
    """The clips of a configuration, read; what its backbone's weights expect of pixels is written into it."""
    config.fill(settings)
    if settings.data.tokens is not None:
        config.check_tokens(settings)
        config.freeze(settings)
    data = config.clips_of(settings)
    # Once on each machine.
    launch.agreed(lambda: data.prepare_data() if distributed.place().local_rank == 0 else None)
    data.setup()
    return data


def architecture_of(settings: Namespace, data: ClipData, head: str) -> dict[str, Any]:
    """What ``model.build`` makes the recogniser of, as plain types."""
    backbone = settings.backbone
    return {
        "backbone": {
            **{key: value for key, value in backbone.as_dict().items() if key not in ("weights", "options")},
            **backbone.options,
        },
        "head": {"name": head, **config.head_options(settings, head)},
        "input": data.model_spec.plain(),
        "classes": list(data.classes),
    }


def recogniser_of(settings: Namespace, data: ClipData, head: str, weights: str | None) -> Recogniser:
    """Builds the model; the same seed gives the same backbone whatever the head."""
    seed_everything(settings.seed)
    # Those that made stored tokens: a checkpoint is to answer on videos too.
    stored = data.traits.backbone_state and data.traits.backbone_state()
    built = model.build(architecture_of(settings, data, head), weights if stored is None else None)
    if stored is not None:
        built.backbone.load_state_dict(stored)
    return built


def header_of(settings: Namespace, data: ClipData, head: str) -> dict[str, Any]:
    """What a checkpoint says of a run besides its weights and its progress, as plain types."""
    lists = {split: getattr(data.splits, split) for split in SPLITS}
    trained_on = {
        "clips": {split: marks(clips) for split, clips in lists.items() if clips is not None},
        "tokens": data.traits.identity,
        "counts": data.train_clips.counts,
    }
    return {
        "format": checkpoint.FORMAT,
        "architecture": architecture_of(settings, data, head),
        "split_options": dict(data.split_options),
        "trained_on": trained_on,
        "optimisation": settings.optim.as_dict(),
        "seed": settings.seed,
    }


def trainer_of(
    settings: Namespace,
    data: ClipData,
    built: Recogniser,
    header: dict[str, Any],
    folder: Path,
    watch: Watch,
) -> Trainer:
    """The training loop of a configuration.

    Args:
        settings: the configuration.
        data: the clips.
        built: the model; it is moved to its device.
        header: see ``header_of``.
        folder: the run folder.
        watch: the signals that ask the run to save and end.
    """
    device, history = _device(settings), History(folder, data.val_clips.listed)
    training = Training(**settings.train.as_dict())
    torch.use_deterministic_algorithms(training.deterministic)
    torch.backends.cudnn.benchmark = training.benchmark
    torch.autograd.set_detect_anomaly(training.detect_anomaly)
    built.to(device)
    if training.sync_batchnorm and distributed.count() > 1:
        built = torch.nn.SyncBatchNorm.convert_sync_batchnorm(built)
    compiling.compile_parts(built, settings.compile)
    shown = {key: value for key, value in vars(settings.as_flat()).items() if key != "config"}
    return Trainer(
        built,
        data.spec,
        data.train_dataloader(),
        data.val_dataloader(),
        Optimisation(**settings.optim.as_dict()),
        training,
        history,
        header,
        seed=settings.seed,
        precision=precision_of(settings.precision, device),
        monitor=settings.monitor,
        patience=settings.patience,
        saving=Saving(settings.save_minutes, settings.save_batches, watch),
        # Bars are for a terminal; the line after each epoch is for all.
        bar=Bar(sys.stderr.isatty() and distributed.is_first(), training.epochs),
        curves=loggers.Curves(loggers.available(settings.loggers), folder, shown, settings.log_every),
        unused=settings.backbone.name.startswith("hf:"),
        begin_batch=torch.compiler.cudagraph_mark_step_begin if settings.compile else lambda: None,
    )


def _train(settings: Namespace, data: ClipData, head: str, folder: Path, watch: Watch) -> Results:
    """Trains one head, keeps its best epoch, scores the test clips, and writes all but the report into ``folder``.

    Every process has the results; the first one writes them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "last.ckpt"
    resumes = distributed.from_first(last.is_file())
    header = header_of(settings, data, head)
    if resumes:
        launch.agreed(lambda: _check_continued(last, header))
    built = recogniser_of(settings, data, head, None if resumes else settings.backbone.weights)
    trainer = trainer_of(settings, data, built, header, folder, watch)
    if resumes:
        trainer.load(last)
    history, epochs = trainer.history, settings.train.epochs
    print(f"\ntraining  {head}{' (continued)' if resumes else ''}: {epochs} epochs{_switched_on(settings)}", flush=True)
    trainer.fit()

    if not history.rows:
        raise ValueError("not one batch was trained; look at train.limit_batches and data.drop_last")
    best = checkpoint.load(folder / "best.ckpt", trust=True)
    device = trainer.device
    started = time.perf_counter()
    tested_model = best.model.accepting(data.spec)
    scored = score(tested_model, data.test_dataloader(), data.test_clips, "test", device, graph_effect=True)
    tested = time.perf_counter() - started
    predictions = scored.predictions
    if distributed.is_first():
        write_skipped(folder / "skipped.csv", [*history.skipped.values(), *scored.skipped])
    if predictions is None:
        raise ValueError(f"none of the test clips could be used; see {folder / 'skipped.csv'}")
    if distributed.is_first():
        write_predictions(folder / "predictions.csv", predictions)
    trained = sum(row["seconds"] for row in history.rows)
    parameters = sum(parameter.numel() for parameter in best.model.head.parameters())
    results = Results.from_predictions(
        "test",
        predictions,
        missing=len(data.test_clips.missing),
        unreadable=len(scored.skipped),
        loss=scored.loss,
        listed_counts=data.test_clips.listed_counts,
        training_counts=data.train_clips.counts,
        title=f"{settings.recipe or 'run'}: {head}",
        subtitle=f"{len(data.classes)} classes, {_trained_on(data)}, {settings.backbone.name} backbone",
        best_epoch=int(best.epoch),
        model=built.found,
        environment=environment.describe(device, settings.seed),
        durations={"train": trained, "test": tested},
        notes=[*data.splits.notes, *filter(None, [trainer.stopped])],
        graph_effect=scored.graph_effect,
    )
    results.add_comparison("test", _named(head, settings), parameters, trained)
    if trainer.weights:
        weights, row = {losses.name_of(settings.optim.loss): 1.0, **trainer.weights}, history.rows[-1]
        results.losses = {name: {"weight": weight, "last": row[f"train/{name}"]} for name, weight in weights.items()}
    if distributed.is_first():
        results.write(folder)
    return results


def _check_continued(last: Path, header: dict[str, Any]) -> None:
    """Refuses a checkpoint of another model or of other clips than those of now."""
    content = checkpoint.checked(checkpoint.read(last), last)
    kept, now = content["architecture"], header["trained_on"]
    changed = [key for key, value in header["architecture"].items() if kept.get(key) != value]
    if changed:
        raise ValueError(
            f"{last}: cannot go on: its {' and '.join(changed)} are not what the videos and the configuration give now; "
            "start a new run"
        )
    then = content["trained_on"]
    splits = dict.fromkeys([*then["clips"], *now["clips"]])
    said = {split: said_changes(then["clips"].get(split, ""), now["clips"].get(split, "")) for split in splits}
    wrong = [f"its {split} clips are not those it began with: {change}" for split, change in said.items() if change]
    if then["tokens"] != now["tokens"]:
        others = differences(then["tokens"] or {}, now["tokens"] or {})
        wrong.append(f"its tokens are not those it began with: {'; '.join(others)}")
    if wrong:
        raise ValueError(f"{last}: cannot go on: {'; '.join(wrong)}; bring them back, or start a new run")


def _switched_on(settings: Namespace) -> str:
    """What training does beside the plain thing, in the order of a step."""
    parts = [precision_of(settings.precision, _device(settings))]
    if settings.compile:
        parts.append("compiled" if settings.compile is True else f"compiled ({settings.compile})")
    if settings.train.accumulate > 1:
        parts.append(f"{settings.train.accumulate} batches a step")
    if settings.optim.ema is not None:
        parts.append(f"weights averaged ({settings.optim.ema:g})")
    if settings.patience is not None:
        parts.append(f"patience {settings.patience} for {settings.monitor}")
    return "" if parts == ["32-true"] else f"; {', '.join(parts)}"


def _named(head: str, settings: Namespace) -> str:
    if head != "tag":
        return head
    return f"tag ({settings.tag.conv}, {settings.tag.topology}, {settings.tag.readout})"


def _trained_on(data: ClipData) -> str:
    found, listed = len(data.train_clips), data.train_clips.listed
    return f"{found:,} training clips" if found == listed else f"{found:,} of {listed:,} listed training clips"


def _print_summary(results: dict[str, Any], folder: Path, report: Path) -> None:
    scores, unmeasured = metrics.Scores.read(results["scores"]["test"]), results["unmeasured"]["test"]
    top5 = "" if scores.top5 is None else f", top-5 {scores.top5:.3f}"
    of = "" if scores.classes_counted == scores.classes else f" of {scores.classes}"
    print(
        f"\ntest      top-1 {scores.top1:.3f}{top5}, class mean {scores.mca:.3f} over {scores.classes_counted}{of} classes, "
        f"{scores.coverage()}"
    )
    if unmeasured:
        print(f"          {metrics.unmeasured_note(unmeasured)}")
    print(*summary_lines(results, "test"), sep="\n")
    for row in results["comparison"]:
        on = "" if row["measured"] == row["listed"] else f" on {row['measured']:,} of {row['listed']:,} clips"
        print(f"          {row['name']:40} top-1 {row['top1']:.3f}{on}   {row['seconds'] / 60:.1f} min")
    for row in results["paired"]:
        gain = row["top1"]
        ends = f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}"
        print(
            f"          {row['name']} less {row['against']}: {100 * gain['value']:+.1f} points ({ends}), {p_value(row['p'])}"
        )
        print(f"          {row['verdict']}")
    # Val clips may be the test's as well, and one file may hold many clips.
    skipped = len({(clip.path, clip.name) for clip in read_skipped(folder / "skipped.csv")})
    if skipped:
        print(f"skipped   {skipped} clips could not be read: {folder / 'skipped.csv'}")
    print(f"model     {folder / 'best.ckpt'}")
    print(f"report    {report}")


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.train"))
