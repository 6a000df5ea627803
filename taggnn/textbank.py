"""``python -m taggnn.textbank --classes FILE --model NAME|FOLDER --out bank.safetensors``: class names as vectors, for ART.

Writes the bank, and next to it a page with the similarity of the classes. Works offline from a folder or an installed package;
training and inference need no text encoder.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from taggnn.cli import terminal
from taggnn.cli.parser import Parser
from taggnn.data.class_names import EXPECTED, ClassNames, read_class_names
from taggnn.data.published.text import lines
from taggnn.io.run_folder import writable
from taggnn.reporting.bank_page import bank_page, warning
from taggnn.runtime.atomic import write_text
from taggnn.runtime.printable import one_line
from taggnn.text import ENCODERS, open_encoder
from taggnn.text.bank import TextBank
from taggnn.text.embedding import embed_classes
from taggnn.text.matrix import read_matrix
from taggnn.text.packages import PACKAGES
from taggnn.text.prompts import DEFAULT, read_prompts
from taggnn.text.similarity import alike_pairs, similarity

# Most alike pairs on the screen; the page has more.
SHOWN = 5


def main(arguments: Sequence[str]) -> None:
    given = parser().parse_args(arguments)
    out = Path(given.out)
    if out.suffix != ".safetensors":
        raise ValueError(f"--out {out}: the name of a text bank must end in .safetensors")
    if (given.model is None) == (given.vectors is None):
        raise ValueError(
            f"--model or --vectors: give one of them: {', '.join(PACKAGES)}, a folder or a hub id, or a file with a matrix"
        )
    names = read_class_names(given.classes)
    prompts = DEFAULT if given.prompts is None else _prompts(Path(given.prompts), given.vectors is not None)
    writable(out.parent)
    print(one_line(f"classes   {len(names.names):,} from {given.classes}; the first is {names.names[0]}"))
    bank = _of_matrix(given, names, prompts) if given.model is None else _of_model(given.model, names, prompts)
    for one, other, cosine in alike_pairs(similarity(bank), SHOWN):
        print(one_line(f"alike     {cosine:.3f}  {bank.classes[one]} | {bank.classes[other]}"))
    if sentence := warning(bank):
        print(f"warning   {sentence}; the page has all of them")
    written = bank.write(out)
    page = write_text(out.with_suffix(".html"), bank_page(bank, out.name))
    print(f"bank      {written}: {tuple(bank.vectors.shape)} prompts, classes, channels; digest {bank.digest[:16]}")
    print(f"page      {page}")


def _prompts(file: Path, names_only: bool) -> tuple[str, ...]:
    if not file.is_file():
        raise FileNotFoundError(f"--prompts {file}: no such file; expected one prompt a line, such as {DEFAULT[1]!r}")
    found = list(lines(file))
    return tuple(text for _, text in found) if names_only else read_prompts(found, str(file))


def _of_matrix(given: Namespace, names: ClassNames, prompts: tuple[str, ...]) -> TextBank:
    vectors = read_matrix(given.vectors)
    titles = prompts if given.prompts is not None else tuple(f"prompt {number}" for number in range(len(vectors)))
    try:
        return TextBank(vectors, names.names, titles, f"vectors of {Path(given.vectors).name}")
    except ValueError as error:
        raise ValueError(f"--vectors {given.vectors}, --classes {given.classes}: {error}") from None


def _of_model(model: str, names: ClassNames, prompts: tuple[str, ...]) -> TextBank:
    encode, about = open_encoder(model)
    print(one_line(f"model     {about}"))
    print(f"prompts   {len(prompts)}, {len(prompts) * len(names.names):,} texts")
    started = time.perf_counter()
    bank = embed_classes(encode, names.names, prompts, about, names.texts)
    print(f"encoded   in {time.perf_counter() - started:.1f} s")
    return bank


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(
        prog="taggnn.textbank",
        description="Makes a text bank: a vector for each prompt and class, and a page with the similarity of the classes. "
        f"Kinds of models: {'; '.join(f'{kind}: {row.summary}' for kind, row in ENCODERS.items())}.",
    )
    add, option = built.add_argument, built.option
    add("--classes", type=str, required=True, help=EXPECTED)
    add("--out", type=str, required=True, help="the bank, .safetensors; its page has the same name, .html")
    option(
        "--model",
        str | None,
        None,
        f"text encoder: {', '.join(PACKAGES)} (packages of PyPI), a folder with the files of a model, a hub id such as "
        "openai/clip-vit-base-patch32, or the dotted path of a function texts -> (texts, channels)",
    )
    option("--prompts", str | None, None, "file of prompts, one a line, {} for the class; null: eight for actions")
    option(
        "--vectors",
        str | None,
        None,
        "a matrix of one's own instead: .npy, .npz or .safetensors, (prompts, classes, channels)",
    )
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.textbank"))
