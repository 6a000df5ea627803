"""When a run is saved, and when it leaves: by the clock, by batches, on a signal."""

import time
from collections.abc import Callable

from taggnn.runtime import distributed
from taggnn.runtime.signals import Watch

_SAVE, _LEAVE = 1, 2


class Saving:
    """Calls for last.ckpt inside an epoch when it is due, and ends the program on a signal once it is written.

    Of several processes the first one's clock counts, and a signal to any of them: all write, and leave, after the same batch.

    Args:
        minutes: from one writing to the next; None for none by the clock.
        batches: likewise in batches; None for none by their number.
        watch: the signals; None for none.
    """

    def __init__(self, minutes: float | None = None, batches: int | None = None, watch: Watch | None = None) -> None:
        self.minutes, self.batches, self.watch = minutes, batches, watch or Watch()
        self._written, self._count = time.monotonic(), 0

    def written(self) -> None:
        """Starts to count anew."""
        self._written, self._count = time.monotonic(), 0

    def after_batch(self, stepped: bool, save: Callable[[], None]) -> None:
        """Saves where it is due; only after an optimiser step, since gradients that wait for one are in no checkpoint.

        Raises:
            StopRequested: a signal asked for it; everything is saved.
        """
        self._count += 1
        if not stepped:
            return
        minutes = (time.monotonic() - self._written) / 60
        due = distributed.is_main_process() and self.minutes is not None and minutes >= self.minutes
        due = due or (self.batches is not None and self._count >= self.batches)
        wanted = distributed.all_max(_LEAVE if self.watch.received else _SAVE if due else 0)
        if wanted:
            save()
        if wanted == _LEAVE:
            raise self.watch.ended()

    def leave_if_asked(self, save: Callable[[], None] = lambda: None) -> None:
        """Ends the program where a signal asked for it.

        Raises:
            StopRequested: it did.
        """
        if distributed.all_max(bool(self.watch.received)):
            save()
            raise self.watch.ended()
