"""What a server grants: sizes, times, and how often a client may ask. Standard library only."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, fields

CLIENTS_KNOWN = 4096
"""Clients whose rate is remembered; the one that has been silent longest is forgotten first."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one server; each is checked before the work or the memory that it bounds."""

    max_body_mb: float = 32.0
    """2^20 bytes of one request's body."""
    max_uploads_mb: float = 256.0
    """2^20 bytes of all bodies that are being read or decoded at a time."""
    max_pictures: int = 64
    """Pictures of one request; the context of the LVM limits them too."""
    max_megapixels: float = 16.0
    """1e6 pixels of one picture, read from its header before it is decoded."""
    max_request_megapixels: float = 64.0
    """1e6 pixels of all pictures of one request: some seconds of decoding."""
    max_candidates: int = 16
    """Answers to one request."""
    max_drawn: int = 256
    """Pictures drawn for one request: frames of all its candidates. Frames may go beyond the context."""
    max_ensemble: int = 8
    """Orders of the pairs that answer together: each costs as much as a request."""
    max_requests: int = 64
    """Requests that are uploaded, waiting or answered at a time; more get 429."""
    max_memory_mb: float = 4096.0
    """2^20 bytes of keys, values and activations, of one request and of all that are drawn together."""
    max_connections: int = 512
    """Connections at a time; more get 503."""
    request_seconds: float = 120.0
    """From the whole request to its answer, waiting included."""
    upload_seconds: float = 20.0
    """For the body of a request."""
    head_seconds: float = 10.0
    """For the head of a request, and for a client to take what is sent to it."""
    rate: float = 20.0
    """Requests a second that one client (an address) may make in the long run; more get 429."""
    burst: int = 200
    """Requests that one client may make at once after a pause."""
    drain_seconds: float = 120.0
    """For the work that runs when the server is told to stop."""

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{field.name}={value} must be above 0")

    @property
    def max_body_bytes(self) -> int:
        """Of one request."""
        return int(self.max_body_mb * 2**20)

    @property
    def max_pixels(self) -> int:
        """Of one picture."""
        return int(self.max_megapixels * 1e6)

    @property
    def max_request_pixels(self) -> int:
        """Of all pictures of one request."""
        return int(self.max_request_megapixels * 1e6)

    @property
    def max_memory_bytes(self) -> int:
        """Of what is drawn."""
        return int(self.max_memory_mb * 2**20)


class Rates:
    """How often each client has asked: a bucket of `burst` tokens, filled by `rate` a second, a token a request."""

    def __init__(self, limits: Limits):
        self.rate, self.burst = limits.rate, limits.burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float) -> float:
        """Seconds until this client may ask; 0, and counted, if it may now.

        Args:
            client: its address.
            now: seconds, of a clock that only goes forward.
        """
        tokens, then = self._buckets.pop(client, (float(self.burst), now))
        tokens = min(self.burst, tokens + (now - then) * self.rate)
        seconds = 0.0 if tokens >= 1 else (1 - tokens) / self.rate
        self._buckets[client] = (tokens if seconds else tokens - 1, now)
        if len(self._buckets) > CLIENTS_KNOWN:
            self._buckets.popitem(last=False)
        return seconds


class Budget:
    """So many of something, to be had and given back, by any thread."""

    def __init__(self, total: int):
        self.total, self.taken = total, 0
        self._lock = threading.Lock()

    def take(self, amount: int) -> bool:
        """Whether there was as much left; then it is taken."""
        with self._lock:
            if self.taken + amount > self.total:
                return False
            self.taken += amount
            return True

    def give_back(self, amount: int) -> None:
        """What `take` took."""
        with self._lock:
            self.taken -= amount
