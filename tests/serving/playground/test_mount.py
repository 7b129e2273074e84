"""Of Gradio's paths only those of the page answer; calls hold texts and numbers; the API stands beside it."""

import http.client
import json
import re
import time

import pytest
from http_calls import post

from openlvm.serving.http.body import Refused
from openlvm.serving.limits import Budget, Limits
from openlvm.serving.playground.login import Door
from openlvm.serving.playground.mount import checked_call
from openlvm.serving.server import running

TOKEN = "a-token-of-tests"


@pytest.fixture(scope="module")
def page(lvm):
    with running({"tiny": lvm}, limits=Limits(rate=1e6, burst=10**6, max_body_mb=0.01), has_page=True) as started:
        yield started


@pytest.fixture(scope="module")
def locked(lvm):
    with running({"tiny": lvm}, token=TOKEN, limits=Limits(rate=0.01, burst=12), has_page=True) as started:
        yield started


def ask(server, method: str, path: str, body: bytes | None = None, **headers: str):
    """Status, headers and body."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_the_page_is_there_and_loads_nothing_from_elsewhere(page):
    status, headers, body = ask(page, "GET", "/playground/")
    assert status == 200 and b"OpenLVM" in body
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "http" not in policy and "*" not in policy
    assert headers["x-frame-options"] == "DENY" and headers["cache-control"] == "no-store"
    assert ask(page, "GET", "/")[1]["location"] == "/playground"
    assert ask(page, "GET", "/docs")[0] == 200


def test_switches_begin_within_the_limits(lvm):
    with running({"tiny": lvm}, limits=Limits(max_candidates=2, max_drawn=2), has_page=True) as small:
        config = ask(small, "GET", "/playground/")[2].decode()
    found = re.findall(r'"minimum":(\d+),"maximum":(\d+)[^}]*?"value":(\d+)', config)
    found = [tuple(map(int, one)) for one in found]
    assert (1, 2, 2) in found and all(least <= value <= most for least, most, value in found), found


def test_the_api_stands_beside_it(page, slots):
    status, told = post(page.url, "complete", {"images": [slots[0]["data"]]})
    assert status == 200 and len(told["images"]) == 1
    assert ask(page, "GET", "/v1/health")[0] == 200
    assert ask(page, "GET", "/nowhere")[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/config"),
        ("GET", "/gradio_api/info"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/gradio_api/proxy=http://127.0.0.1/"),
        ("GET", "/gradio_api/heartbeat/x"),
        ("GET", "/monitoring"),
        ("GET", "/static/../../../../../../../../etc/passwd"),
        ("GET", "/assets/%2e%2e/%2e%2e/%2e%2e/routes.py"),
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/run/asked"),
        ("POST", "/gradio_api/call/asked"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/login"),
        ("PUT", "/gradio_api/queue/join"),
        ("DELETE", "/"),
    ],
)
def test_other_paths_of_gradio_are_closed(page, method, path):
    status, _, body = ask(page, method, f"/playground{path}", b"{}" if method != "GET" else None)
    assert status in (403, 404) and b"root:" not in body and b"import" not in body


FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 5000, 400),
        (b"[]", 422),
        ({"data": [FILE], "fn_index": 1, "session_hash": "a"}, 422),
        ({"data": FILE, "fn_index": 1, "session_hash": "a"}, 422),
        ({"data": [[FILE]], "fn_index": 1, "session_hash": "a"}, 422),
        ({"data": [], "fn_index": 0, "session_hash": FILE}, 422),
        ({"data": [], "fn_index": 0, "session_hash": "a", "request": {}}, 422),
        ({"data": ["a"], "fn_index": 0, "session_hash": "a"}, 422),
        ({"data": [], "fn_index": 999, "session_hash": "a"}, 422),
        ({"data": [], "fn_index": 0, "session_hash": "a" * 65}, 422),
        ({"data": [], "fn_index": 0, "session_hash": ["a"]}, 422),
        ({"data": [], "fn_index": 0}, 422),
        ({"data": ["x" * 20_000], "fn_index": 0, "session_hash": "a"}, 413),
    ],
)
def test_a_call_that_is_none_of_the_page_is_refused(page, body, status):
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    found, _, told = ask(
        page, "POST", "/playground/gradio_api/queue/join", sent, **{"Content-Type": "application/json"}
    )
    assert found == status, told
    assert b"Traceback" not in told
    assert page.service.uploads.taken == 0


def test_what_no_handler_reads_is_dropped():
    told = {"data": ["a", 1, None, True], "fn_index": 0, "event_data": FILE, "session_hash": "s"}
    assert checked_call(json.dumps(told).encode(), {0: 4}) == {
        key: value for key, value in told.items() if key != "event_data"
    }
    for data in ([FILE], [[FILE]], [["a"]], [{}]):
        with pytest.raises(Refused, match="texts and numbers only"):
            checked_call(json.dumps({**told, "data": data}).encode(), {0: 1})
    twice = b'{"fn_index": 0, "data": ["a"], "data": [{"path": "x"}]}'  # parsers differ on which one counts
    with pytest.raises(Refused, match="texts and numbers only"):
        checked_call(twice, {0: 1})


def test_a_call_that_is_costly_to_read_is_refused_unread():
    with pytest.raises(Refused, match="brackets and commas"):
        checked_call(b'{"data": [' + b"[]," * 40_000 + b"1]}", {0: 1})


# ------------------------------------------------------------------------------------------------------ with a token


def test_a_person_gives_the_token_once(locked):
    status, headers, _ = ask(locked, "GET", "/playground/")
    assert (status, headers["location"]) == (303, "/login")
    assert ask(locked, "GET", "/playground/theme.css")[0] == 401
    assert b'type="password"' in ask(locked, "GET", "/login")[2]
    status, headers, body = ask(locked, "POST", "/login", b"token=wrong")
    assert status == 401 and b"not the token" in body and "set-cookie" not in headers
    status, headers, _ = ask(locked, "POST", "/login", f"token={TOKEN}".encode())
    assert (status, headers["location"]) == (303, "/playground")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    proof = cookie.split(";")[0]
    assert ask(locked, "GET", "/playground/", Cookie=proof)[0] == 200
    assert ask(locked, "GET", "/v1/models", Cookie=proof)[0] == 200
    for beside in ('other={"a": 1}; {}', "a[b]=1; {}", "{}; flag", 'q="{}'):
        cookies = beside.replace("{}", proof) if "q=" not in beside else f"{proof}; {beside}"
        assert ask(locked, "GET", "/v1/models", Cookie=cookies)[0] == 200, cookies  # of others at this address
    for spoiled in (proof[:-1], proof + "0", "openlvm=", f"openlvm={TOKEN}", "openlvm", '"'):
        assert ask(locked, "GET", "/v1/models", Cookie=spoiled)[0] == 401
    assert ask(locked, "GET", "/v1/models", Cookie=proof, Origin="http://elsewhere.example")[0] == 403


def test_a_long_token_is_not_read(locked):
    assert ask(locked, "POST", "/login", b"token=" + b"x" * 5000)[0] == 413
    assert locked.service.uploads.taken == 0


def test_cookies_are_read_quickly():
    door = Door(TOKEN, to="/", limits=Limits(), uploads=Budget(1))
    began = time.perf_counter()
    for _ in range(20):
        assert not door.lets_in(b'a="' + b"\\" * 16_000 + b'"')
    assert time.perf_counter() - began < 0.5  # 8 s with http.cookies of Python 3.11.7


def test_guessing_tokens_is_slow(locked):
    statuses = [ask(locked, "POST", "/login", b"token=guess")[0] for _ in range(14)]
    assert statuses[-1] == 429 and 401 in statuses


def test_without_the_page_there_is_no_door(lvm):
    with running({"tiny": lvm}, token=TOKEN) as bare:
        assert ask(bare, "GET", "/login")[0] == 401
        assert ask(bare, "GET", "/playground")[0] == 401
        assert ask(bare, "GET", "/")[1]["location"] == "/docs"
