"""Who may ask: tokens, names, pages of other sites, rates; and what a client sees of a failure."""

import json
import logging
import time
import urllib.error
import urllib.request

import pytest

from openlvm.serving.http import app
from openlvm.serving.http.guard import is_loopback

TOKEN = "correct-horse-battery"


def get(url: str, path: str, headers=None, data=None):
    """Status, headers and body."""
    request = urllib.request.Request(url + path, data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("127.8.8.8", True),
        ("0.0.0.0", False), ("::", False), ("192.168.0.2", False), ("example.org", False), ("", False),
        ("127.0.0.1.example.org", False), ("localhost.example.org", False),
    ],
)  # fmt: skip
def test_loopback_is_this_machine_alone(host, expected):
    assert is_loopback(host) == expected


def test_a_token_is_needed_and_only_the_right_one_is_taken(serving):
    url = serving(token=TOKEN).url
    for wrong in (None, "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN):
        status, headers, body = get(url, "/v1/models", {} if wrong is None else {"Authorization": wrong})
        assert status == 401 and headers["www-authenticate"] == "Bearer"
        assert "token" in json.loads(body)["error"] and TOKEN not in body.decode()
    assert get(url, "/v1/models", {"Authorization": f"Bearer {TOKEN}"})[0] == 200
    assert get(url, "/v1/models", {"Authorization": f"bearer {TOKEN}"})[0] == 200
    assert get(url, "/v1/metrics")[0] == 401
    assert get(url, "/v1/health")[0] == get(url, "/docs")[0] == get(url, "/openapi.json")[0] == 200


def test_names_of_other_machines_and_pages_of_other_sites_are_refused(server):
    host = server.url.removeprefix("http://")
    assert get(server.url, "/v1/models", {"Host": host})[0] == 200
    assert get(server.url, "/v1/models", {"Host": host, "Origin": server.url})[0] == 200
    assert get(server.url, "/v1/models", {"Host": "localhost:8000"})[0] == 200
    for headers in (
        {"Host": "rebound.example.org"},
        {"Host": ""},
        {"Host": host, "Origin": "http://evil.example.org"},
        {"Host": host, "Origin": "null"},
    ):
        status, _, body = get(server.url, "/v1/models", headers)
        assert status == 403 and json.loads(body)["id"]


def test_rates_limit_one_client_and_say_when(serving):
    url = serving(rate=0.5, burst=2).url
    statuses = [get(url, "/v1/score", data=b"{}") for _ in range(3)]
    assert [status for status, *_ in statuses] == [415, 415, 429]
    assert 1 <= int(statuses[2][1]["retry-after"]) <= 2
    assert get(url, "/v1/health")[0] == 200


def test_every_answer_has_safe_headers_and_refusals_an_id(server):
    for path, expected in (("/v1/health", 200), ("/nowhere", 404), ("/v1/score", 405), ("/docs", 200)):
        status, headers, body = get(server.url, path)
        assert status == expected
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert headers["server"] is None
        if status >= 400:
            assert set(json.loads(body)) == {"error", "id"}
    assert get(server.url, "/v1/score")[1]["allow"] == "POST"


def test_a_failure_is_told_by_its_id_and_traced_in_the_log(server, monkeypatch, caplog):
    async def broken(*_, **__):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(app, "_answer", broken)
    caplog.set_level(logging.ERROR, "openlvm.serving")
    status, _, body = get(server.url, "/v1/score", data=b"{}")
    told = json.loads(body)
    assert status == 500 and told["id"] in told["error"]
    assert "secret" not in body.decode() and "Traceback" not in body.decode()
    end = time.monotonic() + 10  # the log comes after the answer
    while not (records := [one for one in caplog.records if one.exc_text]) and time.monotonic() < end:
        time.sleep(0.01)
    (record,) = records
    assert told["id"] in record.getMessage() and "secret detail" in record.exc_text


def test_unknown_paths_are_counted_as_one(server):
    for number in range(5):
        get(server.url, f"/guessed/{number}")
    text = get(server.url, "/v1/metrics")[2].decode()
    assert "guessed" not in text and 'path="other",status="404"' in text
