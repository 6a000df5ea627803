"""One run of a configuration: its heads trained one after the other, scored on the test clips, compared, and written."""

import contextlib
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import Namespace

from taggnn import heads
from taggnn.cli import config, launch, resuming, smoke
from taggnn.cli.build import data_of, device_of, header_of, recogniser_of, trainer_of
from taggnn.cli.outline import outline
from taggnn.cli.resolve import head_options
from taggnn.cli.scoring import write_scored, write_validation
from taggnn.cli.thumbnails import write_thumbnails
from taggnn.cli.tracklets import write_tracklets
from taggnn.data.loader import ClipData
from taggnn.data.published import PUBLISHED
from taggnn.evaluation.metrics import METRICS
from taggnn.evaluation.paired_comparison import paired_comparison
from taggnn.evaluation.results import Results
from taggnn.evaluation.scoring import score
from taggnn.io import checkpoint, environment, trust
from taggnn.io.run_folder import locked, new_folder
from taggnn.nn import criteria
from taggnn.reporting.run_page import write_report
from taggnn.runtime import distributed
from taggnn.runtime.atomic import write_text
from taggnn.runtime.signals import StopRequested, Watch
from taggnn.training import compiling, loggers, losses, single_values
from taggnn.training.device import precision_of
from taggnn.training.options import Optimisation

# Seconds until a file of one machine is visible on another: network file systems may look again after a minute only.
VISIBLE_WITHIN = 90


def run(settings: Namespace, folder: Path | None) -> tuple[Path, ClipData] | None:
    """Trains every head of a configuration, writes ``results.json`` and the report; all processes of the run call it.

    Args:
        settings: the configuration.
        folder: of the run to resume; None for a new one.

    Returns:
        The run folder and the clips, in the first process.
    """
    data = launch.on_all_ranks(lambda: data_of(settings))
    if settings.run is not None and (begun := folder) is not None:
        launch.on_all_ranks(lambda: resuming.check_configuration(settings, begun))
    # A resumed run takes its weights from its checkpoint.
    heads = launch.on_all_ranks(lambda: check_models(settings, data, weights=folder is None))
    new = launch.on_all_ranks(lambda: str(folder or _new_folder(settings)) if distributed.is_main_process() else "")
    folder = Path(distributed.broadcast(new))
    with contextlib.ExitStack() as stack:
        launch.on_all_ranks(lambda: stack.enter_context(locked(folder)) if distributed.is_main_process() else None)
        _train_heads(folder, settings, data, heads)
    return (folder, data) if distributed.is_main_process() else None


def _train_heads(folder: Path, settings: Namespace, data: ClipData, heads: Sequence[str]) -> None:
    folders = {head: folder if head == settings.head else folder / "compare" / head for head in heads}
    if distributed.is_main_process():
        resuming.extend(folder, settings, folders.values())
    ended = distributed.broadcast(all(_finished(each) for each in folders.values()))
    print(f"run       {folder}{' (has ended: only its report is written again)' if ended else ''}", flush=True)
    if distributed.world_size() > 1:
        print(_step_size(settings))
    if distributed.is_main_process():
        write_text(folder / "config.yaml", config.dump(settings))
    if distributed.is_main_process() and not ended:
        print(*outline(settings, data, [*folders]), sep="\n", flush=True)
    launch.on_all_ranks(lambda: _check_visible(folder))
    rows = []
    try:
        with Watch() as watch:
            for number, (head, each) in enumerate(folders.items()):
                later = [*folders.values()][number + 1 :] if distributed.is_main_process() else []
                epochs = settings.train.epochs * sum(_finished(one) is None for one in later)
                done = distributed.broadcast(_finished(each)) or _train(settings, data, head, each, watch, epochs)
                assert done.comparison
                rows.append({**done.comparison[0], "chosen": head == settings.head})
    except (KeyboardInterrupt, StopRequested, RuntimeError) as error:
        reason = distributed.process_lost(error) if isinstance(error, RuntimeError) else error
        if reason is None:
            raise
        hint = f"continue with: python -m taggnn.train --resume {shlex.quote(str(folder))}"
        hint += " --trust" if config.needs_trust(settings) else ""
        if settings.run is not None:
            hint = "continue with the same command"
        raise type(reason)(*reason.args, hint) from None
    if distributed.is_main_process():
        replace(Results.read(folder), comparison=rows, paired=paired_comparison(folders)).write(folder)
        write_report(folder)


