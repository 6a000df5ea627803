"""One clip explained by several methods: what the program, its page and its pictures share.

Axes: T frames of the tokens, F frames of the input, P positions of a frame, h w the picture.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from taggnn.data.capabilities import Capabilities
from taggnn.explanation import METHODS, explain_tokens
from taggnn.explanation.curves import DRAWS, STEPS, Curves, curves
from taggnn.explanation.head_input import HeadInput, head_input
from taggnn.explanation.importance import Importance
from taggnn.explanation.options import Options


@dataclass(frozen=True)
class Explained:
    """A clip and its maps.

    Args:
        name: of the clip.
        target: name of the class that the maps are about.
        predicted: name of the most probable class.
        probability: of the target, 0 to 1.
        maps: method -> importance.
        curves: method -> its curves; empty where they were not computed.
        unsuited: method -> why it cannot explain this head.
        pictures: the clip for people; None: the input has no pictures.
        rated_picture: draws the input with its joints and bones in given colours; None: the input is no skeleton.
        bones: (child, parent) of its bones, by index of the joints.
        positions: names of the positions of a frame, such as joints; empty: they have none.
        video: the file; empty: there is none.

    **Shapes:** pictures uint8 (F, h, w, 3)
    """

    name: str
    target: str
    predicted: str
    probability: float
    maps: Mapping[str, Importance]
    curves: Mapping[str, Curves] = field(default_factory=dict)
    unsuited: Mapping[str, str] = field(default_factory=dict)
    pictures: Tensor | None = None
    rated_picture: Callable[[Tensor, Tensor], Tensor] | None = None
    bones: Sequence[tuple[int, int]] = ()
    positions: Sequence[str] = ()
    video: str = ""


def explained(
    model: nn.Module,
    x: Tensor,
    name: str,
    classes: Sequence[str],
    methods: Sequence[str],
    capabilities: Capabilities,
    target: int | None = None,
    video: str = "",
    curve_steps: int = STEPS,
    draws: int = DRAWS,
    **options: Any,
) -> Explained:
    """Explains a clip by several methods; the backbone runs once.

    Args:
        model: a recogniser, or its view that takes stored tokens.
        x: the clip.
        name: of the clip.
        classes: names in label order.
        methods: keys of ``METHODS``.
        capabilities: of the source of the clip.
        target: label of the class; None (default): the most probable one.
        video: its file.
        curve_steps: of the curves.
        draws: random orders of the curves; 0: no curves.
        options: of ``Options``.

    **Shapes:** x (1, *spec.shape)

    Raises:
        ValueError: as ``explain``, of what concerns the clip and the model; a method that does not suit the head is in
            ``unsuited``.
    """
    given = head_input(model, x)
    with torch.no_grad():
        probabilities = given.logits(given.tokens)[0].float().softmax(0).cpu()
    best = int(probabilities.argmax())
    label = best if target is None else target
    maps, found, unsuited = dict[str, Importance](), dict[str, Curves](), dict[str, str]()
    # Unit -> curves with the random orders of it.
    randoms: dict[str, Curves] = {}
    for method in methods:
        try:
            maps[method] = explain_tokens(given, label, method, **options)
            if draws:
                # Pixels are removed as the tokens whose cells they are in.
                unit = "token" if maps[method].unit == "pixel" else maps[method].unit
                same = randoms.get(unit)
                found[method] = curves(given, maps[method], Options(**options), curve_steps, draws, same)
                randoms.setdefault(unit, found[method])
        except (ValueError, ImportError) as error:
            if method in METHODS and 0 <= label < len(classes):
                unsuited[method] = str(error)
                maps.pop(method, None)
                continue
            raise
    return Explained(
        name=name, target=classes[label], predicted=classes[best], probability=float(probabilities[label]), maps=maps,
        curves=found, unsuited=unsuited, video=video, positions=capabilities.position_names, **_pictures(given, capabilities),
    )  # fmt: skip


def _pictures(given: HeadInput, capabilities: Capabilities) -> dict[str, Any]:
    x, rated = given.x[0].float().cpu(), capabilities.rated_picture
    return {
        "pictures": None if capabilities.picture is None else capabilities.picture(x).cpu(),
        "bones": capabilities.bones,
        "rated_picture": None if rated is None else lambda joints, bones: rated(x, joints, bones),
    }
