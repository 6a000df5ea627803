"""A limit on the time that decoding has used: a program that is stopped, or waits for a processor or a disk, uses none."""

import math
import time


class TimeLimit:
    """Counts from its construction, in the thread that it was made in.

    Args:
        seconds: of processor time; infinity for no limit.
        threads: that decode. The system counts several together with all others of the process: the time that has passed
            counts then, if it is shorter.

    Raises:
        ValueError: ``seconds`` is not above 0.
    """

    def __init__(self, seconds: float, threads: int = 1) -> None:
        if not seconds > 0:
            raise ValueError(f"decode_timeout {seconds}: must be above 0 seconds")
        self.seconds = seconds
        self._used = time.thread_time if threads == 1 else time.process_time
        self._begun, self._begun_used = time.monotonic(), self._used()

    def left(self) -> float:
        """Seconds until it is over; negative afterwards."""
        return self.seconds - min(self._passed(), self._used() - self._begun_used)

    def stalled(self) -> bool:
        """Whether more time has passed than the limit, without being used."""
        return math.isfinite(self.seconds) and self._passed() > self.seconds and self.left() > 0

    def _passed(self) -> float:
        return time.monotonic() - self._begun
