"""``python -m taggnn.explain FILE... --checkpoint X``: what a trained model looks at in clips, and whether the maps matter.

For each clip a PNG, an MP4 and the maps; explanations.json; and a page, index.html. Each method is compared with random maps.

Exit code 0: every file is explained. 1: some could not be read. 2: a mistake in the command, or none could be read.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from taggnn.cli import explaining, terminal
from taggnn.cli.checkpoint_options import add_checkpoint
from taggnn.cli.input_files import input_files
from taggnn.cli.parser import Parser
from taggnn.explanation import METHODS, Options
from taggnn.explanation.curves import DRAWS, STEPS
from taggnn.explanation.head_input import BASELINES
from taggnn.io import checkpoint
from taggnn.io.run_folder import new_folder, writable
from taggnn.reporting.importance_page import verdicts
from taggnn.runtime.device import find_device
from taggnn.runtime.printable import one_line


def main(arguments: Sequence[str]) -> int:
    built = parser()
    given = built.parse_args(built.as_lists(arguments))
    methods = explaining.methods_of(given.methods)
    options = {key: given[key] for key in ("baseline", "steps", "batch", "epochs", "seed")}
    Options(**options)
    if given.curve_steps < 2 or given.draws < 0:
        raise ValueError(
            f"--curve_steps {given.curve_steps}, --draws {given.draws}: at least 2 steps, and 0 draws or more"
        )
    if not any(Path(name).exists() for name in given.files):
        raise FileNotFoundError(f"{given.files[0]}: no such file or folder")
    device = find_device(given.device)
    loaded = checkpoint.load(given.checkpoint, given.dataset, given.trust).to(device)
    target = explaining.target_of(given.target, loaded.classes)
    files = list(input_files(given.files, loaded.spec))
    folder = writable(Path(given.out)) if given.out else new_folder(Path("runs") / "explain")
    clips, links, bad = [], [], []
    settings = {"draws": given.draws, "curve_steps": given.curve_steps, **options}
    for found in explaining.explain_files(loaded, files, methods, target, **settings):
        if isinstance(found, tuple):
            bad.append(found)
            print(one_line(f"{found[0]}: could not be read: {found[1]}"), file=sys.stderr)
            continue
        clips.append(found)
        links.append(explaining.write_clip(folder, len(clips), found, loaded))
        print(
            one_line(f"{found.video}: {found.target} {100 * found.probability:.1f} %, {folder / links[-1].picture}"),
            flush=True,
        )
    if not clips:
        raise ValueError(f"none of the {len(files)} files could be read")
    for method, reason in {name: why for clip in clips for name, why in clip.unsuited.items()}.items():
        print(one_line(f"{method}: left out: {reason}"), file=sys.stderr)
    for method, row in verdicts(clips).items():
        print(
            f"{method:26} deletion {row.deletion.value:.3f} (random {row.deletion.low:.3f} to {row.deletion.high:.3f}), "
            f"insertion {row.insertion.value:.3f} (random {row.insertion.low:.3f} to {row.insertion.high:.3f})"
            + ("" if row.better else ": no better than random")
        )
    print(f"page      {explaining.write_page(folder, clips, links, loaded, bad)}")
    return 1 if bad else 0


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(prog="taggnn.explain", description="Shows what a trained model looks at in clips.")
    add, option = built.add_argument, built.option
    add("files", nargs="+", type=str, help="files, or folders of them")
    add_checkpoint(add, exported=False)
    named = "; ".join(f"{name}: {row.summary}" for name, row in METHODS.items())
    option("--methods", list[str], list(explaining.DEFAULT), f"or all; {named}")
    option(
        "--target", str | None, None, "class to explain, by name or number; null: the most probable one of each clip"
    )
    option("--baseline", str, "zeros", f"what stands for a removed token: {', '.join(BASELINES)}")
    option("--steps", int, 32, "steps of integrated gradients")
    option("--epochs", int, 100, "epochs of gnn_explainer")
    option("--draws", int, DRAWS, "random maps that each method is compared with; 0: no curves")
    option("--curve_steps", int, STEPS, "steps of the curves")
    option("--batch", int, 32, "copies of a clip's tokens in one call of the head")
    option("--seed", int, 0, "of the random maps")
    option("--device", str | None, None, "cpu, cuda, cuda:1; null: a GPU if there is one")
    option("--out", str | None, None, "folder of the page; null: runs/explain/<time>")
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.explain"))
