"""Connections that keep no one waiting, and a server that finishes what runs and takes no more when it is told to."""

import http.client
import re
import socket
import threading
import time

import numpy as np
import pytest
from http_calls import multipart

from openlvm.serving.client import Client, ServerError
from openlvm.serving.http import app, stream
from openlvm.serving.server import check_exposure, running
from openlvm.serving.work.pool import Pool

SECONDS = 20


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def read_all(sock: socket.socket) -> tuple[bytes, float]:
    """What comes until the server closes, and how long that takes."""
    began, found = time.monotonic(), b""
    try:
        while part := sock.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found, time.monotonic() - began


def head(length: int, kind: str = "application/json") -> bytes:
    told = f"POST /v1/complete HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    return told.encode()


def trickle(sock: socket.socket, seconds: float) -> None:
    """A byte every tenth of a second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            sock.sendall(b"a")
        except OSError:
            return
        time.sleep(0.1)


@pytest.mark.parametrize("begun", [b"", b"POST /v1/comp", b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
def test_a_head_that_does_not_end_is_closed_in_time(server, begun):
    with connect(server.url) as sock:
        sock.sendall(begun)
        slow = threading.Thread(target=trickle, args=(sock, 3 if begun else 0))
        slow.start()
        found, seconds = read_all(sock)
        assert found == b"" and 0.5 < seconds < 2.5
        slow.join()


def test_a_second_head_has_its_own_time(server):
    with connect(server.url) as sock:
        for _ in range(3):
            time.sleep(0.6)  # longer in all than the time for one head
            sock.sendall(b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            found = b""
            while not found.endswith(b"}"):
                found += sock.recv(65536)
            assert found.startswith(b"HTTP/1.1 200")
        sock.sendall(b"GET /v1/hea")
        found, seconds = read_all(sock)
        assert found == b"" and seconds < 2.5


def test_a_body_that_does_not_end_is_told_and_closed_in_time(server):
    with connect(server.url) as sock:
        sock.sendall(head(100_000) + b'{"images"')
        slow = threading.Thread(target=trickle, args=(sock, 4))
        slow.start()
        found, seconds = read_all(sock)
        assert found.startswith(b"HTTP/1.1 408") and b"the body took longer than 1 s" in found and seconds < 4
        slow.join()


def test_a_half_closed_connection_is_let_go(server):
    with connect(server.url) as sock:
        sock.sendall(head(100_000) + b'{"images"')
        sock.shutdown(socket.SHUT_WR)
        _, seconds = read_all(sock)
        assert seconds < 2
    end = time.monotonic() + 5
    while server.service.requests.taken and time.monotonic() < end:
        time.sleep(0.01)
    assert server.service.requests.taken == server.service.uploads.taken == 0


def test_a_body_is_bounded_as_said_and_as_sent(serving):
    server = serving(max_body_mb=0.1, upload_seconds=5, head_seconds=1)
    with connect(server.url) as sock:
        sock.sendall(head(10**12))
        assert sock.recv(65536).startswith(b"HTTP/1.1 413")
    with connect(server.url) as sock:
        told = head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        sock.sendall(told)
        for _ in range(20):
            sock.sendall(b"4000\r\n" + b"a" * 0x4000 + b"\r\n")
        found, seconds = read_all(sock)
        assert found.startswith(b"HTTP/1.1 413") and seconds < 4  # what is sent after the answer is not read for ever
    assert server.service.uploads.taken == server.service.requests.taken == 0


def test_an_answer_that_nobody_takes_is_let_go(serving, pictures):
    server = serving(head_seconds=0.5)
    kind, body = multipart({"images": [0], "num_frames": 15, "num_candidates": 16, "details": True}, pictures[:1])
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        host, port = server.url.removeprefix("http://").rsplit(":", 1)
        sock.connect((host, int(port)))
        for _ in range(40):  # answers of 300 kB each, none is read
            try:
                sock.sendall(head(len(body), kind) + body)
            except OSError:
                break
        end = time.monotonic() + SECONDS
        while server.server.server_state.connections and time.monotonic() < end:
            time.sleep(0.05)
        assert not server.server.server_state.connections
    assert server.service.requests.taken == 0


def test_a_slow_but_steady_client_gets_all_of_a_large_answer(serving, pictures, monkeypatch):
    monkeypatch.setattr(app, "png_text", lambda _: "x" * 10**5)  # 24 MB in all, more than sockets hold
    server = serving(head_seconds=0.4)
    kind, body = multipart({"images": [0], "num_frames": 15, "num_candidates": 16}, pictures[:1])
    with connect(server.url) as sock:
        sock.sendall(head(len(body), kind) + body)
        found, began = sock.recv(1000), time.monotonic()
        length = int(re.search(rb"content-length: (\d+)", found)[1])
        assert length > 2.4e7
        got = len(found.partition(b"\r\n\r\n")[2])
        while got < length:
            part = sock.recv(10**6)
            assert part, f"closed after {got} of {length} bytes, {time.monotonic() - began:.1f} s"
            got += len(part)
            time.sleep(len(part) / 1.2e7)
    assert time.monotonic() - began > 1.5  # several times as long as the time for a head


def test_a_stream_that_nobody_takes_is_cancelled(serving, pictures, monkeypatch):
    step = Pool.step
    monkeypatch.setattr(Pool, "step", lambda pool: time.sleep(0.1) or step(pool))
    monkeypatch.setattr(stream, "pictures_so_far", lambda *_: ["x" * 10**7])
    server = serving(head_seconds=0.4)
    kind, body = multipart({"images": [0], "num_frames": 15, "stream": True}, pictures[:1])
    with connect(server.url) as sock:
        sock.sendall(head(len(body), kind) + body)
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        while server.service.requests.taken and time.monotonic() < began + SECONDS:
            time.sleep(0.05)
        assert time.monotonic() - began < 4  # the drawing would take six
    assert server.service.worker.num_codes < 55


def test_stopping_finishes_what_runs_and_refuses_what_comes(lvm, pictures, gate):
    found = []
    with running({"tiny": lvm}) as server:
        asking = threading.Thread(target=lambda: found.append(Client(server.url).complete(pictures[:3], seed=2)))
        asking.start()
        assert gate.reached.wait(SECONDS)
        server.stop()
        time.sleep(0.4)  # it goes on listening, to say so
        with pytest.raises(ServerError, match="503: the server is stopping"):
            Client(server.url, patience=0).complete(pictures[:3])
        assert Client(server.url).health() == "stopping"
        gate.set()
        asking.join()
    assert np.array_equal(found[0].codes, lvm.complete(pictures[:3], seed=2).codes)
    with pytest.raises(OSError):
        connect(server.url)


def test_too_many_connections_get_503(serving):
    server = serving(max_connections=3)
    held = [connect(server.url) for _ in range(3)]
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=SECONDS)
    connection.request("GET", "/v1/health")
    assert connection.getresponse().status == 503
    for sock in held:
        sock.close()


def test_exposure_needs_a_token_or_a_word(lvm):
    assert check_exposure("127.0.0.1", None, open_to_all=False)
    assert not check_exposure("0.0.0.0", "a-long-token", open_to_all=False)
    assert not check_exposure("0.0.0.0", None, open_to_all=True)
    with pytest.raises(ValueError, match="give a token .OPENLVM_TOKEN., or --open-to-all"):
        check_exposure("0.0.0.0", None, open_to_all=False)
    for weak in ("short", "with a blank", "nönascii-token"):
        with pytest.raises(ValueError, match="a token needs at least 8"):
            check_exposure("127.0.0.1", weak, open_to_all=False)
    with running({"tiny": lvm}) as server:
        taken = running({"tiny": lvm}, port=int(server.url.rsplit(":", 1)[1]))
        with pytest.raises(OSError, match="cannot listen at 127.0.0.1, port"):
            taken.__enter__()
