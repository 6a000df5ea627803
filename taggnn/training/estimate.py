"""How long a run will take, from its first batches."""

import time
from collections.abc import Callable

from taggnn.training.bar import in_words

# Seconds of batches that an estimate needs, and how long a clip of validation takes as a share of one of training, which has
# a backward pass of twice the forward one.
SECONDS, FORWARD = 10.0, 1 / 3


class Estimate:
    """Prints once how long the run will take.

    Formula: ``seconds of a batch * epochs * (batches + validation / 3)``; the first batch, which starts the loader processes,
    is not counted.

    Args:
        epochs: that are left, in fractions, those of heads that are trained afterwards included.
        batches: of an epoch.
        validation: batches of a validation.
        clock: seconds.
        say: prints a line.
    """

    def __init__(
        self,
        epochs: float,
        batches: int,
        validation: int,
        clock: Callable[[], float] = time.perf_counter,
        say: Callable[[str], None] = lambda line: print(line, flush=True),
    ) -> None:
        self.epochs, self.batches, self.validation = epochs, batches, validation
        self._clock, self._say = clock, say
        self._began: float | None = None
        self._timed, self._printed = 0, False

    def batch(self) -> None:
        """Counts a batch that is done."""
        if self._printed:
            return
        now = self._clock()
        if self._began is None:
            self._began = now
            return
        self._timed += 1
        if now - self._began < SECONDS:
            return
        self._printed = True
        each = (now - self._began) / self._timed
        left = each * self.epochs * (self.batches + FORWARD * self.validation)
        self._say(f"estimate  about {in_words(left)} for all epochs, from {self._timed} batches")

    def end(self) -> None:
        """Ends the first epoch: the line of each epoch says how much is left."""
        self._printed = True
