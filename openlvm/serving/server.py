"""The server itself: connections that keep no one waiting, signals that let running work finish, and its start.

`serve` blocks until the server is stopped; `running` is the same in a thread, for tests and programs.
"""

import asyncio
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from openlvm.serving.limits import Limits

if TYPE_CHECKING:
    from openlvm.prompting.lvm import LVM
    from openlvm.serving.service import Service

MAX_HEAD_BYTES = 16_384
"""Of the lines before a body."""

log = logging.getLogger("openlvm.serving")


def serve(
    lvms: Mapping[str, "LVM"],
    *,
    host: str,
    port: int,
    token: str | None = None,
    open_to_all: bool = False,
    limits: Limits | None = None,
    has_page: bool = False,
) -> None:
    """Answer until SIGINT or SIGTERM; then finish what runs, and refuse what comes with 503.

    Args:
        lvms: by the names that clients use; the first is the default.
        host: an address of this machine.
        port: 0 takes a free one.
        token: that clients must give.
        open_to_all: another host than loopback without a token.
        has_page: with the playground; needs the extra `ui`.
    """
    server, service, sock = _made(lvms, host, port, token, open_to_all, limits or Limits(), has_page)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # warns of every broken body
    more = "open it in a browser; docs" if has_page else "docs"
    _say(f"openlvm serves {', '.join(lvms)} at {_url(sock)} ({more} at {_url(sock)}/docs)")
    try:
        server.run(sockets=[sock])
    finally:
        service.close()


@contextmanager
def running(
    lvms: Mapping[str, "LVM"],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    open_to_all: bool = False,
    limits: Limits | None = None,
    has_page: bool = False,
) -> Iterator["Running"]:
    """A server in a thread of this process; when the block ends it finishes what runs, and stops."""
    server, service, sock = _made(lvms, host, port, token, open_to_all, limits or Limits(), has_page)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, name="openlvm-server", daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server did not start; the log says why")
        time.sleep(0.01)
    try:
        yield Running(_url(sock), server, service)
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join()
        service.close()


class Running:
    """A server that runs in this process.

    Args:
        url: where.
    """

    def __init__(self, url: str, server: Any, service: "Service"):
        self.url, self.server, self.service = url, server, service

    def stop(self) -> None:
        """Take no new work, finish what runs; does not wait."""
        self.server.handle_exit(signal.SIGTERM, None)


def check_exposure(host: str, token: str | None, *, open_to_all: bool) -> bool:
    """Whether only this machine can reach the host; refuses one that others can reach without a word of the owner."""
    from openlvm.serving.http.guard import is_loopback

    if token is not None and (len(token) < 8 or not token.isascii() or not token.isprintable() or " " in token):
        raise ValueError("a token needs at least 8 printable ASCII characters without blanks")
    local = is_loopback(host)
    if not local and token is None and not open_to_all:
        raise ValueError(
            f"host {host} can be reached from other machines; give a token (OPENLVM_TOKEN), or --open-to-all"
        )
    return local


def _made(
    lvms: Mapping[str, "LVM"],
    host: str,
    port: int,
    token: str | None,
    open_to_all: bool,
    limits: Limits,
    has_page: bool,
) -> tuple[Any, "Service", socket.socket]:
    """A server, its service with a running worker, and the socket it will listen on."""
    try:
        import uvicorn

        from openlvm.serving.http.app import application
        from openlvm.serving.service import Service
    except ImportError as error:
        raise ImportError(f"{error}; serving needs more packages: pip install 'openlvm[serve]'") from None

    local = check_exposure(host, token, open_to_all=open_to_all)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(limits.max_connections)  # from here on clients may come, and wait for the loop
    except OSError as error:
        sock.close()
        raise OSError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from None
    service = Service(lvms, limits)
    config = uvicorn.Config(
        application(service, token=token, only_local=local and token is None, has_page=has_page),
        http=_patient_protocol(limits), ws="none", lifespan="on" if has_page else "off", interface="asgi3",
        proxy_headers=False, server_header=False, access_log=False, log_config=None, log_level="error",
        limit_concurrency=limits.max_connections, backlog=limits.max_connections,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_graceful_shutdown=max(1, round(limits.head_seconds)),
    )  # fmt: skip
    service.worker.start()
    return _server(config, service), service, sock


def _server(config: Any, service: "Service") -> Any:
    """A uvicorn server that drains before it stops."""
    import uvicorn

    class Draining(uvicorn.Server):
        """On the first signal nothing new is taken, and it exits when the rest is done; on the second at once."""

        draining: threading.Thread | None = None

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if self.draining is not None and sig == signal.SIGINT:
                self.force_exit = True
            if self.draining is None:
                service.is_stopping = True
                self.draining = threading.Thread(target=self.drain, name="openlvm-drain", daemon=True)
                self.draining.start()

        def drain(self) -> None:
            """Wait for what runs."""
            end = time.monotonic() + service.limits.drain_seconds
            while service.requests.taken and time.monotonic() < end and not self.force_exit:
                time.sleep(0.05)
            self.should_exit = True

    return Draining(config)


def _patient_protocol(limits: Limits) -> Any:
    """uvicorn's HTTP/1.1, with an end to its patience.

    A connection has so many seconds for the head of its next request, from its beginning or from the last answer,
    however slowly bytes come; and so many to take what is sent to it. uvicorn itself waits for ever.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Patient(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            self.timers: dict[str, asyncio.TimerHandle] = {}
            self.unsent: dict[str, float] = {}
            super().connection_made(transport)
            self.expect("head")

        def expect(self, what: str) -> None:
            """Give the client its time, for the next head or to take what is sent."""
            self.forget(what)
            self.unsent[what] = float("inf")
            self.timers[what] = self.loop.call_later(limits.head_seconds, self.look, what)

        def forget(self, what: str) -> None:
            """It came."""
            if what in self.timers:
                self.timers.pop(what).cancel()

        def look(self, what: str) -> None:
            """It did not come in time: the client may still be taking an answer; if not, it is let go."""
            unsent = self.transport.get_write_buffer_size()
            if 0 < unsent < self.unsent[what]:
                self.unsent[what] = unsent
                self.timers[what] = self.loop.call_later(limits.head_seconds, self.look, what)
            else:
                self.transport.abort()

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self.forget("head")

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.response_complete:  # else the next one is being answered already
                self.expect("head")

        def pause_writing(self) -> None:
            self.expect("taking")
            super().pause_writing()

        def resume_writing(self) -> None:
            self.forget("taking")
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            for what in ("head", "taking"):
                self.forget(what)
            super().connection_lost(exc)

    return Patient


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
