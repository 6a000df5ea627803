"""Which clips of a test have their tracklets drawn, and the second pass over those few.

Axes: B clips, T frames, R regions, M clips of the predictions.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from taggnn.data.capabilities import Capabilities, capabilities_of
from taggnn.data.dataset import ClipDataset
from taggnn.evaluation.metrics import predicted_classes
from taggnn.evaluation.predictions import Predictions
from taggnn.evaluation.tracklets import Tracklets
from taggnn.types import BadClip

# What a head's extras must hold, see `taggnn.evaluation.tracklets`.
EXTRA = "regions"


def choose(predictions: Predictions, number: int) -> list[int]:
    """Chooses clips to look at: half of them right and half wrong as far as there are such, of as many classes as possible.

    Of each class the first of the list counts, so that nobody picks the pretty ones.

    Args:
        predictions: of all clips.
        number: how many clips to choose; all where there are fewer.

    Returns:
        Indices in the predictions: those that are right, then those that are wrong, each in the order of the list.
    """
    wrong = (predicted_classes(predictions.probabilities) != predictions.labels).tolist()
    labels = predictions.labels.tolist()
    of = {side: [index for index, other in enumerate(wrong) if other is side] for side in (False, True)}
    few = min(len(of[True]), number // 2)
    rights = min(len(of[False]), number - few)
    chosen = _spread(of[False], labels, rights, ())
    seen = {labels[index] for index in chosen}
    return chosen + _spread(of[True], labels, min(len(of[True]), number - rights), seen)


def _spread(indices: Sequence[int], labels: Sequence[int], number: int, seen: Iterable[int]) -> list[int]:
    """The first clip of each class, then the second of each; of too many classes evenly spaced ones, new ones first."""
    rounds: dict[int, list[int]] = {}
    taken: dict[int, int] = {}
    for index in indices:
        label = labels[index]
        taken[label] = taken.get(label, -1) + 1
        rounds.setdefault(taken[label], []).append(index)
    seen, found = set(seen), list[int]()
    for number_of_round in sorted(rounds):
        row = sorted(rounds[number_of_round], key=labels.__getitem__)
        for part in ([i for i in row if labels[i] not in seen], [i for i in row if labels[i] in seen]):
            room = min(number - len(found), len(part))
            found += [part[position * len(part) // room] for position in range(room)]
    return sorted(found)


@torch.inference_mode()
def collect(
    model: nn.Module,
    samples: ClipDataset,
    predictions: Predictions,
    chosen: Sequence[int],
    device: torch.device | str = "cpu",
) -> tuple[list[Tracklets], list[str]]:
    """Reads clips again, as evaluation sees them, and asks the model for their tracklets.

    Args:
        model: inputs -> ``Output``, with ``regions`` in its extras, perhaps ``frame_weights``, and ``semantics``: n * K + c for
            prompt n of class c. The method ``semantic_names() -> list[str]`` of its head may give the text of each.
        samples: the clips that were scored.
        predictions: what they were given.
        chosen: indices in the predictions.
        device: where the model is.

    Returns:
        The tracklets, and a sentence on each clip without.
    """
    model.eval()
    at = {clip.name: index for index, clip in enumerate(samples.clips)}
    capabilities = capabilities_of(samples.source)
    classes, labels = predictions.classes, predictions.labels.tolist()
    best = predicted_classes(predictions.probabilities).tolist()
    spatial = {"height", "width"} <= set(samples.source.spec.axes)
    names = semantic_names(getattr(model, "head", None))
    found, notes = list[Tracklets](), list[str]()
    for row in chosen:
        name = predictions.names[row]
        sample = samples[at[name], 0]
        if isinstance(sample, BadClip):
            notes.append(f"no tracklets of {name}: it could not be read again: {sample.reason}")
            continue
        output = model(sample.x.unsqueeze(0).to(device))
        facts = (name, classes[labels[row]], classes[best[row]], float(predictions.probabilities[row, best[row]]))
        try:
            found.append(of_output(output.extras, sample.x, capabilities, names, classes, spatial, *facts))
        except ValueError as error:
            notes.append(f"no tracklets of {name}: {error}")
    return found, notes


def of_output(
    extras: dict[str, Tensor],
    x: Tensor,
    capabilities: Capabilities,
    names: Sequence[str] | None,
    classes: Sequence[str],
    spatial: bool,
    name: str,
    truth: str,
    predicted: str,
    probability: float,
) -> Tracklets:
    """The tracklets of one clip, of what the model answered to it.

    Args:
        extras: of the model's output for the one clip, see ``collect``.
        x: the clip.
        capabilities: of its source.
        names: of the semantics, see ``semantic_names``; None: the head has none.
        classes: names in label order.
        spatial: whether the positions of a frame are rows and columns of it.
        name: of the clip.
        truth: its class.
        predicted: the most probable class.
        probability: of that class.

    **Shapes:** x (*spec.shape)

    Raises:
        ValueError: the extras hold no regions, or in other shapes.
    """
    regions = _regions(extras, spatial)
    return Tracklets(
        name, truth, predicted, probability, regions, _weights(extras, regions), _texts(extras.get("semantics"), names, classes),
        None if capabilities.picture is None else capabilities.picture(x.cpu()).cpu(), capabilities.position_names,
    )  # fmt: skip


def semantic_names(head: object) -> list[str] | None:
    """The text of each semantic of a head; None where it has none."""
    method = getattr(head, "semantic_names", None)
    return None if method is None else [str(name) for name in method()]


def _regions(extras: dict[str, Tensor], spatial: bool) -> Tensor:
    """The attention of the one clip. **Shapes:** -> (T, R, H, W) or (T, R, P)"""
    given = extras.get(EXTRA)
    if not isinstance(given, Tensor) or given.ndim < 4 or len(given) != 1 or not given.is_floating_point():
        shape = tuple(given.shape) if isinstance(given, Tensor) else given
        raise ValueError(
            f"the head's extras[{EXTRA!r}] must be float (clips, frames, regions, *grid of a frame), got {shape}"
        )
    regions = given[0].float().cpu()
    return regions if spatial and regions.ndim == 4 else regions.flatten(2)


def _weights(extras: dict[str, Tensor], regions: Tensor) -> Tensor | None:
    given = extras.get("frame_weights")
    if given is None:
        return None
    wanted = (1, *regions.shape[:2])
    if not isinstance(given, Tensor) or tuple(given.shape) != wanted:
        raise ValueError(f"the head's extras['frame_weights'] must be (clips, frames, regions) {wanted}")
    return given[0].float().cpu()


def _texts(semantics: Tensor | None, names: Sequence[str] | None, classes: Sequence[str]) -> list[str]:
    """The text of each region of the one clip; without names of the semantics their class and the number of the prompt."""
    if not isinstance(semantics, Tensor) or semantics.ndim != 2 or len(semantics) != 1:
        return []
    texts = []
    for index in semantics[0].tolist():
        if names is not None and 0 <= index < len(names):
            texts.append(names[index])
        elif names is None and index >= 0:
            prompt, label = divmod(math.floor(index), len(classes))
            texts.append(f"{classes[label]}, prompt {prompt + 1}")
        else:
            texts.append(f"semantic {index}")
    return texts
