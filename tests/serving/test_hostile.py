"""Broken bodies and connections of every kind: refused or closed in time, and the server is right afterwards.

1000 of them are benchmarks/serving.py, where they are made.
"""

import threading
from collections import Counter

import numpy as np
import pytest
from http_calls import picture_file
from scripts import script

from openlvm.serving.client import Client

bench = script("benchmarks/serving.py")
EXPECTED = {
    "truncated": {400, 422},
    "wrong_type": {400, 415, 422},
    "bomb": {413, 422},
    "many_pictures": {413, 422},
    "bad_numbers": {400, 422},
    "huge_json": {0, 400, 413, 422},
    "noise": {0, 400},
    "broken_parts": {400, 413, 422},
    "slow": {0, 408},
    "half_closed": {0, 400},
}
"""Status by kind of attack; 0 where the connection is closed without one. Any upload may be too slow here: 408."""


@pytest.mark.timeout(100)
def test_attacks_are_refused_in_time_and_leave_the_server_right(server, lvm, pictures):
    files = [*map(picture_file, pictures[:3]), picture_file(np.zeros((8, 8, 3), np.uint8))]
    todo = list(bench.attacks(80, files, seed=1))
    assert {name for name, *_ in todo} == set(EXPECTED)
    found: list[tuple[str, int, float]] = []

    def attack(share) -> None:
        found.extend((name, *bench.attacked(server.url, sent, then)) for name, sent, then in share)

    threads = [threading.Thread(target=attack, args=(todo[start::8],)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(name for name, *_ in found) == Counter(name for name, *_ in todo)
    assert not [one for one in found if one[1] not in {408, *EXPECTED[one[0]]}]
    assert max(seconds for *_, seconds in found) < 2 + bench.GRACE
    reply = Client(server.url).analogy([(pictures[0], pictures[1])], pictures[2], seed=1, exact=True)
    assert np.array_equal(reply.codes, lvm.analogy([(pictures[0], pictures[1])], pictures[2], seed=1, exact=True).codes)
    assert server.service.requests.taken == server.service.uploads.taken == 0
