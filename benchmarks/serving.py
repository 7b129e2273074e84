"""The server under load and under attack, over loopback, with the LVM that ships.

    python benchmarks/serving.py

clients     50 clients x 4 exact requests at once: answers, refusals honored, each checks its own bits; memory after it
together    16 requests with shared examples at once, beside the same one by one
hostile     1000 broken bodies and connections: each is refused or closed in time, and the server is right afterwards
"""

import argparse
import base64
import json
import logging
import random
import socket
import statistics
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from measure import emit

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # warns of every broken body

SECONDS_FOR_UPLOADS, SECONDS_FOR_HEADS = 2.0, 2.0
GRACE = 3.0
"""Seconds beyond its budget in which a hostile connection must be over, on a busy machine."""


def options() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--clients", type=int, default=50)
    ask.add_argument("--requests", type=int, default=4, help="of each client")
    ask.add_argument("--rounds", type=int, default=3, help="of all clients")
    ask.add_argument("--max-requests", type=int, default=32, help="that the server answers or lets wait at a time")
    ask.add_argument("--together", type=int, default=16, help="requests with shared examples")
    ask.add_argument("--runs", type=int, default=5, help="of that comparison")
    ask.add_argument("--attacks", type=int, default=1000)
    ask.add_argument("--tiny", action="store_true", help="a rehearsal of seconds")
    given = ask.parse_args()
    if given.tiny:
        given.clients, given.requests, given.rounds, given.max_requests = 4, 1, 1, 2
        given.together, given.runs, given.attacks = 4, 1, 40
    return given


def main() -> None:
    given = options()
    from openlvm import LVM
    from openlvm.serving.limits import Limits
    from openlvm.serving.server import running

    lvm = LVM.load()
    pairs, queries = prompts(lvm)
    patience = {"upload_seconds": SECONDS_FOR_UPLOADS, "head_seconds": SECONDS_FOR_HEADS}
    with running({"mini": lvm}, limits=Limits(max_requests=given.max_requests, rate=1e6, burst=10**6)) as server:
        clients(server, lvm, pairs, queries, given)
    with running({"mini": lvm}, limits=Limits(rate=1e6, burst=10**6, **patience)) as server:
        together(server, pairs, queries, given)
        hostile(server, lvm, pairs, queries, given.attacks)


def prompts(lvm: Any) -> tuple[list[Any], list[Any]]:
    """Three examples and 50 queries of the sample pack, as the tokenizer takes them."""
    from openlvm.core.images import read_image
    from openlvm.sources.listing import find_files

    pack = Path(__file__).parents[1] / "openlvm" / "assets" / "sample-pack"
    names = find_files(pack, (".webp", ".png", ".jpg"), "pictures")[:56]
    pictures = [lvm.bundle.tokenizer.preparation(read_image(pack / name)) for name in names]
    return [(pictures[at], pictures[at + 1]) for at in (0, 2, 4)], pictures[6:]


# ------------------------------------------------------------------------------------------------- load


def clients(server: Any, lvm: Any, pairs: list[Any], queries: list[Any], given: argparse.Namespace) -> None:
    """Many clients at once; refused ones come again when they are told to."""
    import numpy as np

    from openlvm.serving.client import Client, ServerError

    num_requests = given.clients * given.requests
    expected = [lvm.analogy(pairs, query, seed=n, exact=True).codes for n, query in enumerate(queries[: given.clients])]
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def one(number: int) -> None:
        client = Client(server.url, patience=0)
        for _ in range(given.requests):
            tries = 0
            while True:
                try:
                    reply = client.analogy(pairs, queries[number], seed=number, exact=True)
                except ServerError as error:
                    with lock:
                        counts[f"status {error.status}"] += 1
                    if error.status != 429:
                        break
                    tries += 1
                    time.sleep(server.service.wait_seconds())
                    continue
                same = np.array_equal(reply.codes, expected[number])
                with lock:
                    counts["right" if same else "wrong"] += 1
                    counts["right at first"] += same and not tries
                break

    memory = [resident()]
    began = time.perf_counter()
    for _ in range(given.rounds):
        at_once([lambda number=number: one(number) for number in range(given.clients)])
        memory.append(resident())
    seconds = time.perf_counter() - began
    facts = dict(sorted(counts.items()))
    asked = num_requests * given.rounds
    emit("serving clients: answers", facts.pop("right"), "answers", asked=asked, rounds=given.rounds, **facts)
    emit("serving clients: rate", round(asked / seconds, 2), "requests/s")
    emit("serving clients: memory", round(memory[-1], 1), "MiB", each_round=[round(one, 1) for one in memory])
    assert set(facts) <= {"right at first", "status 429"}, facts


