"""Requests as programs send them: which status answers what, cancelling, time, memory, and offline documents."""

import base64
import http.client
import io
import json
import threading
import time

import numpy as np
import pytest
from http_calls import multipart, picture_file, post

from openlvm.core.images import read_image
from openlvm.prompting import scoring


def wait_until(is_so, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)
    return is_so()


@pytest.fixture
def texts(pictures) -> list[str]:
    """The pictures as base64 of PNGs."""
    return [base64.b64encode(picture_file(picture)).decode() for picture in pictures]


def test_json_and_multipart_get_the_same_answer(server, lvm, pictures, texts):
    expected = lvm.analogy([(pictures[0], pictures[1])], pictures[2], seed=9, exact=True)
    asked = {"seed": 9, "exact": True}
    status, inline = post(server.url, "analogy", {"pairs": [texts[:2]], "query": texts[2], **asked})
    assert status == 200
    kind, body = multipart({"pairs": [[2, 1]], "query": 0, **asked}, [pictures[2], pictures[1], pictures[0]])
    status, parts = post(server.url, "analogy", body, kind)
    assert status == 200
    for found in (inline, parts):
        assert found["codes"] == expected.codes.tolist() and found["log_probs"] is None
        image = read_image(base64.b64decode(found["images"][0][0]))
        assert np.array_equal(image, expected.images[0, 0])


@pytest.mark.parametrize(
    ("verb", "asked", "status", "words"),
    [
        ("complete", {"images": []}, 422, "images: List should have at least 1 item"),
        ("complete", {"images": "P"}, 422, "images"),
        ("complete", {"images": [0]}, 422, "images.0: Input should be a valid string"),
        ("complete", {"images": ["P"], "frames": 2}, 422, "frames: Extra inputs"),
        ("complete", {"images": ["P"], "num_frames": "2"}, 422, "num_frames: Input should be a valid integer"),
        ("complete", {"images": ["P"], "num_frames": True}, 422, "num_frames"),
        ("complete", {"images": ["P"], "num_frames": 257}, 422, "this server draws at most 256 for one request"),
        ("complete", {"images": ["P"], "num_frames": 65, "num_candidates": 4}, 422, "are 260 pictures; this server"),
        ("complete", {"images": ["P"] * 20}, 422, "20 images and 1 more do not fit"),
        ("complete", {"images": ["P"], "keep": 16}, 422, "keep=16 must lie in 1 .. 15"),
        ("complete", {"images": ["P"], "keep": 0}, 422, "keep"),
        ("complete", {"images": ["P"], "slide": 1}, 422, "slide: Input should be a valid boolean"),
        ("complete", {"images": ["P"], "num_frames": 16, "ahead": 1}, 422, "ahead=1 draws within the context alone"),
        ("complete", {"images": ["P"], "ahead": 0}, 422, "ahead"),
        ("complete", {"images": ["P"], "fast": True, "exact": True}, 422, "are different ways of drawing"),
        ("complete", {"images": ["P"], "ensemble": 2}, 422, "ensemble: Extra inputs"),
        ("analogy", {"pairs": [["P", "P"]] * 4, "query": "P", "ensemble": 9}, 422, "asks in at most 8 orders"),
        ("analogy", {"pairs": [["P", "P"]], "query": "P", "ensemble": 2}, 422, "ensemble=2 must lie in 1 .. 1"),
        ("analogy", {"pairs": [["P", "P"]] * 2, "query": "P", "ensemble": 2, "fast": True}, 422, "leave out ensemble"),
        ("complete", {"images": ["P"] * 65}, 413, "65 pictures given; this server takes 64"),
        ("complete", {"images": ["P"], "seed": -1}, 422, "seed"),
        ("complete", {"images": ["P"], "num_candidates": 17}, 422, "this server draws at most 16"),
        ("complete", {"images": ["P"], "temperature": 0, "top_k": 3}, 422, "have no effect"),
        ("complete", {"images": ["P"], "top_p": 0}, 422, "top_p"),
        ("complete", {"images": ["P"], "lvm": "../../etc"}, 422, "etc"),
        ("complete", {"images": ["/etc/passwd/etc/passwd"]}, 422, "images[0] is"),
        ("complete", {"images": ["aGVsbG8gaGVsbG8gaGVsbG8="]}, 422, "images[0] is no PNG"),
        ("analogy", {"pairs": [["P"]], "query": "P"}, 422, "pairs.0"),
        ("analogy", {"pairs": [["P", "P"]]}, 422, "query: Field required"),
        ("compose", {"groups": [[]], "query": "P"}, 422, "groups.0"),
        ("score", {"context": ["P"] * 20, "target": "P"}, 422, "do not fit"),
        ("choose", {"context": ["P"], "options": ["P"]}, 422, "options"),
        ("choose", {"context": ["P"], "options": ["P", "P"], "against": "x"}, 422, "against"),
        ("choose", [], 422, "the body"),
        ("choose", {"context": ["P"], "options": ["P", "P"], "stream": True}, 422, "stream"),
    ],
)
def test_what_is_not_asked_well_is_refused_in_words(server, texts, verb, asked, status, words):
    body = json.dumps(asked).replace('"P"', json.dumps(texts[0])).encode()
    found, told = post(server.url, verb, body, "application/json")
    assert (found, words in told["error"]) == (status, True), told


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"", 400),
        ("application/json", b"{", 400),
        ("application/json", b'{"images": [NaN]}', 422),
        ("application/json", b'{"images": [], "temperature": NaN}', 422),
        ("application/json", b'{"images": ["\xff\xfe"]}', 400),
        ("application/json", b"[" * 50_000, 400),
        ("text/plain", b"{}", 415),
        ("", b"{}", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=a", b"x", 400),
        ("multipart/form-data; boundary=a", b"--a\r\n\r\n--a--\r\n", 400),
        ("multipart/form-data; boundary=\xff", b"--\xff\r\n", 422),
    ],
)
def test_bodies_that_cannot_be_taken_apart_are_refused(server, kind, body, status):
    found, told = post(server.url, "complete", body, kind)
    assert found == status and set(told) == {"error", "id"}


