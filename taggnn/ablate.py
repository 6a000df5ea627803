"""``python -m taggnn.ablate --checkpoint X``: what the weights of a trained model use, by taking parts away.

Answers the test clips of the model's run, or those of ``--data.root``, with the same weights and other edges, without the
encoder, and with frames and joints in disorder. Nothing is trained, unless ``--retrain true`` trains a network for each row.
Writes ablation.json, ablation.csv, classes.csv and ablation.html into a folder, and prints the figures.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from taggnn.cli import ablation_training, terminal
from taggnn.cli.ablation_setup import prepare
from taggnn.cli.checkpoint_options import add_checkpoint
from taggnn.cli.parser import Parser
from taggnn.data.published import PUBLISHED
from taggnn.evaluation.ablation import INTERVENTIONS
from taggnn.evaluation.ablation.effects import check, measure
from taggnn.evaluation.predictions import write_skipped
from taggnn.io.run_folder import new_folder, writable
from taggnn.reporting.ablation_page import ablation_page, class_table, lines, table
from taggnn.runtime.atomic import write_text
from taggnn.runtime.printable import one_line


def main(arguments: Sequence[str]) -> None:
    built = parser()
    given = built.parse_args(built.as_lists(arguments))
    check(given.rows, given.draws)
    clips, loader, device, model = prepare(given)
    # Created before the long work starts.
    folder = writable(Path(given.out)) if given.out else new_folder(Path("runs") / "ablate")
    # Wrong options are found before anything is measured.
    runs = ablation_training.planned(given, model, folder / "retrained") if given.retrain else []
    found = measure(model, loader, clips, given.split, given.rows, given.draws, given.seed, device)
    about = {"checkpoint": str(given.checkpoint), "clips_of": f"{clips.source}, {given.split}", **found.as_dict()}
    write_text(folder / "ablation.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "ablation.csv", table(found))
    write_text(folder / "classes.csv", class_table(found))
    write_skipped(folder / "skipped.csv", found.skipped)
    page = ablation_page(found, Path(given.checkpoint).name, f"{clips.source}, {given.split}")
    for line in lines(found):
        print(one_line(line))
    print(f"\ntable     {folder / 'ablation.csv'}\npage      {write_text(folder / 'ablation.html', page)}")
    if runs:
        print("\nnetworks that are trained so from the beginning:", flush=True)
        ablation_training.train(runs, given.jobs, folder / "retrained")


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.ablate", description="Measures what the weights of a trained model use.")
    add, option = built.add_argument, built.option
    add_checkpoint(add)
    option("--rows", list[str], [], f"interventions: {', '.join(INTERVENTIONS)}; empty: all")
    option("--draws", int, 3, "draws of the random ones")
    option("--seed", int, 0, "of the random ones")
    option("--retrain", bool, False, "also train a network with each change of edges or encoder, as a sweep")
    option("--seeds", str, "3", "of those networks: how many, or a list such as 42,1,2")
    option("--jobs", int, 1, "trainings at one time")
    option("--data.root", str | None, None, "folder of other clips; null: the clips of the checkpoint's run")
    option("--data.list", str | None, None, "list of the clips to measure on (CSV, or 'path label' lines)")
    option("--data.folder", str | None, None, "or their folder in the root; '.' is the whole root")
    option("--data.dataset", str | None, None, f"or a published data set: {', '.join(PUBLISHED)}")
    option("--data.version", str | None, None, "its version; null: that of the checkpoint, or the default")
    option("--data.annotations", str | None, None, "folder of its lists, if they are not in the root")
    option("--data.missing", Literal["error", "skip"] | None, None, "listed files that do not exist; as in evaluate")
    option("--data.batch_size", int, 8, "clips in a batch")
    option("--data.workers", int | None, None, "loader processes; null: chosen for the machine")
    option("--split", Literal["train", "val", "test"], "test", "the split, named as in training")
    option("--device", str | None, None, "cpu, cuda, cuda:1; null: a GPU if there is one")
    option("--out", str | None, None, "folder of the results; null: runs/ablate/<time>")
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.ablate"))