def _train(settings: Namespace, data: ClipData, head: str, folder: Path, watch: Watch, later: int) -> Results:
    """Trains one head, scores the test clips with its best epoch, and writes all but the report into ``folder``.

    Every process returns the results; the first one writes them. ``later``: epochs of the heads after it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "last.ckpt"
    resumes = distributed.broadcast(last.is_file())
    header = header_of(settings, data, head)
    if resumes:
        launch.on_all_ranks(lambda: resuming.check_checkpoint(last, header))
    built = recogniser_of(settings, data, head, None if resumes else settings.backbone.weights)
    trainer = trainer_of(settings, data, built, header, folder, watch, later)
    if resumes:
        trainer.load(last)
    history, epochs = trainer.history, settings.train.epochs
    print(
        f"\ntraining  {head}{' (continued)' if resumes else ''}: {epochs} epoch{'s' * (epochs != 1)}{_options(settings)}",
        flush=True,
    )
    trainer.fit()

    if not history.rows:
        raise ValueError("not one batch was trained; look at train.limit_batches and data.drop_last")
    best = checkpoint.load(folder / "best.ckpt", trust=trust.named(header["architecture"]))
    device, test, train = trainer.device, data.test_clips, data.train_clips
    assert test is not None
    assert train is not None
    started = time.perf_counter()
    scored = score(best.model.accepting(data.spec), data.test_dataloader(), test, "test", device, graph_effect=True)
    tested = time.perf_counter() - started
    if (val := data.val_clips) is not None and val is not test:
        of_val = score(best.model.accepting(data.spec), data.val_dataloader(), val, "val", device, graph_effect=False)
        write_validation(folder, of_val)
    results = write_scored(folder, scored, test, "test", train.counts, [*history.skipped.values()])
    model = best.model.accepting(data.spec)
    notes = write_tracklets(folder, scored, model, data.samples("test"), settings.tracklets, device)
    notes += write_thumbnails(folder, scored, model, data.samples("test"), settings.thumbnails, device)
    trained = sum(row["seconds"] for row in history.rows)
    found, listed = len(train), train.listed
    clips = f"{found:,} training clips" if found == listed else f"{found:,} of {listed:,} listed training clips"
    results = replace(
        results,
        title=smoke.title(settings, f"{_data_name(settings)}: {_label(settings, head)} on {settings.backbone.name}"),
        subtitle=f"{len(data.classes)} classes, {clips}, {settings.backbone.name} backbone",
        best_epoch=best.epoch,
        model=built.found,
        environment=environment.describe(device, settings.seed),
        durations={"train": trained, "test": tested},
        notes=[*([smoke.NOTE] if settings.fast else []), *data.splits.notes, *filter(None, [trainer.stopped]), *notes],
    )
    results.add_comparison("test", _label(settings, head), sum(p.numel() for p in built.head.parameters()), trained)
    if trainer.weights:
        weights, row = {criteria.name_of(settings.optim.loss): 1.0, **trainer.weights}, history.rows[-1]
        results.losses = {name: {"weight": weight, "last": row[f"train/{name}"]} for name, weight in weights.items()}
    if distributed.is_main_process():
        results.write(folder)
    return results


def _data_name(settings: Namespace) -> str:
    """What a report calls the clips: a published set with its version, else the folder, else the recipe."""
    data = settings.data
    if data.dataset is not None:
        return " ".join(filter(None, [PUBLISHED[data.dataset].title, data.version]))
    folder = data.root or data.tokens
    made = data.synthetic or not folder
    return (settings.recipe if made else Path(folder).resolve().name) or "run"


def _label(settings: Namespace, head: str) -> str:
    """The name of a head in the table of the heads that were trained."""
    tag = settings.tag
    return f"tag ({tag.conv}, {tag.topology}, {tag.readout})" if head == "tag" else head


def check_models(settings: Namespace, data: ClipData, weights: bool = True) -> list[str]:
    """Builds every model once before any is trained, so that a wrong option of the last one is reported at the start.

    Args:
        settings: the configuration.
        data: the clips.
        weights: the weights of the backbone are read, too.

    Returns:
        The heads of the run.
    """
    wanted = list(dict.fromkeys((settings.head, *settings.compare)))
    device = device_of(settings)
    precision_of(settings.precision, device)
    compiling.check(settings.compile, device)
    loggers.check(settings.loggers)
    criteria.find(settings.optim.loss)
    names: list[str] = []
    for head in wanted:
        read = settings.backbone.weights if weights and head == settings.head else None
        # What a checkpoint will hold is found now, too.
        heads.stored(head, head_options(settings, head))
        built = recogniser_of(settings, data, head, read)
        built.check_device(device)
        compiling.check_model(built, settings.compile)
        model = built.accepting(data.spec)
        if mixing := Optimisation(**settings.optim.as_dict()).mixing:
            mixing.check(data.spec)
        if not settings.train.sync_batchnorm:
            single_values.check_single_clips(model, data.spec, data.train_dataloader())
        # A dry run costs as much as a batch; without ``optim.losses`` the first batch finds wrong names as well.
        if settings.optim.losses:
            names += losses.loss_names(model, data.spec, len(data.classes))
        print(built.describe() if head == settings.head else f"compare   {built.found['head']}")
    losses.check_losses(settings.optim.losses, names, criteria.name_of(settings.optim.loss))
    return wanted


def _check_visible(folder: Path) -> None:
    """Refuses machines that do not see what the first process writes: in the end all of them read the best epoch."""
    until = time.monotonic() + VISIBLE_WITHIN
    while not (folder / "config.yaml").is_file():
        if time.monotonic() > until:
            raise ValueError(
                f"run folder {folder.absolute()}: what the first process has written there is not seen here; --runs or --run "
                "must be on a file system that all machines share"
            )
        time.sleep(0.1)


def _new_folder(settings: Namespace) -> Path:
    if settings.run is None:
        return new_folder(Path(settings.runs) / (settings.recipe or "run"))
    folder = Path(settings.run)
    folder.mkdir(parents=True, exist_ok=True)
    others = [path.name for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    if others:
        raise ValueError(
            f"--run {folder}: no run was started in it (no config.yaml), and it is not empty: {', '.join(others[:5])}"
        )
    return folder


def _finished(folder: Path) -> Results | None:
    """The results of a head that has been trained and tested; None where it has not.

    Raises:
        ValueError: a results.json that training has not written.
    """
    path = folder / "results.json"
    if not path.is_file():
        return None
    found = Results.read(folder)
    rows = found.comparison or [{}]
    needed = ("name", "measured", "listed", "parameters", "seconds", *(key for key in METRICS if METRICS[key].headline))
    missing = [key for key in needed if key not in rows[0]]
    if missing or "test" not in (found.scores or {}) or "test" not in (found.unmeasured or {}):
        raise ValueError(f"{path}: not what a finished run has written; remove it, and the test clips are scored again")
    return found


def _step_size(settings: Namespace) -> str:
    """How many clips an optimiser step sees: ``step      4 processes x batch 8 x accumulate 2 = 64 clips``."""
    processes, size, batches = distributed.world_size(), settings.data.batch_size, settings.train.accumulate
    accumulated = f" x accumulate {batches}" if batches > 1 else ""
    return f"step      {processes} processes x batch {size}{accumulated} = {processes * size * batches} clips"


def _options(settings: Namespace) -> str:
    """The options of training that are not the default, in the order of a step."""
    parts = [precision_of(settings.precision, device_of(settings))]
    if settings.compile:
        parts.append("compiled" if settings.compile is True else f"compiled ({settings.compile})")
    if settings.train.accumulate > 1:
        parts.append(f"{settings.train.accumulate} batches a step")
    if settings.optim.ema is not None:
        parts.append(f"weights averaged ({settings.optim.ema:g})")
    if settings.patience is not None:
        parts.append(f"patience {settings.patience} for {settings.monitor}")
    return "" if parts == ["32-true"] else f"; {', '.join(parts)}"