def test_json_that_is_costly_to_read_is_refused_unread(server):
    costly = b'{"images": [' + b"[]," * 40_000 + b"[]]}"
    status, told = post(server.url, "complete", costly, "application/json")
    assert status == 422 and "brackets and commas" in told["error"]
    kind, body = multipart({"images": [[]] * 40_000}, [])
    status, told = post(server.url, "complete", body, kind)
    assert status == 422 and "brackets and commas" in told["error"]


def test_parts_of_a_multipart_body_must_be_those_asked_for(server, pictures):
    def refused(asked, files, **more):
        kind, body = multipart(asked, files, **more)
        return post(server.url, "complete", body, kind)

    assert "picture 1, but 1 were uploaded" in refused({"images": [0, 1]}, pictures[:1])[1]["error"]
    assert "pictures[1] was uploaded but" in refused({"images": [0]}, pictures[:2])[1]["error"]
    assert refused({"images": [0]}, pictures[:1], extra=b"x")[0] == 422
    assert refused({"images": [0] * 65}, pictures[:1])[0] == 413
    assert refused({"images": [0]}, pictures[:1] * 65)[0] == 413
    assert refused({"images": ["0"]}, pictures[:1])[0] == 422
    status, found = refused({"images": [0, 0]}, pictures[:1])
    assert status == 200 and len(found["codes"]) == 1


def test_pixels_of_a_request_are_bounded_together(serving, texts):
    server = serving(max_megapixels=0.000256, max_request_megapixels=0.0005)
    assert post(server.url, "complete", {"images": [texts[0], texts[0], texts[0]]})[0] == 200  # counted once
    status, told = post(server.url, "complete", {"images": texts[:2]})
    assert status == 413 and "the pictures have 512 pixels; this server takes 500" in told["error"]


def test_memory_of_one_request_is_granted_before_it_waits(serving, texts):
    server = serving(max_memory_mb=0.005)
    status, told = post(server.url, "complete", {"images": texts[:2]})
    assert status == 422 and "MiB, this server grants" in told["error"]


def test_uploads_together_are_bounded(serving, texts):
    server = serving(max_uploads_mb=0.0001)
    status, told = post(server.url, "complete", {"images": texts[:2]})
    assert status == 429 and "too much is being uploaded" in told["error"]
    assert server.service.uploads.taken == server.service.requests.taken == 0


def test_time_over_is_told_and_frees_the_drawing(serving, texts, gate):
    server = serving(request_seconds=0.3)
    asked = {"images": texts[:2]}
    status, told = post(server.url, "complete", asked)
    assert status == 503 and "longer than the 0.3 s" in told["error"]
    status, events = post(server.url, "complete", {**asked, "stream": True})
    assert status == 200 and "event: error" in events and "longer than the 0.3 s" in events
    gate.set()
    assert wait_until(lambda: server.service.worker.state() == {"rows": 0, "waiting": 0})
    assert server.service.requests.taken == 0


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_client_that_leaves_cancels_its_drawing(serving, texts, gate, is_stream):
    server = serving()
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    asked = {"images": texts[:2], "num_frames": 8, "stream": is_stream}
    connection.request("POST", "/v1/complete", json.dumps(asked), {"Content-Type": "application/json"})
    assert gate.reached.wait(10)
    assert server.service.requests.taken == 1
    connection.close() if not is_stream else connection.sock.close()
    assert wait_until(lambda: server.service.requests.taken == 0)
    gate.set()
    assert wait_until(lambda: server.service.worker.state()["rows"] == 0)
    assert server.service.worker.num_codes < 16


