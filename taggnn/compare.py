"""``python -m taggnn.compare A B``: the differences of two recognisers on the same clips, with intervals and tests.

Takes run folders, evaluation folders or predictions.csv files; models and videos are not needed. Each further one is compared
with the first. Writes comparison.json and compare.html into a folder, and prints the figures.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from taggnn.cli import run_titles, terminal
from taggnn.cli.parser import Parser
from taggnn.cli.prediction_files import file_of
from taggnn.evaluation.comparison import Comparison, Pair, compared
from taggnn.evaluation.intervals import RESAMPLES
from taggnn.evaluation.matching import matched
from taggnn.evaluation.metrics import METRICS, shares_of_clips
from taggnn.evaluation.predictions import read_predictions
from taggnn.io.run_folder import new_folder
from taggnn.reporting.compare_page import compare_page
from taggnn.reporting.page import p_value
from taggnn.runtime.atomic import write_text
from taggnn.runtime.printable import one_line

# Number of printed classes that gained, and that lost; the page has all.
SHOWN = 5


def main(arguments: Sequence[str]) -> None:
    given = parser().parse_args(arguments)
    if len(given.runs) < 2:
        raise ValueError(f"{given.runs[0]}: a comparison needs two runs or more")
    if given.resamples < 2:
        raise ValueError(f"--resamples {given.resamples}: an interval needs 2 or more")
    files = [file_of(run) for run in given.runs]
    predictions = [read_predictions(file) for file in files]
    both = matched(predictions, given.runs)
    titles = run_titles.titles(files)
    found = compared(both, given.runs, titles, given.resamples, given.seed)
    folder = Path(given.out) if given.out else new_folder(Path("runs") / "compare")
    content = json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n"
    write_text(folder / "comparison.json", content)
    written = write_text(folder / "compare.html", compare_page(found))
    if given.json:
        print(content, end="")
        return
    for line in lines(found):
        print(one_line(line))
    print(f"\n          {folder / 'comparison.json'}\npage      {written}")


def lines(found: Comparison) -> list[str]:
    """The comparison as lines for the screen."""
    shown = [f"{model.letter:9} {model.source}{f'   {model.title}' if model.title else ''}" for model in found.models]
    clips = "1 clip" if found.clips == 1 else f"{found.clips:,} clips"
    shown += [
        *found.notes,
        "",
        f"compared  {clips} of {'1 class' if found.classes == 1 else f'{found.classes:,} classes'}",
        "",
    ]
    shown.append(f"{'':20}" + "".join(f"{model.letter:27}" for model in found.models).rstrip())
    for key, row in METRICS.items():
        cells = []
        for model in found.models:
            value, between = model.scores.figures.get(key), row.between(model.intervals.get(key))
            cells.append("-" if value is None else row.text(value) + (f" ({between})" if between else ""))
        if set(cells) != {"-"}:
            shown.append(f"{row.title:20}" + "".join(f"{cell:27}" for cell in cells).rstrip())
    for pair in found.pairs:
        shown += ["", *_pair_lines(pair, len(found.pairs))]
    shown += [
        "",
        f"intervals: 95 %; Wilson's for {shares_of_clips()}, {found.resamples:,} bootstrap resamples of the clips for the others "
        "and, paired, for differences",
    ]
    return shown


def _pair_lines(pair: Pair, family: int) -> list[str]:
    one, two, test = pair.first, pair.second, pair.test
    shown = [f"{two} against {one}"]
    for key, row in pair.differences.items():
        metric = METRICS[key]
        factor, digits, unit = (100, 2, " points") if metric.share else (1, metric.decimals, "")
        ends = f" ({factor * row.low:+.{digits}f} to {factor * row.high:+.{digits}f})" if row.low < row.high else ""
        better = "" if metric.larger_is_better else ", less is better"
        shown.append(f"  {metric.title:19} {factor * row.value:+7.{digits}f}{unit}{ends}{better}")
    holm = f"; {p_value(pair.p_holm)} after Holm, for {family} comparisons" if family > 1 else ""
    shown.append(
        f"  only {two} right {test.only_second:,}, only {one} right {test.only_first:,}: McNemar {p_value(test.p)}{holm}"
    )
    shown.append(f"  {pair.verdict}")
    gained = [change for change in pair.classes if change.gain > 0][:SHOWN]
    lost = [change for change in reversed(pair.classes) if change.gain < 0][:SHOWN]
    for title, changes in (("gained most", gained), ("lost most", lost)):
        for number, change in enumerate(changes):
            counts = f"{change.name} ({change.first} -> {change.second} of {change.clips})"
            shown.append(f"  {'' if number else title:12} {100 * change.gain:+6.1f} points  {counts}")
    if on := pair.on_confused:
        of, gain = f"{on.pairs} most confused pair{'s' if on.pairs > 1 else ''}", on.difference
        points = f"{100 * gain.value:+.2f} points ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})"
        shown.append(
            f"  {of}, {on.clips:,} clips: top-1 {_top1(on.first)} -> {_top1(on.second)}, {points}, McNemar {p_value(on.test.p)}"
        )
    for each in pair.confused[:SHOWN]:
        shown.append(
            f"  {each.one} / {each.other}: confused {each.first} -> {each.second} of {each.clips}, {p_value(each.p)}"
        )
    if pair.changed:
        both_wrong = sum(row.change == "other" for row in pair.changed)
        also = f", {both_wrong:,} of them wrong either way" if both_wrong else ""
        clips = "1 clip is" if len(pair.changed) == 1 else f"{len(pair.changed):,} clips are"
        shown.append(f"  {clips} taken for another class{also}")
    return shown


def _top1(value: float) -> str:
    return METRICS["top1"].text(value)


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.compare", description="Compares the predictions of recognisers on the same clips.")
    add, option = built.add_argument, built.option
    add(
        "runs",
        nargs="+",
        type=str,
        help="run folders, evaluation folders or predictions.csv files; the first is the reference",
    )
    option("--out", str | None, None, "folder of the results; null: runs/compare/<time>")
    option("--resamples", int, RESAMPLES, "resamples of the bootstrap")
    option("--seed", int, 0, "of the bootstrap")
    add("--json", action="store_true", help="print comparison.json instead of lines")
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.compare"))
