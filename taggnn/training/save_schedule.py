"""When last.ckpt is written inside an epoch, and when the program ends after it: by time, by batches, on a signal."""

import time
from collections.abc import Callable

from taggnn.runtime import distributed
from taggnn.runtime.signals import Watch

_SAVE, _STOP = 1, 2


class Saving:
    """Writes last.ckpt inside an epoch when it is due, and ends the program after it when a signal asked for that.

    Of several processes, the clock of the first counts, and a signal to any of them; all write and stop after the same batch.

    Args:
        minutes: between two checkpoints; None for no limit of time.
        batches: likewise in batches; None for no limit of batches.
        watch: the signals; None for none.
    """

    def __init__(self, minutes: float | None = None, batches: int | None = None, watch: Watch | None = None) -> None:
        self.minutes, self.batches, self.watch = minutes, batches, watch or Watch()
        self._written, self._count = time.monotonic(), 0

    def written(self) -> None:
        """Restarts counting after a checkpoint."""
        self._written, self._count = time.monotonic(), 0

    def after_batch(self, stepped: bool, save: Callable[[], None]) -> None:
        """Saves if it is due, and only after an optimiser step: accumulated gradients are not in a checkpoint.

        Raises:
            StopRequested: a signal asked for it; everything is saved.
        """
        self._count += 1
        if not stepped:
            return
        minutes = (time.monotonic() - self._written) / 60
        due = distributed.is_main_process() and self.minutes is not None and minutes >= self.minutes
        due = due or (self.batches is not None and self._count >= self.batches)
        action = distributed.all_max(_STOP if self.watch.received else _SAVE if due else 0)
        if action:
            save()
        if action == _STOP:
            raise self.watch.ended()

    def stop_if_requested(self, save: Callable[[], None] = lambda: None) -> None:
        """Ends the program if a signal asked for it.

        Raises:
            StopRequested: a signal asked for it.
        """
        if distributed.all_max(bool(self.watch.received)):
            save()
            raise self.watch.ended()
