"""The text bank: a vector for each prompt and class, in a file that knows its class names.

Axes: N prompts, K classes, C channels.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from typing_extensions import TypedDict

from taggnn.runtime import json_file, schema
from taggnn.runtime.atomic import write_bytes

# The tensor and the key of the metadata in the file.
VECTORS, META = "vectors", "taggnn.bank"
# Names that a message lists before it only counts them.
_NAMED = 5


class Described(TypedDict):
    """The metadata of the file, as JSON."""

    classes: list[str]
    prompts: list[str]
    model: str
    digest: str


@dataclass(frozen=True, eq=False)
class TextBank:
    """Text vectors S of all classes, one for each prompt, as ART uses them (https://arxiv.org/abs/2511.21202, section III).

    Args:
        vectors: S, of any length each.
        classes: class names of the data set, in the order of the vectors.
        prompts: the sentences, with ``{}`` where a class name stands; of vectors of one's own, a name for each.
        model: what made the vectors, for people.

    **Shapes:** vectors (N, K, C) float32

    Raises:
        ValueError: names the field: another shape or type, a value that is not finite, a vector of zeros (which has no
            direction), a name that is empty or occurs twice, or numbers of names that the vectors do not have.
    """

    vectors: Tensor
    classes: tuple[str, ...]
    prompts: tuple[str, ...]
    model: str

    def __post_init__(self) -> None:
        vectors, shape = self.vectors, tuple(self.vectors.shape)
        if len(shape) != 3 or 0 in shape or vectors.dtype != torch.float32:
            raise ValueError(f"vectors: expected (prompts, classes, channels) float32, got {shape} {_type(vectors)}")
        for field, axis in (("prompts", 0), ("classes", 1)):
            names = getattr(self, field)
            if len(names) != shape[axis]:
                raise ValueError(f"{field}: {len(names)} names for vectors {shape}, which have {shape[axis]} {field}")
            if "" in names:
                raise ValueError(f"{field}: number {names.index('')} is empty")
            if double := [name for name, times in Counter(names).items() if times > 1]:
                raise ValueError(f"{field}: {listed(double)} more than once")
        for wrong, what in (
            (~vectors.isfinite().all(-1), "is not finite"),
            (~vectors.any(-1), "is zero, which has no direction"),
        ):
            if wrong.any():
                prompt, label = wrong.nonzero()[0].tolist()
                where = f"prompt {prompt} ({self.prompts[prompt]!r}), class {label} ({self.classes[label]!r})"
                raise ValueError(f"vectors: {where}: {what}; {int(wrong.sum())} such vectors in all")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the class names and the vectors, in hexadecimal digits."""
        total = sha256(json.dumps([*self.classes]).encode())
        total.update(f"{tuple(self.vectors.shape)}\n".encode())
        # The bytes as the file has them.
        total.update(self.vectors.detach().cpu().contiguous().numpy().astype("<f4", copy=False).tobytes())
        return total.hexdigest()

    def ordered(self, classes: Sequence[str], where: str) -> "TextBank":
        """The same bank with its classes in the order of another list of the same names.

        Args:
            classes: class names in the order wanted.
            where: where they are from, for the message ("data.root /videos").

        Raises:
            ValueError: it is another list; names classes that the bank lacks, and those that only the bank has.
        """
        if tuple(classes) == self.classes:
            return self
        index = {name: number for number, name in enumerate(self.classes)}
        lacking = [name for name in classes if name not in index]
        wanted = set(classes)
        surplus = [name for name in self.classes if name not in wanted]
        if lacking or surplus or len(classes) != len(self.classes):
            found = [f"the bank lacks {listed(lacking)}"] * bool(lacking)
            found += [f"only the bank has {listed(surplus)}"] * bool(surplus)
            raise ValueError(
                f"{where}: {len(classes)} classes, and the text bank has {len(self.classes)} others: "
                f"{'; '.join(found) or 'a class occurs twice'}. Make a bank for these classes: python -m taggnn.textbank"
            )
        rows = torch.tensor([index[name] for name in classes], device=self.vectors.device)
        return TextBank(self.vectors.index_select(1, rows), tuple(classes), self.prompts, self.model)

    def write(self, path: str | os.PathLike) -> Path:
        """Writes the bank as a safetensors file, atomically; the same bank gives the same bytes.

        Raises:
            ValueError: the name does not end in .safetensors.
            OSError: the disk is full, or the folder cannot be written.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise ValueError(f"{path}: the name of a text bank must end in .safetensors")
        meta = Described(classes=[*self.classes], prompts=[*self.prompts], model=self.model, digest=self.digest)
        vectors = self.vectors.detach().cpu().contiguous()
        return write_bytes(path, safetensors.torch.save({VECTORS: vectors}, {META: json_file.text(meta)}))

    @classmethod
    def read(cls, path: str | os.PathLike) -> "TextBank":
        """Reads what ``write`` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: damaged, no text bank, or changed since it was written; names the file and the field.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"text bank {path}: no such file; python -m taggnn.textbank makes one")
        where = f"text bank {path}"
        try:
            with safe_open(path, framework="pt") as file:
                keys, content = list(file.keys()), (file.metadata() or {}).get(META)
                vectors = file.get_tensor(VECTORS) if keys == [VECTORS] else None
        except SafetensorError as error:
            raise ValueError(f"{where}: damaged, or no safetensors file ({error})") from None
        if vectors is None or content is None:
            raise ValueError(
                f"{where}: no text bank: it holds {listed(keys)} and {'no ' if content is None else ''}{META} in its metadata, "
                f"instead of one tensor {VECTORS!r} with it; python -m taggnn.textbank --vectors makes a bank of a matrix"
            )
        meta = json_file.parse(content.encode(), f"{where}, {META}")
        schema.check(meta, Described, f"{where}, {META}")
        try:
            bank = cls(vectors, tuple(meta["classes"]), tuple(meta["prompts"]), meta["model"])
        except ValueError as error:
            raise ValueError(f"{where}, {error}") from None
        if bank.digest != meta["digest"]:
            raise ValueError(
                f"{where}, digest: vectors or classes differ from it: damaged, or changed since it was written"
            )
        return bank


def listed(names: Sequence[str]) -> str:
    """The first names, quoted, and how many more there are."""
    shown = ", ".join(map(repr, names[:_NAMED])) or "nothing"
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