def together(server: Any, pairs: list[Any], queries: list[Any], given: argparse.Namespace) -> None:
    """Requests with shared examples, at once and one by one, in turns."""
    from openlvm.serving.client import Client

    client = Client(server.url)

    def ask(number: int) -> None:
        client.analogy(pairs, queries[number], seed=number)

    ask(0)
    ratios, rates, memory = [], [], [resident()]
    for _ in range(given.runs):
        began = time.perf_counter()
        for number in range(given.together):
            ask(number)
        one_by_one = time.perf_counter() - began
        began = time.perf_counter()
        at_once([lambda number=number: ask(number) for number in range(given.together)])
        seconds = time.perf_counter() - began
        rates.append(given.together / seconds)
        ratios.append(one_by_one / seconds)
        memory.append(resident())
    facts = {"low": round(min(ratios), 3), "high": round(max(ratios), 3), "runs": given.runs}
    emit("serving together: rate", round(statistics.median(rates), 2), "requests/s", requests=given.together)
    emit("serving together / one by one", round(statistics.median(ratios), 3), "ratio", **facts)
    emit("serving together: memory", round(memory[-1], 1), "MiB", each_run=[round(one, 1) for one in memory])


def at_once(calls: list[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def resident() -> float:
    """MiB of this process, server and clients together, after giving back what only the allocator holds."""
    import ctypes
    import gc
    import resource

    time.sleep(0.5)
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


# ------------------------------------------------------------------------------------------------- attacks


Attack = tuple[str, bytes, str]
"""A name, the bytes that are sent, and what happens then: "read", "half-close", "trickle"."""


def attacks(count: int, pictures: list[bytes], seed: int = 0) -> Iterator[Attack]:
    """Broken requests of every kind, in turns.

    Args:
        pictures: four files that a server takes, the last a small one.
    """
    chance = random.Random(seed)
    kinds = [truncated, wrong_type, bomb, many_pictures, bad_numbers, huge_json, noise, broken_parts, slow, half_closed]
    for number in range(count):
        kind = kinds[number % len(kinds)]
        sent, then = kind(chance, pictures)
        yield kind.__name__, sent, then


def request(verb: str, body: bytes, kind: str = "application/json", *, length: int | None = None) -> bytes:
    told = len(body) if length is None else length
    head = f"POST /v1/{verb} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {told}\r\n\r\n".encode("latin-1") + body


def asked(chance: random.Random, pictures: list[bytes], **more: Any) -> tuple[str, dict[str, Any]]:
    """A verb and a good request."""
    texts = [base64.b64encode(picture).decode() for picture in pictures]
    verb = chance.choice(["complete", "analogy", "compose", "score", "choose"])
    fields: dict[str, dict[str, Any]] = {
        "complete": {"images": texts[:2]},
        "analogy": {"pairs": [texts[:2]], "query": texts[2]},
        "compose": {"groups": [[texts[:2]]], "query": texts[2]},
        "score": {"context": texts[:2], "target": texts[2]},
        "choose": {"context": texts[:1], "options": texts[1:3]},
    }
    return verb, {**fields[verb], **more}


def truncated(chance: random.Random, pictures: list[bytes]) -> tuple[bytes, str]:
    """A body or a picture that ends too early."""
    if chance.random() < 0.5:
        verb, good = asked(chance, pictures)
        body = json.dumps(good).encode()
        return request(verb, body[: chance.randrange(len(body))]), "read"
    cut = [picture[: chance.randrange(len(picture) - 20)] for picture in pictures]
    verb, good = asked(chance, cut)
    return request(verb, json.dumps(good).encode()), "read"


def wrong_type(chance: random.Random, pictures: list[bytes]) -> tuple[bytes, str]:
    """A field, or the content type, of another type."""
    verb, good = asked(chance, pictures)
    if chance.random() < 0.3:
        kind = chance.choice(
            ["text/plain", "application/x-www-form-urlencoded", "image/png", "", "multipart/form-data"]
        )
        return request(verb, json.dumps(good).encode(), kind), "read"
    name = chance.choice([*good, "seed", "lvm"])
    good[name] = chance.choice([None, 1.5, "x", {}, [[]], [[[[]]]], True, "../../etc/passwd", "http://127.0.0.1/", -1])
    if good[name] is None and name in ("seed", "lvm"):
        good[name] = [None]
    return request(verb, json.dumps(good).encode()), "read"


def bomb(chance: random.Random, pictures: list[bytes]) -> tuple[bytes, str]:
    """A small file of very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = chance.choice([5_000, 20_000, 100_000, 2**31 - 1])
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1_000_000))) + chunk(b"IEND", b"")
    verb, good = asked(chance, [b"\x89PNG\r\n\x1a\n" + data] * 3)
    return request(verb, json.dumps(good).encode()), "read"


def many_pictures(chance: random.Random, pictures: list[bytes]) -> tuple[bytes, str]:
    """10 000 pictures, small enough to fit into a body."""
    small = pictures[-1]
    if chance.random() < 0.5:
        text = base64.b64encode(small).decode()
        return request("complete", json.dumps({"images": [text] * 10_000}).encode()), "read"
    part = b'--b\r\nContent-Disposition: form-data; name="pictures"; filename="x"\r\n\r\n' + small + b"\r\n"
    return request("complete", part * 10_000 + b"--b--\r\n", "multipart/form-data; boundary=b"), "read"


def bad_numbers(chance: random.Random, pictures: list[bytes]) -> tuple[bytes, str]:
    """NaN, infinities and numbers out of all bounds."""
    verb, good = asked(chance, pictures)
    name = chance.choice(["temperature", "top_p", "top_k", "seed", "num_candidates"])
    value = chance.choice(["NaN", "Infinity", "-Infinity", "1e999", "-1", "1" + "0" * 5000, "99999999999999999999"])
    body = json.dumps(good)[:-1] + f', "{name}": {value}}}'
    return request(verb, body.encode()), "read"


def huge_json(chance: random.Random, pictures: list[bytes]) -> tuple[bytes, str]:
    """Very deep, very long, or longer than it may be."""
    body = chance.choice([
        b"[" * 1_000_000,
        b'{"images": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a":' * 200_000,
        b'{"images": [' + b"0," * 2_000_000 + b"0]}",
        b'{"images": ["' + b"A" * 10_000_000 + b'"]}',
    ])  # fmt: skip
    if chance.random() < 0.2:
        return request("complete", body, length=10**12), "read"
    return request("complete", body), "read"


def noise(chance: random.Random, pictures: list[bytes]) -> tuple[bytes, str]:
    """Bytes of chance, as a body or as all."""
    some = chance.randbytes(chance.randrange(1, 20_000))
    if chance.random() < 0.5:
        return request("analogy", some, chance.choice(["application/json", "multipart/form-data; boundary=b"])), "read"
    return some + b"\r\n\r\n", "half-close"


def broken_parts(chance: random.Random, pictures: list[bytes]) -> tuple[bytes, str]:
    """Multipart bodies with something wrong."""
    part = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    ask = json.dumps({"images": [chance.choice([0, 7, -1, "0", 10**30])]}).encode()
    good = [part % (b"request", b"", ask), part % (b"pictures", b'; filename="x"', pictures[0])]
    wrong = [
        part % (b"path", b"", b"/etc/passwd"),
        b'--b\r\nContent-Disposition: form-data; name="pictures"; filename="../../x"\r\n' + b"X-A: 1\r\n" * 5000,
        b"--b\r\n" + chance.randbytes(200),
        part % (b"request", b"", b"{" * 2_000_000),
        b"",
    ]
    body = b"".join([chance.choice(wrong), *chance.sample(good, chance.randrange(2)), chance.choice([b"--b--", b""])])
    return request("complete", body, "multipart/form-data; boundary=b"), "read"


def slow(chance: random.Random, pictures: list[bytes]) -> tuple[bytes, str]:
    """A head or a body that comes a byte at a time."""
    whole = request("complete", b"{" * 1000)
    return whole[: chance.choice([0, 10, 60, len(whole) - 990])], "trickle"


def half_closed(chance: random.Random, pictures: list[bytes]) -> tuple[bytes, str]:
    """A client that says it has finished before it has."""
    verb, good = asked(chance, pictures)
    whole = request(verb, json.dumps(good).encode())
    return whole[: chance.randrange(len(whole) - 1)], "half-close"


def attacked(url: str, sent: bytes, then: str) -> tuple[int, float]:
    """The status that came, 0 if the connection was closed without one, and the seconds until it was over."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    began, found = time.monotonic(), b""
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        try:
            sock.sendall(sent)
            if then == "half-close":
                sock.shutdown(socket.SHUT_WR)
            if then == "trickle":
                sock.settimeout(0.2)
            while True:
                try:
                    part = sock.recv(65536)
                except TimeoutError:
                    if time.monotonic() - began > 30:
                        return -1, 30.0
                    sock.sendall(b"a")
                    continue
                if not part:
                    break
                found += part
        except OSError:
            pass  # closed: that is an answer too
    status = int(found.split(b" ", 2)[1]) if found.startswith(b"HTTP/1.1 ") else 0
    return status, time.monotonic() - began


def hostile(server: Any, lvm: Any, pairs: list[Any], queries: list[Any], count: int) -> None:
    """Attack it, eight at a time, and then see that it is as before."""
    import numpy as np

    from openlvm.serving.client import Client, _file

    files = [*(_file(query) for query in queries[:3]), _file(np.zeros((8, 8, 3), np.uint8))]
    todo = attacks(count, files)  # made as they are sent: all at once they are half a gigabyte of this process
    found: Counter[str] = Counter()
    longest: Counter[str] = Counter()
    lock = threading.Lock()

    def attack() -> None:
        while True:
            with lock:
                one = next(todo, None)
            if one is None:
                return
            name, sent, then = one
            status, seconds = attacked(server.url, sent, then)
            with lock:
                found[f"{name} {status}"] += 1
                longest[name] = max(longest[name], seconds)  # type: ignore[assignment]

    before = resident()
    at_once([attack] * 8)
    after = resident()
    budget = SECONDS_FOR_UPLOADS + SECONDS_FOR_HEADS + GRACE
    wrong = [line for line in found if not (400 <= int(line.split()[1]) < 500 or line.endswith(" 0"))]
    reply = Client(server.url).analogy(pairs, queries[0], seed=1, exact=True)
    is_right = np.array_equal(reply.codes, lvm.analogy(pairs, queries[0], seed=1, exact=True).codes)
    emit("serving hostile: refused or closed", sum(found.values()), "attacks", statuses=dict(sorted(found.items())))
    emit("serving hostile: longest", round(max(longest.values()), 2), "seconds",
         each={name: round(seconds, 2) for name, seconds in longest.items()}, budget=budget)  # fmt: skip
    emit("serving hostile: memory", round(after, 1), "MiB", before=round(before, 1))
    assert not wrong and is_right and max(longest.values()) < budget, (wrong, is_right, longest)
    assert server.service.requests.taken == server.service.uploads.taken == 0


if __name__ == "__main__":
    main()
