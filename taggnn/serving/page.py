"""The page to try a model: a form for a clip, and its answer with a map over time and the nearest training clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from taggnn.data.clips import Clip
from taggnn.evaluation.predictions import Predictions, read_predictions
from taggnn.reporting.page import count, number, percent, render
from taggnn.reporting.theme import shorten
from taggnn.serving.application import Lingering, Service, admitted
from taggnn.serving.extra import imported
from taggnn.serving.neighbours import as_plain
from taggnn.serving.options import NONE
from taggnn.serving.upload import Refused, remove

# Test clips in the list of the page, spread over all of them.
EXAMPLES = 500
# Letters of a class name in a title.
LETTERS = 60


@dataclass(frozen=True)
class Page:
    """What the page knows in addition to the processes.

    Args:
        title: of the model.
        methods: of maps, name -> summary; the first one is used unless another is chosen.
        examples: test clips of the run.
        classes: names in label order.
        notes: sentences for the page.
    """

    title: str
    methods: Mapping[str, str]
    examples: Sequence[Clip] = ()
    classes: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    def routes(self, service: Service) -> list[Any]:
        """The routes of the page."""
        routing, responses = imported("starlette.routing"), imported("starlette.responses")
        script = files("taggnn.reporting").joinpath("templates").joinpath("app.js").read_text(encoding="utf-8")

        async def show(request: Any) -> Any:
            return self._response(service, {})

        async def javascript(request: Any) -> Any:
            return responses.Response(script, media_type="text/javascript")

        async def no_icon(request: Any) -> Any:
            return responses.Response(status_code=204)

        def refusal(refused: Refused, request: Any) -> Any:
            return Lingering(
                self._response(service, {"error": refused.reason}, refused.status, refused.headers), request
            )

        return [
            routing.Route("/", show, methods=["GET"]),
            routing.Route("/", admitted(service, self._answer, refusal), methods=["POST"]),
            routing.Route("/app.js", javascript, methods=["GET"]),
            routing.Route("/favicon.ico", no_icon, methods=["GET"]),
        ]

    async def _answer(self, service: Service, request: Any) -> Any:
        upload = await service.uploaded(request, file_needed=False)
        try:
            method = self._method(upload.fields.get("method"))
            example = None if upload.size else self._example(upload.fields.get("example"))
            clip = Clip(str(upload.path), 0, "") if example is None else example
            question = {"do": "look", "clip": as_plain(clip), "method": method}
            answer = await service.ask(request, question)
        finally:
            remove(upload)
        name = upload.name if example is None else example.name
        truth = None if example is None else self.classes[example.label]
        chosen = {"method": method, "example": None if example is None else self.examples.index(example)}
        if "error" in answer:
            return self._response(service, {"error": answer["error"], "name": name, **chosen}, 422)
        return self._response(service, {"answer": _shown(answer, truth), "name": name, **chosen})

    def _method(self, given: str | None) -> str:
        if given is None:
            return next(iter(self.methods))
        if given not in self.methods:
            raise Refused(400, f"unknown map {given[:60]!r}; possible: {', '.join(self.methods)}")
        return given

    def _example(self, given: str | None) -> Clip:
        if not given:
            raise Refused(400, "no clip was sent: choose a file, or one of the test clips")
        if not (given.isascii() and given.isdecimal() and int(given[:9]) < len(self.examples)):
            raise Refused(400, f"there is no test clip {given[:60]!r}")
        return self.examples[int(given[:9])]

    def _response(
        self, service: Service, found: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Any:
        about = service.about
        context = {"answer": None, "error": None, "name": None, "example": None, "method": next(iter(self.methods))}
        text = render(
            "app.html.j2",
            title=self.title,
            eyebrow="taggnn",
            subtitle=_subtitle(about),
            about=about,
            methods=self.methods,
            examples=[(clip.name, self.classes[clip.label]) for clip in self.examples],
            notes=self.notes,
            largest=f"{service.limits.size / 2**20:g} MiB",
            bytes=service.limits.size,
            accept=",".join(about["input"]["endings"]),
            **{**context, **found},
        )
        return imported("starlette.responses").HTMLResponse(text, status, headers)


def examples_of(run: Path, classes: Sequence[str]) -> list[Clip]:
    """The test clips of a run folder that are there, at most ``EXAMPLES``; none without predictions.csv.

    Raises:
        ValueError: predictions.csv is of other classes, or damaged.
    """
    file = run / "predictions.csv"
    if not run.is_dir() or not file.is_file():
        return []
    predictions: Predictions = read_predictions(file)
    if list(predictions.classes) != list(classes):
        raise ValueError(f"{file}: of other classes than the model in {run}")
    clips = [
        Clip(path, label, name)
        for name, path, label in zip(predictions.names, predictions.paths, predictions.labels.tolist(), strict=True)
        # The name of a part of a file ends in its cut, which the path does not have.
        if not name.endswith(")")
    ]
    step = max(1, -(-len(clips) // EXAMPLES))
    return [clip for clip in clips[::step] if Path(clip.path).is_file()]


def _subtitle(about: Mapping[str, Any]) -> str:
    spec = about["input"]
    shape = ", ".join(f"{axis} {size}" for axis, size in zip(spec["axes"], spec["shape"], strict=True))
    return f"{count(len(about['classes']), 'class', 'classes')}. Input: {spec['kind']} ({shape})."


def _shown(answer: Mapping[str, Any], truth: str | None) -> dict[str, Any]:
    """The answer of a process as the template takes it."""
    best = answer["top"][0]
    tiles = [(shorten(best["class"], LETTERS), "Answer", percent(best["probability"]))]
    if answer.get("rejected"):
        tiles = [(NONE, "Answer", f"nearest: {shorten(best['class'], LETTERS)}, {percent(best['probability'])}")]
    if truth is not None:
        tiles.append((shorten(truth, LETTERS), "True class", "right" if truth == best["class"] else "wrong"))
    if len(answer["top"]) > 1:
        second = answer["top"][1]
        tiles.append((shorten(second["class"], LETTERS), "Second", percent(second["probability"])))
    over_time = answer.get("over_time", [])
    frames = answer["frames"]
    return {
        "tiles": tiles,
        "top": answer["top"],
        "truth": truth,
        "frames": frames,
        "map": answer.get("map"),
        "over_time": [(index + 1, value) for index, value in enumerate(over_time)],
        "grid": answer.get("grid"),
        "neighbours": answer.get("neighbours", []),
        "agreeing": sum(one["label"] == best["label"] for one in answer.get("neighbours", [])),
        "notes": answer["notes"],
        "count": number(len(frames)),
    }
