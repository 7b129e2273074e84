"""Where the seconds of a job went."""

import time


class Laps:
    """Seconds of the stages of a job, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> float:
        """Everything since the last lap was spent on `name`; its seconds."""
        now = time.monotonic()
        self.seconds[name], self._last = round(now - self._last, 2), now
        return self.seconds[name]
