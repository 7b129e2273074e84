"""What a server counts about itself, as Prometheus reads it (text format 0.0.4). Standard library only."""

import threading
from collections import Counter
from collections.abc import Mapping

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper ends of the histogram of seconds."""


class Metrics:
    """Counts of answered requests, by verb and status, and how long they took; any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()
        self.lately = 1.0
        """Seconds that an answer takes: a mean in which older ones fade."""

    def add(self, path: str, status: int, seconds: float) -> None:
        """Count one request."""
        with self._lock:
            self._requests[path, status] += 1
            if status == 200 and path.startswith("/v1/"):
                buckets = self._seconds.setdefault(path, [0] * (len(BUCKETS) + 1))
                buckets[sum(seconds > end for end in BUCKETS)] += 1
                self._sums[path] += seconds  # type: ignore[assignment]

    def took(self, seconds: float) -> None:
        """Note how long one answer took."""
        with self._lock:
            self.lately += 0.1 * (seconds - self.lately)

    def text(self, gauges: Mapping[str, tuple[str, str, float]]) -> str:
        """Everything, in Prometheus' words.

        Args:
            gauges: name -> (type, what it is, value now).
        """
        lines = ["# HELP openlvm_requests_total Requests by path and status.", "# TYPE openlvm_requests_total counter"]
        with self._lock:
            for (path, status), number in sorted(self._requests.items()):
                lines.append(f'openlvm_requests_total{{path="{path}",status="{status}"}} {number}')
            lines.append("# HELP openlvm_request_seconds Seconds from a request to its answer, of those that got one.")
            lines.append("# TYPE openlvm_request_seconds histogram")
            for path, buckets in sorted(self._seconds.items()):
                below = 0
                for end, number in zip([*map(str, BUCKETS), "+Inf"], buckets, strict=True):
                    below += number
                    lines.append(f'openlvm_request_seconds_bucket{{path="{path}",le="{end}"}} {below}')
                lines.append(f'openlvm_request_seconds_sum{{path="{path}"}} {self._sums[path]:.6f}')
                lines.append(f'openlvm_request_seconds_count{{path="{path}"}} {below}')
        for name, (kind, told, value) in gauges.items():
            lines += [f"# HELP openlvm_{name} {told}", f"# TYPE openlvm_{name} {kind}", f"openlvm_{name} {value:g}"]
        return "\n".join(lines) + "\n"
