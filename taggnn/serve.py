"""``python -m taggnn.serve RUN``: a trained model over HTTP, for programs.

``POST /predict`` takes a clip and answers as ``taggnn.predict --json``; ``GET /health`` states whether it works,
``GET /`` what the model is.
"""

import sys
from collections.abc import Sequence

from jsonargparse import Namespace

from taggnn.cli import terminal
from taggnn.cli.parser import Parser
from taggnn.nn import consensus
from taggnn.serving import options, server
from taggnn.serving.extra import require
from taggnn.serving.worker import Job


def main(arguments: Sequence[str]) -> None:
    given = read(arguments)
    require()
    views = {key: given[key] for key in ("views", "crops", "average")}
    server.run(
        Job("taggnn.serving.prediction.build", {**options.job_of(given), "views": views}), options.options_of(given)
    )


def read(arguments: Sequence[str]) -> Namespace:
    """Reads the command line."""
    built = parser()
    return built.parse_args(built.as_lists(arguments))


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(
        prog="taggnn.serve", description="Serves a trained model over HTTP: a clip in, its classes out as JSON."
    )
    options.add_options(built.add_argument, port=8000)
    consensus.add_options(built.add_argument)
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.serve"))