@pytest.fixture
def slow_measuring(monkeypatch):
    """One option a batch, each takes a fifth of a second; the list counts them."""
    measured, real = [], scoring.option_log_probs
    monkeypatch.setitem(scoring.CODES_AT_ONCE, "cpu", 1)
    monkeypatch.setattr(
        scoring, "option_log_probs",
        lambda *given, **how: [measured.append(given), time.sleep(0.2), real(*given, **how)][2],
    )  # fmt: skip
    return measured


def test_a_client_that_leaves_ends_its_measuring(serving, texts, slow_measuring):
    server = serving()
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    asked = {"context": texts[:2], "options": texts[3:18]}
    connection.request("POST", "/v1/choose", json.dumps(asked), {"Content-Type": "application/json"})
    assert wait_until(lambda: slow_measuring)
    connection.close()
    assert wait_until(lambda: server.service.requests.taken == 0)
    assert post(server.url, "score", {"context": texts[:1], "target": texts[1]})[0] == 200  # after it
    assert len(slow_measuring) < 8


def test_time_over_ends_measuring(serving, texts, slow_measuring):
    server = serving(request_seconds=0.5)
    status, told = post(server.url, "choose", {"context": texts[:2], "options": texts[3:18]})
    assert status == 503 and "longer than the 0.5 s" in told["error"]
    time.sleep(0.4)
    assert len(slow_measuring) < 6


@pytest.mark.parametrize("more", [{}, {"exact": True}, {"reuse": True, "keep": 5}], ids=str)
def test_time_over_ends_frames_beyond_the_context(serving, texts, more):
    server = serving(request_seconds=0.2, max_drawn=4096)
    status, told = post(server.url, "complete", {"images": texts[:5], "num_frames": 4000, **more})
    assert status == 503 and "longer than the 0.2 s" in told["error"]
    assert post(server.url, "score", {"context": texts[:1], "target": texts[1]})[0] in (200, 503)
    drawn = server.service.worker.num_codes
    time.sleep(0.2)
    assert drawn == server.service.worker.num_codes < 4 * 4000


def test_a_full_server_refuses_before_it_reads(serving, texts, gate):
    server = serving(max_requests=1)
    first = threading.Thread(target=post, args=(server.url, "complete", {"images": texts[:2]}))
    first.start()
    assert gate.reached.wait(10)
    sock = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    sock.putrequest("POST", "/v1/complete")
    sock.putheader("Content-Type", "application/json")
    sock.putheader("Content-Length", "1000000")
    sock.endheaders()  # and no body: the answer does not wait for it
    response = sock.getresponse()
    assert response.status == 429 and int(response.getheader("retry-after")) >= 1
    gate.set()
    first.join()


def test_metrics_count_what_happened(serving, texts):
    server = serving()
    post(server.url, "complete", {"images": texts[:2]})
    post(server.url, "complete", {"images": []})
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/v1/metrics")
    text = connection.getresponse().read().decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values['openlvm_requests_total{path="/v1/complete",status="200"}'] == "1"
    assert values['openlvm_requests_total{path="/v1/complete",status="422"}'] == "1"
    assert values['openlvm_request_seconds_count{path="/v1/complete"}'] == "1"
    assert values["openlvm_codes_total"] == "4" and values["openlvm_requests_now"] == "0"
    assert text.endswith("\n") and text.count("# TYPE") == text.count("# HELP") == 9


def test_the_page_of_documents_needs_no_network(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/docs")
    response = connection.getresponse()
    text = response.read().decode()
    assert "default-src 'none'" in response.getheader("content-security-policy")
    assert "<script" not in text and "src=" not in text and "@import" not in text and "url(" not in text
    assert [part.split('"')[0] for part in text.split('href="')[1:]] == ["openapi.json"]
    for verb in ("complete", "analogy", "compose", "score", "choose"):
        assert f"/v1/{verb}" in text


def test_examples_of_the_documents_are_answered(server, pictures):
    from openlvm.serving.http.describe import EXAMPLES, _numbers

    for verb, asked in EXAMPLES.items():
        kind, body = multipart(asked, pictures[: 1 + max(_numbers(asked))])
        status, told = post(server.url, verb, body, kind)
        assert status == 200, told


def test_pictures_without_loss_are_sent_back(server, texts, lvm, pictures):
    status, found = post(server.url, "complete", {"images": texts[:1], "exact": True, "num_candidates": 2})
    answer = lvm.complete(pictures[:1], num_candidates=2, exact=True)
    sent = [read_image(io.BytesIO(base64.b64decode(row[0])).getvalue()) for row in found["images"]]
    assert status == 200 and np.array_equal(np.stack(sent), answer.images[:, 0])
